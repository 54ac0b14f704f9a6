"""containerd and the pod network: what runs the pods' containers."""

from __future__ import annotations

import json
from pathlib import Path

from lab import files, packages
from lab.command import run
from lab.daemon import Daemon, Supervisor
from lab.node import HOLDER, Node, first
from lab.settings import LabSettings

PAUSE_IMAGE = "aegis.lab/pause:1"
"""The image that holds a pod's namespaces: made by `lab.images`, loaded, never pulled."""
NETWORK = "aegis-lab"
"""What the pod network is called in the records of its plugins."""
BRIDGE = "pods"
"""The link that a node's pods have in common, the node's own end of it."""

_ASK = "/runtime.v1.RuntimeService/Version"


def socket(settings: LabSettings, node: Node | None = None) -> Path:
    """Return containerd's socket, the first node's unless another is named."""
    return (node or first(settings)).run / "containerd" / "containerd.sock"


def start(settings: LabSettings, supervisor: Supervisor, node: Node | None = None) -> None:
    """Write containerd's and the pod network's configuration and start containerd.

    Args:
        settings: The lab.
        supervisor: What starts it.
        node: Where; the first node unless another is named.
    """
    node = node or first(settings)
    directory = node.state / "containerd"
    network = directory / "net.d"
    network.mkdir(parents=True, exist_ok=True)
    files.write(network / "10-lab.conflist", json.dumps(_network(node), indent=2))
    registry = directory / "certs.d" / settings.addresses.registry
    registry.mkdir(parents=True, exist_ok=True)
    server = f"http://{settings.addresses.registry}"
    files.write(
        registry / "hosts.toml",
        f'server = "{server}"\n[host."{server}"]\n  capabilities = ["pull", "resolve"]\n',
    )
    configuration = directory / "config.toml"
    text = _configuration(settings, node, directory)
    files.write(configuration, text)
    name = node.daemon("containerd")
    supervisor.start(
        Daemon(
            name=name,
            argv=[packages.program(settings, "containerd"), "--config", str(configuration)],
            environment={"PATH": packages.search_path(settings)},
            configuration=text,
            holder=node.daemon(HOLDER),
            group=node.group,
        )
    )
    supervisor.wait_for(name, lambda: answers(settings, node), what=f"{name} to answer")


def answers(settings: LabSettings, node: Node | None = None) -> bool:
    """Return whether containerd answers what the kubelet asks at its start, and ends without.

    Its socket says nothing of that: one that was killed leaves it behind, and one that has just
    started listens before it answers.
    """
    import grpc  # Not for every command of the lab.

    # A channel that shares connections would share the wait after one that failed, too.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"unix:{socket(settings, node)}", options) as channel:
        try:
            # Neither what is asked nor what is answered is looked into: the empty message will do.
            channel.unary_unary(_ASK)(b"", timeout=1)
        except grpc.RpcError:
            return False
    return True


def load_image(settings: LabSettings, node: Node, archive: Path) -> None:
    """Load an image archive for the pods of a node.

    Args:
        settings: The lab.
        node: The node.
        archive: An image as `docker save` writes it.
    """
    _ctr(settings, node, "images", "import", str(archive), what=f"load the image {archive.name}")


def has_image(settings: LabSettings, node: Node, name: str) -> bool:
    """Return whether the image store of a node's pods has this image."""
    listed = _ctr(settings, node, "images", "list", "--quiet", what="list the images")
    return name in listed.split()


def _ctr(settings: LabSettings, node: Node, *words: str, what: str) -> str:
    argv = [packages.program(settings, "ctr"), "--address", str(socket(settings, node))]
    return run([*argv, "--namespace", "k8s.io", *words], what=what)


def _network(node: Node) -> dict[str, object]:
    return {
        "cniVersion": "0.4.0",
        "name": NETWORK,
        "plugins": [
            {
                "type": "bridge",
                "bridge": BRIDGE,
                "isGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(node.pods)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        ],
    }


def _configuration(settings: LabSettings, node: Node, directory: Path) -> str:
    # overlayfs on top of overlayfs (a container's own root) does not work; native copies do.
    snapshotter = "overlayfs" if overlay_works(settings.state) else "native"
    return f"""\
version = 2
root = "{directory}/root"
state = "{node.run}/containerd/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.internal.v1.opt",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = "{socket(settings, node)}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE runc dies when it is to lower a score below its own.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{packages.cni_plugins(settings)}"
    conf_dir = "{directory}/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{directory}/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        BinaryName = "{packages.program(settings, "runc")}"
        SystemdCgroup = false
"""


def overlay_works(directory: Path) -> bool:
    """Return whether overlayfs can be used on a directory's file system."""
    directory.mkdir(parents=True, exist_ok=True)
    kind = run(["stat", "-f", "-c", "%T", directory], what="look at the file system").strip()
    return kind not in {"overlayfs", "nfs", "fuseblk", "fuse", "zfs"}
