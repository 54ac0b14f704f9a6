"""Brings the lab up and takes it down again: the order of things, nothing of their insides."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import (
    cgroup,
    cluster,
    containers,
    contour,
    contour_manifests,
    dns,
    download,
    images,
    ingress,
    isolation,
    network_policies,
    nodes,
    objects,
    official,
    owner,
    packages,
    plugin_cache,
    preflight,
    registry,
    releases,
    salt,
    stacks,
    storage,
)
from lab.command import wait_until
from lab.daemon import Supervisor
from lab.errors import EXIT_REFUSED, LabError
from lab.node import first
from lab.official import Choices
from lab.plugin_cache import Plugin
from lab.progress import Steps
from lab.settings import LabSettings
from lab.toolchain import Toolchain

FIXED_STEPS = 6
LEFT_OUT = Choices()
"""Nobody asked for anything: official where it can be had."""
SERVICES = (
    "dockerd",
    "registry",
    "kube-proxy",
    "kube-scheduler",
    "kube-controller-manager",
    network_policies.NAME,
    storage.NAME,
)


@dataclass(frozen=True)
class Running:
    """A lab that is up.

    Attributes:
        service: Where the development stack's service answers, from this machine.
        plugins: Which plugins the engine uses.
        outputs: The development stack's outputs.
        seconds: How long it took.
    """

    service: str
    plugins: list[Plugin]
    outputs: dict[str, str]
    seconds: float


def _lock(settings: LabSettings) -> Path:
    return settings.state.with_name(f"{settings.state.name}.lock")


@contextmanager
def exclusive(settings: LabSettings) -> Iterator[None]:
    """Keep a second `up` or `down` out while one works; a killed one frees the lock.

    Raises:
        LabError: Another one is at work.
    """
    settings.state.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(settings)
    with lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LabError(
                what="another `make up` or `make down` is at work on this machine's lab",
                why=f"process {file.read().strip() or 'unknown'} holds {lock}",
                next="wait until it is done",
                code=EXIT_REFUSED,
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def up(settings: LabSettings, choices: Choices = LEFT_OUT, *, deploy: bool = True) -> Running:
    """Bring the lab up, whatever state it is in; what is there already is kept.

    Args:
        settings: The lab.
        choices: Where tools and plugins come from.
        deploy: Deploy the development stack at the end.

    Returns:
        Where things are.

    Raises:
        LabError: Something cannot be done; the message says what stands.
    """
    steps = Steps(0)
    owner.require_own(settings)
    stacks.require_no_foreign_salt(settings)
    wanted = settings.nodes or nodes.count(settings)
    beside = wanted > 1 or nodes.count(settings) > 1
    # Of one that was never there nothing has to be taken away: a new cluster does not even know
    # the kinds of its objects.
    way_in = ingress.wanted(settings) or ingress.is_there(settings)
    steps.count = FIXED_STEPS + beside + way_in
    _provide(settings, choices, steps, nodes_wanted=wanted)
    supervisor = Supervisor(settings)
    with steps.step("plugins and state backend") as step:
        plugins = plugin_cache.install(settings, stand_ins=choices.stand_ins)
        stacks.prepare(settings, plugin_cache.cli(settings))
        stand_ins = [plugin.name for plugin in plugins if not plugin.official]
        step.update(note=f"stand-ins: {', '.join(stand_ins)}" if stand_ins else "all official")
    with steps.step("network and control plane") as step:
        _recover(settings, supervisor)
        owner.claim(settings)
        cgroup.create()
        isolation.create(settings, supervisor)
        containers.start(settings, supervisor)
        cluster.start_control_plane(settings, supervisor)
        step.update(note=settings.addresses.api_server)
    with steps.step("node, cluster DNS and volumes") as step:
        _start_node(settings, supervisor)
        step.update(note=f"{cluster.NODE} is ready")
    with steps.step("registry, Docker daemon and base images") as step:
        registry.start(settings, supervisor)
        images.push_base_images(settings)
        step.update(note=settings.addresses.registry)
    if beside:
        with steps.step(f"{wanted} node{'' if wanted == 1 else 's'}") as step:
            them = nodes.ensure(settings, supervisor, wanted)
            step.update(note=", ".join([cluster.NODE, *(node.name for node in them)]))
    if way_in:
        with steps.step("ingress controller") as step:
            step.update(note=_let_in(settings))
    outputs: dict[str, str] = {}
    service = ""
    with steps.step(f"deploy {stacks.FIRST_STACK}" if deploy else "deploy nothing", prints=deploy):
        if deploy:
            outputs = stacks.deploy_first(settings, plugin_cache.programs(settings) / "pulumi")
            service = _wait_for_service(settings, outputs["namespace"])
    return Running(service, plugins, outputs, steps.elapsed)


def _provide(settings: LabSettings, choices: Choices, steps: Steps, *, nodes_wanted: int) -> None:
    """Check the machine; then see that every program of the lab is there: downloaded or built."""
    if choices.stand_ins:
        plugin_cache.require_none_on_path(settings)
    asked = official.wanted(settings, choices)
    offers, refusals = download.reach(settings, asked) if asked else ([], [])
    official.require_had(choices, refusals)
    missing = official.to_build(settings, choices, [offer.release for offer in offers])
    preflight.require(settings, will_build=bool(missing), nodes=nodes_wanted)
    preflight.require_room_for_nodes(nodes_wanted - nodes.count(settings))
    packages.require_apt()
    preflight.require_directories(settings.state, settings.cache)
    settings.state.chmod(0o700)  # Passphrase, keys and state are root's alone.
    releases.build_tools(settings, forced=choices.builds)
    steps.count += len(missing) + bool(offers)

    toolchain = Toolchain(settings)
    if offers:
        with steps.step("official releases") as step, toolchain.ahead(missing):
            broken = download.fetch(settings, offers, step)
            official.require_had(choices, broken, "nothing was started; what came whole is kept")
        known, missing = missing, official.to_build(settings, choices, [])
        if broken:
            preflight.require(settings, will_build=bool(missing), nodes=nodes_wanted)
        steps.count += len(missing) - len(known)
        refusals += broken
    if refusals:
        found = plugin_cache.find(settings, stand_ins=choices.stand_ins)
        steps.say(official.instead(refusals, missing, found))
    with steps.step("packages") as step:
        packages.install(packages.missing())
        packages.unpack(settings)
        step.update(note="Debian packages there")
    for tool in missing:
        with steps.step(f"build {tool.name}") as step:
            toolchain.build(tool, step)
    _link_programs(settings, stand_ins=choices.stand_ins)


def down(settings: LabSettings, *, purge: bool) -> None:
    """Stop the lab and take away everything that is not state.

    Args:
        settings: The lab.
        purge: Remove the state too: cluster, registry, stacks and their history. The cache
            of builds and images stays.

    Raises:
        LabError: A process does not end.
    """
    owner.require_own(settings)
    supervisor = Supervisor(settings)
    salt.detach(settings)
    them = nodes.recorded(settings)
    everywhere = [first(settings), *them]
    # The kubelets first, or they start again what is ended; etcd last, it is written to.
    supervisor.stop(*(node.daemon("kubelet") for node in everywhere))
    pods = [f"{node.group}/kubepods".removeprefix("/") for node in everywhere]
    cgroup.end_all(below=pods, grace=5)
    cgroup.end_all(below=cgroup.BUILDS, grace=1)
    supervisor.stop(*SERVICES, "kube-apiserver")
    supervisor.stop("containerd", "etcd")
    cgroup.end_all(grace=2)
    supervisor.stop(*supervisor.names())
    nodes.down(supervisor, them)
    isolation.remove_network()
    cgroup.remove()
    owner.release()
    isolation.clean_run_directory(settings)
    if purge:
        shutil.rmtree(settings.state, ignore_errors=True)
        _lock(settings).unlink(missing_ok=True)


def is_up(settings: LabSettings) -> bool:
    """Return whether the cluster's API answers."""
    return cluster.answers(f"{settings.addresses.api_server}/readyz")


def _recover(settings: LabSettings, supervisor: Supervisor) -> None:
    """After a crash, a reboot or a change of network, end what runs in namespaces of before."""
    if not isolation.stands(settings, supervisor):
        if cgroup.members():
            cgroup.end_all(grace=5)
        supervisor.stop(*supervisor.names())
        isolation.clean_run_directory(settings)


def _start_node(settings: LabSettings, supervisor: Supervisor) -> None:
    images.load_cluster_images(settings, first(settings))
    network_policies.close(first(settings))
    cluster.start_node(settings, supervisor)
    # While the kubelet makes its node ready.
    objects.apply(settings, network_policies.manifests(), what="what judges connections")
    network_policies.start(settings, supervisor)
    wait_for_node(settings, supervisor)
    own = [*dns.manifests(settings, nodes=nodes.count(settings)), *storage.manifests()]
    objects.apply(settings, own, what="CoreDNS and the storage class")
    storage.start(settings, supervisor)


def _let_in(settings: LabSettings) -> str:
    """See that there is an ingress controller, or none, and return which it is."""
    if not ingress.wanted(settings):
        contour.remove(settings)
        return "none"
    contour.start(settings)
    return f"{contour_manifests.NAME} at {settings.addresses.ingress}"


def _link_programs(settings: LabSettings, *, stand_ins: bool) -> None:
    programs = {"pulumi": plugin_cache.cli(settings)}
    programs["kubectl"] = cluster.programs(settings) / "kubectl"
    for name in ("docker", "ctr"):
        programs[name] = packages.unpacked_root(settings) / "usr" / "bin" / name
    plugin_cache.link_programs(settings, programs, stand_ins=stand_ins)


def wait_for_node(settings: LabSettings, supervisor: Supervisor) -> None:
    """Wait until the first node says that it is ready.

    Raises:
        LabError: It does not in time, or the kubelet or containerd ended.
    """
    nodes.wait_until_ready(settings, supervisor, first(settings))


def node_was_heard(settings: LabSettings) -> str:
    """Return when the first node last told the API server that it is there."""
    return nodes.heard(settings, first(settings))


def _wait_for_service(settings: LabSettings, namespace: str) -> str:
    """Wait until the service answers from this machine and return its URL."""
    path = "jsonpath={.spec.clusterIP}"
    words = ("--namespace", namespace, "get", "service", "aegis-api", "-o", path)
    address = objects.kubectl(settings, *words, what="find the service's address")
    url = f"http://{address}"
    wait_until(
        lambda: cluster.answers(f"{url}/readyz"),
        what=f"the service to answer at {url}",
        timeout=90,
        detail=lambda: objects.kubectl(
            settings, "--namespace", namespace, "get", "pods,events", what="list pods and events"
        ),
    )
    return url
