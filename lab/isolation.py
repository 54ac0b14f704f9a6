"""The lab's network and mount namespaces, and the link between host and node.

The mount namespace is held open by one sleeping process, the holder: all mounts that the
kubelet, containerd and Docker make vanish with the last process in it, so nothing of them
can be left behind on the machine.
"""

from __future__ import annotations

import json
import shutil
from ipaddress import IPv4Network, ip_network
from pathlib import Path

from lab.command import run
from lab.daemon import Daemon, Supervisor
from lab.errors import LabError, refused
from lab.node import HOLDER, Node, first
from lab.settings import NAME, LabSettings

HOST_LINK = "aegis0"
NODE_LINK = "aegis1"
UPLINK = "uplink"
"""What a further node calls its end of its link."""
COVERED = {"run": Path("/run"), "var-log": Path("/var/log"), "var-lib": Path("/var/lib")}
"""The lab's own directories (below its state) put over the machine's, inside only."""


def ip(*words: str) -> str:
    """Run `ip` on the host and return its output."""
    return run(["ip", *words], what=f"set up the lab's network (ip {' '.join(words)})")


def ip_inside(*words: str) -> str:
    """Run `ip` inside the lab's network namespace and return its output."""
    return ip("-n", NAME, *words)


def conflicts(settings: LabSettings) -> list[str]:
    """Return what on this machine already uses the lab's network, in words.

    Reads routes and addresses; the lab's own link does not count.
    """
    found = []
    for route in json.loads(ip("-j", "route", "show", "table", "all") or "[]"):
        hops = [hop.get("dev") for hop in route.get("nexthops", [])]
        device = route.get("dev") or " and ".join(filter(None, hops))
        target = route.get("dst", "default")
        if device == HOST_LINK or target == "default" or ":" in target:
            continue
        network = ip_network(target, strict=False)
        assert isinstance(network, IPv4Network)  # noqa: S101
        if network.prefixlen and network.overlaps(settings.addresses.network):
            found.append(f"{target} is routed to {device or route.get('type')}")
    return sorted(set(found))


def exists(name: str = NAME) -> bool:
    """Return whether a network namespace exists; the lab's, which is its first node's."""
    return any(entry.get("name") == name for entry in json.loads(ip("-j", "netns", "list") or "[]"))


def stands(settings: LabSettings, supervisor: Supervisor) -> bool:
    """Return whether namespaces and link are there, with the addresses of these settings."""
    return supervisor.pid_of(HOLDER) is not None and exists() and _link_is_up(settings)


def create(settings: LabSettings, supervisor: Supervisor) -> None:
    """Make namespaces and link, each unless it is there already.

    Raises:
        LabError: Something else uses the lab's addresses, or the kernel refuses.
    """
    if stands(settings, supervisor):
        return
    remove_network()
    taken = conflicts(settings)
    if taken:
        raise refused(
            f"the lab's network {settings.addresses.network} is in use on this machine",
            "\n".join(taken),
            "AEGIS_LAB_NETWORK=<a free /15 network> make up",
        )
    addresses = settings.addresses
    ip("netns", "add", NAME)
    ip("link", "add", HOST_LINK, "type", "veth", "peer", "name", NODE_LINK, "netns", NAME)
    ip("address", "add", f"{addresses.host}/{addresses.link.prefixlen}", "dev", HOST_LINK)
    ip("link", "set", HOST_LINK, "up")
    ip_inside("address", "add", f"{addresses.node}/{addresses.link.prefixlen}", "dev", NODE_LINK)
    ip_inside("link", "set", "lo", "up")
    ip_inside("link", "set", NODE_LINK, "up")
    # No default route inside: the lab reaches this machine's end of the link and nothing else.
    for network in (addresses.pods, addresses.services):
        ip("route", "replace", str(network), "via", str(addresses.node))
    run(
        ["nsenter", f"--net=/run/netns/{NAME}", "sysctl", "-qw", "net.ipv4.ip_forward=1"],
        what="let the lab's node forward between pods and host",
    )
    _hold(supervisor, first(settings))


def create_node(settings: LabSettings, supervisor: Supervisor, node: Node) -> None:
    """Make a further node's namespaces and its link to the first one, unless they are there."""
    if node_stands(supervisor, node):
        return
    remove_node_network(node)
    ip("netns", "add", node.name)
    ip_inside("link", "add", node.link, "type", "veth", "peer", "name", UPLINK, "netns", node.name)
    prefix = settings.addresses.further_link(node.number).prefixlen
    ip("-n", node.name, "address", "add", f"{node.address}/{prefix}", "dev", UPLINK)
    ip("-n", node.name, "link", "set", "lo", "up")
    join_link(node)
    ip_inside("address", "add", f"{node.router}/{prefix}", "dev", node.link)
    ip_inside("link", "set", node.link, "up")
    ip_inside("route", "replace", str(node.pods), "via", str(node.address))
    # This machine finds the further nodes' pods behind the first node, as it finds that one's.
    for network in (settings.addresses.further_links, settings.addresses.all_further_pods):
        ip("route", "replace", str(network), "via", str(settings.addresses.node))
    run(
        ["nsenter", f"--net=/run/netns/{node.name}", "sysctl", "-qw", "net.ipv4.ip_forward=1"],
        what=f"let {node.name} forward for its pods",
    )
    _hold(supervisor, node)


def node_stands(supervisor: Supervisor, node: Node) -> bool:
    """Return whether a further node's namespaces are there, and its link, cut or not."""
    return (
        supervisor.pid_of(node.daemon(HOLDER)) is not None
        and exists(node.name)
        and node_has_link(node)
    )


def node_has_link(node: Node) -> bool:
    """Return whether a further node's link is there, up or down."""
    links = json.loads(ip_inside("-j", "link", "show") or "[]")
    return any(link.get("ifname") == node.link for link in links)


def join_link(node: Node) -> None:
    """Take up a further node's link, at its own end."""
    ip("-n", node.name, "link", "set", UPLINK, "up")
    # A link that goes down takes the routes over it along.
    ip("-n", node.name, "route", "replace", "default", "via", str(node.router))


def cut_link(node: Node) -> None:
    """Take down a further node's link, at its own end: nobody answers any more.

    What is sent to it leaves the first node and is lost, as on a wire. With the link down at that
    end there would be no route: who asks would be told so at once, or, sent again, the same request
    would go to another pod, as conntrack knows nothing yet of a packet that was not sent.
    """
    [uplink] = json.loads(ip("-n", node.name, "-j", "link", "show", "dev", UPLINK))
    # Nor is anybody to be told that nobody answers for the address.
    neighbour = ("neigh", "replace", str(node.address), "lladdr", uplink["address"])
    ip_inside(*neighbour, "dev", node.link, "nud", "permanent")
    ip("-n", node.name, "link", "set", UPLINK, "down")


def is_cut(node: Node) -> bool:
    """Return whether a further node's link is down, or there is none."""
    if not exists(node.name):
        return True
    links = json.loads(ip("-n", node.name, "-j", "link", "show") or "[]")
    flags = [link.get("flags", ()) for link in links if link.get("ifname") == UPLINK]
    return not any("UP" in them for them in flags)


def remove_node_network(node: Node) -> None:
    """Remove a further node's network namespace and link; harmless when they are not there."""
    if exists(node.name):
        ip("netns", "delete", node.name)
    if exists() and node_has_link(node):
        try:
            ip_inside("link", "delete", node.link)
        except LabError:
            # The kernel takes it along with the namespace of its other end, at a time of its own.
            if node_has_link(node):
                raise


def _hold(supervisor: Supervisor, node: Node) -> None:
    name = node.daemon(HOLDER)
    supervisor.start(_holder(node))
    ready = (node.run / "holder.ready").exists
    supervisor.wait_for(name, ready, what=f"the namespaces of {node.name}")


def _link_is_up(settings: LabSettings) -> bool:
    links = json.loads(ip("-j", "address", "show") or "[]")
    return any(
        link.get("ifname") == HOST_LINK
        and any(a.get("local") == str(settings.addresses.host) for a in link.get("addr_info", []))
        for link in links
    )


def _holder(node: Node) -> Daemon:
    script = ["set -e"]
    node.run.mkdir(parents=True, exist_ok=True)
    for name, target in COVERED.items():
        source = node.state / name
        source.mkdir(parents=True, exist_ok=True)
        script.append(f"mount --bind '{source}' '{target}'")
    (node.run / "holder.ready").unlink(missing_ok=True)
    script += [": > '/run/holder.ready'", "exec sleep infinity"]
    return Daemon(
        name=node.daemon(HOLDER),
        argv=[
            *("nsenter", f"--net=/run/netns/{node.name}"),
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", "; ".join(script)),
        ],
        environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        inside=False,
        group=node.group,
    )


def remove_network() -> None:
    """Remove the network namespace and the link; harmless when they are not there."""
    if exists():
        ip("netns", "delete", NAME)
    links = json.loads(ip("-j", "link", "show") or "[]")
    if any(link.get("ifname") == HOST_LINK for link in links):
        ip("link", "delete", HOST_LINK)


def clean_run_directory(place: LabSettings | Node) -> None:
    """Empty the /run of a node, as a machine's is empty after a boot: stale sockets and locks.

    Args:
        place: The node; the lab for its first one.
    """
    shutil.rmtree(place.run, ignore_errors=True)
    place.run.mkdir(parents=True)
