"""API servers of a test's own, on loopback: clusters without nodes, beside the lab's.

Each has all that a stack's objects need but whatever runs pods: what a kubelet and the controllers
would write into the status of a Deployment, a thread writes here as it is told to.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from aegis_deploy.kubernetes.client import ApiError, Cluster, connect
from lab import packages
from lab.cluster import answers, programs
from lab.command import wait_until
from lab.settings import LabSettings, load

SECONDS = 240.0
_LOOK_SECONDS = 0.2
_DEPLOYMENTS = "/apis/apps/v1/deployments"
_STUCK = "ProgressDeadlineExceeded"


@dataclass
class OwnCluster:
    """One of them.

    Attributes:
        name: Its name.
        address: Where its API server listens.
        token: What it knows its user by.
        keys: Where its API server put the certificate that it made for itself.
        process: The API server.
        healthy: Whether rollouts come to a good end.
    """

    name: str
    address: str
    token: str = field(repr=False)
    keys: Path
    process: subprocess.Popen[bytes]
    healthy: bool = True
    _stop: threading.Event = field(default_factory=threading.Event)

    @property
    def kubeconfig(self) -> str:
        """A kubeconfig that leads there."""
        authority = base64.b64encode((self.keys / "apiserver.crt").read_bytes()).decode()
        server = {"server": self.address, "certificate-authority-data": authority}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "it",
                "clusters": [{"name": "it", "cluster": server}],
                "users": [{"name": "it", "user": {"token": self.token}}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            }
        )

    @property
    def cluster(self) -> Cluster:
        """It, connected to."""
        return connect(None, f"{self.kubeconfig}\n")

    def deployment(self, namespace: str, name: str) -> dict[str, Any]:
        """One of its Deployments."""
        return self.cluster.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")

    def edit(self, namespace: str, name: str, change: dict[str, Any]) -> None:
        """Change a Deployment as a person does."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"
        self.cluster.merge(path, change, manager="kubectl-edit")

    def end(self) -> None:
        """End its API server."""
        self._stop.set()
        self.process.kill()
        self.process.wait()

    def play(self) -> None:
        """Write into each Deployment's status what controllers would, until it ends."""
        cluster = self.cluster
        while not self._stop.wait(_LOOK_SECONDS):
            with suppress(ApiError):
                for it in cluster.get(_DEPLOYMENTS)["items"]:
                    self._write(cluster, it)

    def _write(self, cluster: Cluster, it: dict[str, Any]) -> None:
        metadata, wanted = it["metadata"], it["spec"]["replicas"]
        condition = {"type": "Progressing", "lastUpdateTime": metadata["creationTimestamp"]}
        condition["lastTransitionTime"] = metadata["creationTimestamp"]
        condition |= (
            {"status": "True", "reason": "NewReplicaSetAvailable", "message": "done"}
            if self.healthy
            else {"status": "False", "reason": _STUCK, "message": "it has timed out"}
        )
        number = wanted if self.healthy else 0
        counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
        status = {
            "observedGeneration": metadata["generation"],
            **dict.fromkeys(counts, number),
            "conditions": [condition],
        }
        if it.get("status") != {key: value for key, value in status.items() if value}:
            path = f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments"
            change = {"status": status}
            cluster.merge(
                f"{path}/{metadata['name']}/status", change, manager="kube-controller-manager"
            )


@contextmanager
def own_clusters(directory: Path, names: Sequence[str]) -> Iterator[dict[str, OwnCluster]]:
    """Start some, which share a store; end them afterwards.

    Args:
        directory: Where everything of them is.
        names: What they are called.
    """
    settings = load(os.environ, Path(__file__).resolve().parents[2])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (directory / "signer").touch(0o600)
    (directory / "signer").write_bytes(encoded)
    (directory / "kube-apiserver").symlink_to((programs(settings) / "kube-apiserver").resolve())
    with ExitStack() as stack:
        store = _store(stack, settings, directory)
        made = {name: _api_server(stack, directory, store, name) for name in names}
        for name, it in made.items():
            wait_until(
                lambda it=it: answers(f"{it.address}/readyz"),  # type: ignore[misc]
                what=f"the API server of {name}",
                timeout=SECONDS,
                failed=lambda it=it: _ended(it.process, directory / f"{it.name}.log"),  # type: ignore[misc]
            )
            threading.Thread(target=it.play, name=name, daemon=True).start()
            stack.callback(it.end)
        yield made


def _store(stack: ExitStack, settings: LabSettings, directory: Path) -> str:
    client, peer = (f"http://127.0.0.1:{_port()}" for _ in range(2))
    _run(
        stack,
        directory / "etcd.log",
        packages.program(settings, "etcd"),
        *("--name", "own", "--data-dir", str(directory / "etcd")),
        *("--listen-client-urls", client, "--advertise-client-urls", client),
        *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
        *("--initial-cluster", f"own={peer}"),
    )
    return client


def _api_server(stack: ExitStack, directory: Path, store: str, name: str) -> OwnCluster:
    port, token, keys = _port(), secrets.token_hex(), directory / "signer"
    tokens = directory / f"{name}.tokens"
    tokens.touch(0o600)
    tokens.write_text(f"{token},tester,tester,system:masters\n")
    process = _run(
        stack,
        directory / f"{name}.log",
        str(directory / "kube-apiserver"),
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={directory / name}",
        f"--etcd-servers={store}",
        f"--etcd-prefix=/{name}",
        "--endpoint-reconciler-type=none",
        "--service-cluster-ip-range=198.51.100.0/24",
        f"--token-auth-file={tokens}",
        f"--service-account-key-file={keys}",
        f"--service-account-signing-key-file={keys}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--profiling=false",
    )
    return OwnCluster(name, f"https://127.0.0.1:{port}", token, directory / name, process)


def _run(stack: ExitStack, log: Path, *argv: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdout=output, stderr=output, stdin=subprocess.DEVNULL)

    def end() -> None:
        process.kill()
        process.wait()

    stack.callback(end)
    return process


def _ended(process: subprocess.Popen[bytes], log: Path) -> str | None:
    if process.poll() is None:
        return None
    return "\n".join(log.read_text(errors="replace").splitlines()[-20:])


def _port() -> int:
    with socket.socket() as it:
        it.bind(("127.0.0.1", 0))
        return int(it.getsockname()[1])
