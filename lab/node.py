"""What makes one node of the lab: its names, its addresses, its directories, its part of the group.

The first node is where the control plane is, and the lab's own namespaces are its. Each further one
has a network namespace, a mount namespace and a part of the control group of its own, as if it were
a machine beside it, one router away.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.errors import EXIT_USAGE, LabError
from lab.settings import MOST_NODES, NAME, LabSettings

ZONES = ("lab-a", "lab-b", "lab-c")
"""What the nodes are in by turns, as the label `topology.kubernetes.io/zone`."""
HOLDER = "holder"


@dataclass(frozen=True, kw_only=True)
class Node:
    """One node.

    Attributes:
        number: Its number; 1 is where the control plane is.
        address: Where its kubelet answers.
        router: Where it sends what is not for itself; its own address on the first one.
        pods: Its pods' addresses.
        state: Its directories: containerd's, the kubelet's.
        run: Its sockets; also what its processes see as /run.
        taint: What keeps pods off it from the beginning, as `key:effect`; empty for nothing.
    """

    number: int
    address: IPv4Address
    router: IPv4Address
    pods: IPv4Network
    state: Path
    run: Path
    taint: str = ""

    @property
    def is_first(self) -> bool:
        """Whether it is the one with the control plane."""
        return self.number == 1

    @property
    def name(self) -> str:
        """The node's name, and that of its network namespace."""
        return NAME if self.is_first else f"{NAME}-{self.number}"

    @property
    def zone(self) -> str:
        """The zone that it is in."""
        return ZONES[(self.number - 1) % len(ZONES)]

    @property
    def group(self) -> str:
        """Its part of the lab's control group; empty for all that is in no other's."""
        return "" if self.is_first else self.name

    @property
    def link(self) -> str:
        """The end of its link that the first node has."""
        return f"aegis-n{self.number}"

    @property
    def client(self) -> str:
        """Whose kubeconfig its kubelet has; see `lab.pki`."""
        return self.daemon("kubelet")

    def daemon(self, program: str) -> str:
        """Return what a program is called that each node runs once."""
        return program if self.is_first else f"{program}@{self.name}"


def first(settings: LabSettings) -> Node:
    """Return the node that every lab has."""
    addresses = settings.addresses
    return Node(
        number=1,
        address=addresses.node,
        router=addresses.node,
        pods=addresses.pods,
        state=settings.state,
        run=settings.run,
    )


def further(settings: LabSettings, number: int, taint: str = "") -> Node:
    """Return a node beside the first one, whether there is one or not.

    Args:
        settings: The lab.
        number: Its number, 2 and above.
        taint: What keeps pods off it, as `key:effect`.
    """
    link = settings.addresses.further_link(number)
    directory = directories(settings) / f"{NAME}-{number}"
    return Node(
        number=number,
        address=link[2],
        router=link[1],
        pods=settings.addresses.further_pods(number),
        state=directory,
        run=directory / "run",
        taint=taint,
    )


def directories(settings: LabSettings) -> Path:
    """Return where each further node has a directory."""
    return settings.state / "nodes"


def number_of(name: str) -> int:
    """Return the number of a further node, told by its name or its number.

    Raises:
        LabError: No node can be called so.
    """
    text = name.removeprefix(f"{NAME}-")
    if text.isascii() and text.isdigit() and 2 <= int(text) <= MOST_NODES:  # noqa: PLR2004
        return int(text)
    raise LabError(
        what=f"no further node can be called {name}",
        why="the first one, with the control plane, is the lab itself: `python -m lab restart`, "
        "`make down`"
        if name in (NAME, "1")
        else f"they are {NAME}-2 to {NAME}-{MOST_NODES}, or the number alone",
        next="python -m lab node list",
        code=EXIT_USAGE,
    )
