"""The lab's image registry and its Docker daemon, both inside the lab's network."""

from __future__ import annotations

import json

import yaml

from lab import cgroup, containers, files, packages
from lab.cluster import answers
from lab.daemon import Daemon, Supervisor
from lab.settings import NAME, REGISTRY_PORT, LabSettings


def start(settings: LabSettings, supervisor: Supervisor) -> None:
    """Start the registry and the Docker daemon and wait until both answer.

    Raises:
        LabError: One of them ends or does not answer in time; its log is quoted.
    """
    supervisor.start(_registry(settings))
    supervisor.start(_docker(settings))
    url = f"http://{settings.addresses.registry}/v2/"
    supervisor.wait_for("registry", lambda: answers(url), what="the registry to answer")
    supervisor.wait_for(
        "dockerd", lambda: docker_answers(settings), what="the Docker daemon to answer"
    )


def docker_answers(settings: LabSettings) -> bool:
    """Return whether the Docker daemon answers; one that was killed leaves its socket behind."""
    import httpx  # Not for every command of the lab.

    transport = httpx.HTTPTransport(uds=str(settings.docker_socket))
    with httpx.Client(transport=transport, timeout=1) as client:
        try:
            return client.get("http://docker/_ping").is_success
        except httpx.HTTPError:
            return False


def _registry(settings: LabSettings) -> Daemon:
    directory = settings.state / "registry"
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "config.yml"
    text = yaml.safe_dump(
        {
            "version": "0.1",
            "log": {"level": "warn", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(directory / "data")},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"{settings.addresses.node}:{REGISTRY_PORT}"},
        }
    )
    files.write(configuration, text)
    return Daemon(
        name="registry",
        argv=[packages.program(settings, "docker-registry"), "serve", str(configuration)],
        environment={"PATH": packages.search_path(settings), "OTEL_TRACES_EXPORTER": "none"},
        configuration=text,
    )


def _docker(settings: LabSettings) -> Daemon:
    directory = settings.state / "docker"
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "daemon.json"
    text = json.dumps(
        {
            "bridge": "none",
            "iptables": False,
            "ip6tables": False,
            "containerd": str(containers.socket(settings)),
            "cgroup-parent": f"/{NAME}/{cgroup.BUILDS}",
            "exec-opts": ["native.cgroupdriver=cgroupfs"],
            "data-root": str(directory / "data"),
            "exec-root": str(settings.run / "docker"),
            "hosts": [settings.docker_host],
            "insecure-registries": [settings.addresses.registry],
            "storage-driver": "overlay2" if containers.overlay_works(settings.state) else "vfs",
        },
        indent=2,
    )
    files.write(configuration, text)
    return Daemon(
        name="dockerd",
        # The lab keeps its own record. A pid file outlives one that was killed, and the next one
        # does not start where that number is somebody's, if only a zombie's.
        argv=[
            packages.program(settings, "dockerd"),
            f"--config-file={configuration}",
            "--pidfile=",
        ],
        environment={"PATH": packages.search_path(settings)},
        configuration=text,
    )
