"""The Kubernetes control plane and node: etcd, API server, controllers, kubelet, proxy."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request
from pathlib import Path

import yaml

from lab import containers, files, packages, pki, releases
from lab.daemon import Daemon, Supervisor
from lab.node import HOLDER, Node, first
from lab.settings import API_SERVER_PORT, NAME, LabSettings
from lab.toolchain import KUBE, KUBE_PROGRAMS, Toolchain

NODE = NAME
DOMAIN = "cluster.local"
ETCD_PORT = 2379
ZONE_LABEL = "topology.kubernetes.io/zone"


def programs(settings: LabSettings) -> Path:
    """Return the directory of Kubernetes' programs: the release's, else our one binary's names."""
    directory = settings.state / "kubernetes" / "bin"
    directory.mkdir(parents=True, exist_ok=True)
    built = Toolchain(settings).path(KUBE)
    for name in KUBE_PROGRAMS:
        binary = releases.tool(settings, releases.KUBERNETES, name) or built
        link = directory / name
        if not link.is_symlink() or link.readlink() != binary:
            link.unlink(missing_ok=True)
            link.symlink_to(binary)
    return directory


def start_control_plane(settings: LabSettings, supervisor: Supervisor) -> None:
    """Start etcd, the API server, the controllers and the scheduler; wait for the API.

    Raises:
        LabError: One of them ends or does not answer in time; its log is quoted.
    """
    pki.create(settings)
    supervisor.start(_etcd(settings))
    supervisor.start(_api_server(settings))
    supervisor.start(_controller_manager(settings))
    supervisor.start(_scheduler(settings))
    ready = f"{settings.addresses.api_server}/readyz"
    supervisor.wait_for(
        ["etcd", "kube-apiserver"],
        lambda: answers(ready),
        what="the API server to be ready",
        timeout=90,
    )


def start_node(settings: LabSettings, supervisor: Supervisor, node: Node | None = None) -> None:
    """Start the kubelet and the service proxy.

    Args:
        settings: The lab.
        supervisor: What starts them.
        node: Whose; the first node's unless another is named.
    """
    node = node or first(settings)
    supervisor.start(_kubelet(settings, node))
    supervisor.start(_proxy(settings, node))


def answers(url: str) -> bool:
    """Return whether a URL of the lab answers with success within a second.

    The certificate is not checked: this asks whether a program of ours is up, no more.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(url, timeout=1) as response:
            return bool(200 <= response.status < 300)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _kube(
    settings: LabSettings,
    name: str,
    *flags: str,
    configuration: str = "",
    node: Node | None = None,
) -> Daemon:
    node = node or first(settings)
    return Daemon(
        name=node.daemon(name),
        argv=[str(programs(settings) / name), *flags],
        environment={"PATH": packages.search_path(settings)},
        # A cluster with new keys must not be served by a program that read the old ones.
        configuration=configuration + (pki.directory(settings) / "ca.crt").read_text(),
        holder=node.daemon(HOLDER),
        group=node.group,
    )


def _etcd(settings: LabSettings) -> Daemon:
    # The node's loopback: neither pods nor this machine's other programs reach it.
    client, peer = f"http://127.0.0.1:{ETCD_PORT}", f"http://127.0.0.1:{ETCD_PORT + 1}"
    return Daemon(
        name="etcd",
        argv=[
            packages.program(settings, "etcd"),
            *("--name", NODE),
            *("--data-dir", str(settings.state / "etcd")),
            *("--listen-client-urls", client),
            *("--advertise-client-urls", client),
            *("--listen-peer-urls", peer),
            *("--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"{NODE}={peer}"),
            *("--auto-compaction-mode", "periodic"),
            *("--auto-compaction-retention", "1h"),
        ],
        environment={"PATH": packages.search_path(settings)},
    )


def _api_server(settings: LabSettings) -> Daemon:
    keys, addresses = pki.directory(settings), settings.addresses
    return _kube(
        settings,
        "kube-apiserver",
        f"--advertise-address={addresses.node}",
        f"--bind-address={addresses.node}",
        f"--secure-port={API_SERVER_PORT}",
        f"--etcd-servers=http://127.0.0.1:{ETCD_PORT}",
        f"--service-cluster-ip-range={addresses.services}",
        f"--client-ca-file={keys}/ca.crt",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--kubelet-client-certificate={keys}/kubelet-client.crt",
        f"--kubelet-client-key={keys}/kubelet-client.key",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-key-file={keys}/service-accounts.crt",
        f"--service-account-signing-key-file={keys}/service-accounts.key",
        f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--profiling=false",
    )


def _controller_manager(settings: LabSettings) -> Daemon:
    keys, conf = pki.directory(settings), pki.kubeconfig(settings, "controller-manager")
    return _kube(
        settings,
        "kube-controller-manager",
        f"--kubeconfig={conf}",
        f"--root-ca-file={keys}/ca.crt",
        f"--service-account-private-key-file={keys}/service-accounts.key",
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    )


def _scheduler(settings: LabSettings) -> Daemon:
    conf = pki.kubeconfig(settings, "scheduler")
    return _kube(
        settings,
        "kube-scheduler",
        f"--kubeconfig={conf}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    )


def _kubelet(settings: LabSettings, node: Node) -> Daemon:
    directory = node.state / "kubelet"
    directory.mkdir(parents=True, exist_ok=True)
    resolver = directory / "resolv.conf"
    files.write(resolver, f"nameserver {settings.addresses.dns}\n")
    configuration = directory / "config.yaml"
    text = yaml.safe_dump(_kubelet_configuration(settings, node, resolver))
    files.write(configuration, text)
    return _kube(
        settings,
        "kubelet",
        f"--config={configuration}",
        f"--kubeconfig={pki.kubeconfig(settings, node.client)}",
        f"--root-dir={directory}/root",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
        # The first one gets its zone once there is another (`lab.nodes`).
        *([] if node.is_first else [f"--node-labels={ZONE_LABEL}={node.zone}"]),
        configuration=text,
        node=node,
    )


def _kubelet_configuration(settings: LabSettings, node: Node, resolver: Path) -> dict[str, object]:
    keys = pki.directory(settings)
    key, _, effect = node.taint.partition(":")
    return {
        **({"registerWithTaints": [{"key": key, "effect": effect}]} if node.taint else {}),
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(node.address),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{keys}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{NAME}/{node.group}".rstrip("/"),
        "clusterDNS": [str(settings.addresses.dns)],
        "clusterDomain": DOMAIN,
        "containerRuntimeEndpoint": f"unix://{containers.socket(settings, node)}",
        # A full disk of the machine is not the lab's to repair by evicting what it shows.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 99,
        "imageGCLowThresholdPercent": 98,
        "failCgroupV1": False,
        "failSwapOn": False,
        "healthzBindAddress": "127.0.0.1",
        "resolvConf": str(resolver),
        "serializeImagePulls": False,
        "syncFrequency": "10s",
        "volumePluginDir": str(node.state / "kubelet" / "volume-plugins"),
    }


def _proxy(settings: LabSettings, node: Node) -> Daemon:
    directory = node.state / "kube-proxy"
    directory.mkdir(parents=True, exist_ok=True)
    configuration = directory / "config.yaml"
    text = yaml.safe_dump(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": str(pki.kubeconfig(settings, "proxy"))},
            "clusterCIDR": str(node.pods),
            "hostnameOverride": node.name,
            "mode": "iptables",
            "bindAddress": str(node.address),
            "healthzBindAddress": "127.0.0.1:10256",
            "metricsBindAddress": "127.0.0.1:10249",
            # Kernel-wide limits are the machine's, not a namespace's, to set.
            "conntrack": {"maxPerCore": 0, "min": 0},
            "iptables": {"minSyncPeriod": "0s"},
        }
    )
    files.write(configuration, text)
    flag = f"--config={configuration}"
    return _kube(settings, "kube-proxy", flag, configuration=text, node=node)
