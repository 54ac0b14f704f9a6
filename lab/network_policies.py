"""Network policies that bite: which connections of pods are judged, and by which daemon.

Each node's kernel hands the first packet of every connection of its pods to a queue, on which the
node's own daemon says what the cluster's policies make of it. Without that daemon nothing takes the
packet off the queue, and it is dropped: closed, not open.
"""

from __future__ import annotations

from pathlib import Path

from lab import containers, packages, pki
from lab.command import run
from lab.daemon import Daemon, Supervisor
from lab.errors import LabError
from lab.node import HOLDER, Node, first
from lab.settings import LabSettings
from lab.toolchain import POLICIES, Toolchain

NAME = POLICIES.name
CLIENT = "network-policies"
"""Whose kubeconfig the daemon has; see `lab.pki`."""
QUEUE = 1
"""The queue's number; each node's network namespace has queues of its own."""
CNI_RECORDS = "/var/lib/cni"
"""Where the pod network's plugins keep theirs, as a node's processes see it."""
_BRIDGED = "net.bridge.bridge-nf-call-"
_IPV6 = Path("/proc/sys/net/ipv6")
_JUDGED = ("-m", "conntrack", "--ctstate", "NEW", "-j", "NFQUEUE", "--queue-num", str(QUEUE))
_OF_PODS = (("FORWARD", "-i"), ("FORWARD", "-o"), ("INPUT", "-i"))
"""What pods send, to each other, elsewhere and to their own node, and what is sent to them.

What the node itself sends is none of these, so its kubelet's probes always arrive.
"""


def start(settings: LabSettings, supervisor: Supervisor, node: Node | None = None) -> None:
    """Have a node's connections judged, and wait until they are.

    Args:
        settings: The lab, whose API server answers and has `manifests`.
        supervisor: What starts the daemon.
        node: The node; the first one unless another is named.

    Raises:
        LabError: The kernel has no queues for packets, or the daemon ends; its log is quoted.
    """
    node = node or first(settings)
    close(node)
    conf = pki.kubeconfig(settings, CLIENT)
    name = node.daemon(NAME)
    supervisor.start(
        Daemon(
            name=name,
            argv=[
                str(Toolchain(settings).path(POLICIES)),
                f"--kubeconfig={conf}",
                f"--queue={QUEUE}",
                f"--cni={CNI_RECORDS}",
                f"--network={containers.NETWORK}",
            ],
            environment={"PATH": packages.search_path(settings)},
            # One with the keys of a cluster that is gone would ask for ever.
            configuration=conf.read_text(),
            holder=node.daemon(HOLDER),
            group=node.group,
        )
    )
    supervisor.wait_for(
        name,
        lambda: _listens(supervisor.pid_of(name)),
        what=f"{name} to judge connections",
    )


def close(node: Node) -> None:
    """Have the kernel let no new connection of a node's pods through that nobody judged.

    Raises:
        LabError: It cannot.
    """
    script = [
        "set -e",
        # With it, what crosses a bridge is filtered as what is routed is.
        "test -d /proc/sys/net/bridge || modprobe br_netfilter",
        f"sysctl -qw {_BRIDGED}iptables=1 {_BRIDGED}ip6tables=1",
        *(_ensured("iptables", *it, containers.BRIDGE, *_JUDGED) for it in _OF_PODS),
    ]
    if _IPV6.exists():
        # Pods have link-local addresses all the same, of which no policy can speak.
        script += [_ensured("ip6tables", *it, containers.BRIDGE, "-j", "DROP") for it in _OF_PODS]
    try:
        run(
            ["nsenter", f"--net=/run/netns/{node.name}", "sh", "-c", "\n".join(script)],
            what=f"have the connections of the pods on {node.name} judged",
        )
    except LabError as error:
        error.next = (
            "mend that, then `make up`; the kernel needs nfnetlink_queue, xt_NFQUEUE and "
            "br_netfilter, which distributions' kernels have"
        )
        raise


def _ensured(program: str, chain: str, *rule: str) -> str:
    # In a table before the one in which kube-proxy lets through whatever it translated.
    words = f"{chain} {' '.join(rule)}"
    start = f"{program} --wait --table mangle"
    return f"{start} --check {words} 2> /dev/null || {start} --append {words}"


def _listens(pid: int | None) -> bool:
    """Return whether a process' network namespace has the queue, with somebody who listens."""
    try:
        rows = Path(f"/proc/{pid}/net/netfilter/nfnetlink_queue").read_text().splitlines()
    except OSError:
        return False
    return any(row.split()[0] == str(QUEUE) for row in rows)


def manifests() -> list[dict[str, object]]:
    """Return what lets the daemon read which pods and policies there are, and nothing else."""
    rbac = "rbac.authorization.k8s.io"
    named = {"name": pki.CLIENTS[CLIENT][0]}
    look = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", *look]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": look},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": look},
    ]
    return [
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": named,
            "rules": rules,
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": named,
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", **named},
            "subjects": [{"apiGroup": rbac, "kind": "User", **named}],
        },
    ]
