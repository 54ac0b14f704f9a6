"""Where the lab keeps things and which addresses it uses.

The only reader of the lab's environment variables. It changes nothing, and looks at nothing but
the mapping it is given and where symbolic links in the paths lead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from lab import choices
from lab.errors import refused

NAME = "aegis-lab"
"""Name of the network namespace, the cgroup and (shortened) the links."""

BENCHMARK_RANGE = "198.18.0.0/15"
"""Default network: RFC 2544's range for benchmarks, routed nowhere."""

CHECKOUT = Path(__file__).resolve().parent.parent
"""The project's root."""

MOST_NODES = 9
"""How many nodes a lab may have: each takes the machine's memory (`lab.preflight`)."""

GITHUB = "https://github.com"
KUBERNETES_SITE = "https://dl.k8s.io"
"""Where official releases are published; what is below them is in `lab.releases`."""

REGISTRY_PORT = 5000
API_SERVER_PORT = 6443

FORBIDDEN_CHARACTERS = "\"',:\\\n"
FORBIDDEN_ROOTS = (Path("/var/lib"), Path("/var/log"), Path("/run"))
"""The lab's mount namespace puts its own directories over these; see `lab.isolation`."""


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """The lab's addresses, all cut out of one /15 network.

    Attributes:
        network: The whole, a /15 network.
    """

    network: IPv4Network

    @property
    def nodes_and_pods(self) -> IPv4Network:
        """The lower /16: host, node and pods."""
        return next(self.network.subnets(new_prefix=16))

    @property
    def services(self) -> IPv4Network:
        """The upper /16: cluster addresses of Services."""
        return list(self.network.subnets(new_prefix=16))[1]

    @property
    def pods(self) -> IPv4Network:
        """The upper half of `nodes_and_pods`: pod addresses."""
        return list(self.nodes_and_pods.subnets(new_prefix=17))[1]

    @property
    def link(self) -> IPv4Network:
        """The /24 that the host and the node share."""
        return next(self.nodes_and_pods.subnets(new_prefix=24))

    @property
    def further_links(self) -> IPv4Network:
        """The /24 of which each further node has a /30, with the first node at its other end."""
        return list(self.nodes_and_pods.subnets(new_prefix=24))[1]

    @property
    def all_further_pods(self) -> IPv4Network:
        """The pods of the further nodes: outside `pods`, which the first node's take for near."""
        return list(self.nodes_and_pods.subnets(new_prefix=18))[1]

    def further_link(self, number: int) -> IPv4Network:
        """The link of a further node; the first node's end has the first address."""
        return list(self.further_links.subnets(new_prefix=30))[number]

    def further_pods(self, number: int) -> IPv4Network:
        """The pods of a further node."""
        return list(self.all_further_pods.subnets(new_prefix=24))[number]

    @property
    def host(self) -> IPv4Address:
        """The host's end of the link."""
        return self.link[1]

    @property
    def node(self) -> IPv4Address:
        """The node's end of the link: API server, registry, kubelet."""
        return self.link[2]

    @property
    def kubernetes_service(self) -> IPv4Address:
        """The address that the API server gives its own Service."""
        return self.services[1]

    @property
    def dns(self) -> IPv4Address:
        """The cluster address of CoreDNS."""
        return self.services[10]

    @property
    def ingress(self) -> IPv4Address:
        """The cluster address of the way in, where there is one."""
        return self.services[20]

    @property
    def registry(self) -> str:
        """The registry as images name it, host:port."""
        return f"{self.node}:{REGISTRY_PORT}"

    @property
    def api_server(self) -> str:
        """The API server's URL."""
        return f"https://{self.node}:{API_SERVER_PORT}"


@dataclass(frozen=True, kw_only=True)
class LabSettings:
    """Paths and addresses of one lab; there is one a machine.

    Attributes:
        checkout: The project's root.
        cache: Tool builds and images, keyed by their pins; may be deleted at any time.
        state: The cluster's and the state backend's data, logs, pid files, keys.
        addresses: The network plan.
        nodes: How many nodes it is to have; None means as many as it has, which is one at first.
        ingress: Which ingress controller it is to have; None means the one it has, if any.
        github: Where releases on GitHub are downloaded from.
        kubernetes_site: Where Kubernetes' releases are downloaded from.
    """

    checkout: Path
    cache: Path
    state: Path
    addresses: Addresses
    nodes: int | None = None
    ingress: choices.Ingress | None = None
    github: str = GITHUB
    kubernetes_site: str = KUBERNETES_SITE

    @property
    def run(self) -> Path:
        """Sockets and pid files; also what the lab's processes see as /run."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        """One log file a process."""
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.state / "kubeconfig"

    @property
    def pulumi_home(self) -> Path:
        """The lab's own PULUMI_HOME, so that stand-ins never shadow a person's plugins."""
        return self.state / "pulumi"

    @property
    def backend(self) -> Path:
        """The file state backend."""
        return self.state / "backend"

    @property
    def passphrase_file(self) -> Path:
        """The passphrase of the lab's stacks, generated once a lab."""
        return self.state / "passphrase"

    @property
    def docker_socket(self) -> Path:
        """The socket of the lab's Docker daemon."""
        return self.run / "docker.sock"

    @property
    def docker_host(self) -> str:
        """The same as DOCKER_HOST names it."""
        return f"unix://{self.docker_socket}"


def load(environment: Mapping[str, str], checkout: Path) -> LabSettings:
    """Return the lab's settings.

    Args:
        environment: The process environment. Read are XDG_CACHE_HOME, XDG_STATE_HOME, HOME,
            AEGIS_LAB_DIR (the state directory itself), AEGIS_LAB_NETWORK (a /15 network),
            AEGIS_LAB_NODES (a number), AEGIS_LAB_INGRESS (a name), AEGIS_LAB_GITHUB_SITE and
            AEGIS_LAB_KUBERNETES_SITE (mirrors of the release sites).
        checkout: The project's root, absolute.

    Raises:
        LabError: A value cannot be used; the message names it and what is allowed.
    """
    home = Path(environment.get("HOME") or "/root")
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "aegis"
    state_home = Path(environment.get("XDG_STATE_HOME") or home / ".local" / "state")
    state = Path(environment.get("AEGIS_LAB_DIR") or state_home / "aegis" / "lab").absolute()
    _check_place(state, "state", "AEGIS_LAB_DIR=/some/other/directory make up")
    _check_place(cache.absolute(), "cache", "XDG_CACHE_HOME=/some/other/directory make up")
    for precious in (home.absolute(), checkout, cache.absolute()):
        if precious.is_relative_to(state):
            raise refused(
                f"the lab cannot keep its state in {state}",
                f"{precious} lies in it, and `make down purge=1` removes the state",
                "AEGIS_LAB_DIR=/a/directory/of/its/own make up",
            )
    text = environment.get("AEGIS_LAB_NETWORK") or BENCHMARK_RANGE
    try:
        network = ip_network(text)
    except ValueError as error:
        raise _bad_network(text, str(error)) from error
    if not isinstance(network, IPv4Network) or network.prefixlen != 15:  # noqa: PLR2004
        raise _bad_network(text, "it is not an IPv4 network of 2^17 addresses")
    return LabSettings(
        checkout=checkout,
        cache=cache.absolute(),
        state=state,
        addresses=Addresses(network=network),
        nodes=node_count(environment.get("AEGIS_LAB_NODES") or None, "AEGIS_LAB_NODES="),
        ingress=choices.ingress(environment.get("AEGIS_LAB_INGRESS") or None, "AEGIS_LAB_INGRESS"),
        github=_site(environment, "AEGIS_LAB_GITHUB_SITE", GITHUB),
        kubernetes_site=_site(environment, "AEGIS_LAB_KUBERNETES_SITE", KUBERNETES_SITE),
    )


def node_count(text: str | None, given: str) -> int | None:
    """Read how many nodes a lab is to have; None where nobody says it.

    Args:
        text: What was given.
        given: What it was given by, for the error.

    Raises:
        LabError: It is no number of nodes that a lab may have.
    """
    if text is None:
        return None
    if text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_NODES:
        return int(text)
    raise refused(
        f"{given}{text} cannot be used",
        f"a lab has 1 to {MOST_NODES} nodes, as a whole number",
        "make up nodes=3",
    )


def _site(environment: Mapping[str, str], name: str, default: str) -> str:
    """Read the address of a release site; what comes unencrypted may come from this machine only.

    A checksum that anybody on the way can change as well as the file protects nothing.
    """
    text = (environment.get(name) or default).rstrip("/")
    parts = urlsplit(text)
    near = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    plain = not (parts.username or parts.password or parts.query or parts.fragment)
    if plain and parts.hostname and (near or parts.scheme == "https"):
        return text
    shown = text if plain else "(an address with a user, a password or a query)"
    raise refused(
        f"{name}={shown} cannot be used",
        "allowed is https://<host>[/<path>], or http:// on this machine's loopback",
        f"{name}={default}, or leave it out",
    )


def _check_place(place: Path, what: str, fix: str) -> None:
    resolved = place.resolve()
    for root in FORBIDDEN_ROOTS:
        if resolved.is_relative_to(root):
            raise refused(
                f"the lab cannot keep its {what} in {place}",
                f"its mount namespace puts a directory of its own over {root}",
                fix,
            )
    if found := sorted(set(str(place)) & set(FORBIDDEN_CHARACTERS)):
        raise refused(
            f"the lab cannot keep its {what} in {place}",
            f"the path holds {', '.join(map(repr, found))}, "
            "which PATH, a mount option or a configuration file would read as its own",
            fix,
        )


def _bad_network(text: str, why: str) -> Exception:
    return refused(
        f"AEGIS_LAB_NETWORK={text} cannot be used",
        f"{why}; allowed is a /15, for example {BENCHMARK_RANGE}",
        "unset AEGIS_LAB_NETWORK, or give a /15 that nothing on this machine uses",
    )
