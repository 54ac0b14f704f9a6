"""The cluster's keys: one authority, and certificates for who talks to the API server.

Made once a lab and kept; a purge throws them away.
"""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.node import Node
from lab.settings import LabSettings

LIFETIME = datetime.timedelta(days=3650)
BACKDATED = datetime.timedelta(hours=24)
"""Certificates are valid from a day ago: a clock that jumps back must not end the lab."""

CLIENTS = {
    "admin": ("aegis-lab-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", None),
    "scheduler": ("system:kube-scheduler", None),
    "kubelet": ("system:node:aegis-lab", "system:nodes"),
    "proxy": ("system:kube-proxy", None),
    "storage": ("aegis-lab-storage", None),
    "network-policies": ("aegis-lab-network-policies", None),
}
"""Kubeconfig -> common name and organisation, the identities Kubernetes' RBAC expects."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its key.

    Attributes:
        certificate: The certificate.
        key: Its private key.
    """

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key as PEM."""
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


def directory(settings: LabSettings) -> Path:
    """Return where the keys are."""
    return settings.state / "pki"


def kubeconfig(settings: LabSettings, client: str) -> Path:
    """Return the kubeconfig of one of `CLIENTS`, or of a further node's kubelet."""
    return settings.kubeconfig if client == "admin" else directory(settings) / f"{client}.conf"


def create(settings: LabSettings) -> None:
    """Make authority, server certificate, signing key and kubeconfigs, unless all are there.

    The marker is written last: an interrupted run starts over. It names the node's address,
    which stands in the server's certificate, and there is one: new keys replace all old ones.
    A client that an older checkout did not know gets its own from the authority that is there.
    """
    keys = directory(settings)
    marker = keys / f"complete-{settings.addresses.node}"
    if marker.exists():
        _add_clients(settings)
        return
    keys.mkdir(parents=True, exist_ok=True)
    keys.chmod(0o700)
    # Those of further nodes are made anew by the authority that comes when they are started.
    for former in (*keys.glob("complete-*"), *keys.glob("kubelet@*.conf")):
        former.unlink()
    authority = _issue("aegis-lab", None, authority=None)
    names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"]
    names += ["kubernetes.default.svc.cluster.local", "localhost"]
    addresses = [settings.addresses.node, settings.addresses.kubernetes_service, "127.0.0.1"]
    server = _issue("kube-apiserver", None, authority, names=[*names, *map(str, addresses)])
    _write(authority_file(settings), authority.certificate_pem())
    _write(keys / "ca.key", authority.key_pem())
    _write(keys / "apiserver.crt", server.certificate_pem())
    _write(keys / "apiserver.key", server.key_pem())
    kubelet_client = _issue("kube-apiserver-kubelet-client", "system:masters", authority)
    _write(keys / "kubelet-client.crt", kubelet_client.certificate_pem())
    _write(keys / "kubelet-client.key", kubelet_client.key_pem())
    signer = _issue("service-accounts", None, authority)
    _write(keys / "service-accounts.crt", signer.certificate_pem())
    _write(keys / "service-accounts.key", signer.key_pem())
    for client, identity in CLIENTS.items():
        _add_client(settings, authority, client, identity)
    marker.touch()


def authority_file(settings: LabSettings) -> Path:
    """Return the file with the certificate of the cluster's authority."""
    return directory(settings) / "ca.crt"


def authority(settings: LabSettings) -> Issued:
    """Read the cluster's authority."""
    keys = directory(settings)
    key = serialization.load_pem_private_key((keys / "ca.key").read_bytes(), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - it is one of ours
    return Issued(x509.load_pem_x509_certificate(authority_file(settings).read_bytes()), key)


def issue_server(settings: LabSettings, common_name: str, names: Sequence[str]) -> Issued:
    """Make a certificate for a server besides the API server.

    Args:
        settings: The lab; it has its keys.
        common_name: What it is called.
        names: The names and addresses by which it is reached.
    """
    return _issue(common_name, None, authority(settings), names)


def add_node(settings: LabSettings, node: Node) -> None:
    """Make the kubeconfig of a further node's kubelet, unless it is there."""
    if not kubeconfig(settings, node.client).exists():
        identity = (f"system:node:{node.name}", "system:nodes")
        _add_client(settings, authority(settings), node.client, identity)


def remove_node(settings: LabSettings, node: Node) -> None:
    """Remove the kubeconfig of a further node's kubelet."""
    kubeconfig(settings, node.client).unlink(missing_ok=True)


def _add_clients(settings: LabSettings) -> None:
    missing = [client for client in CLIENTS if not kubeconfig(settings, client).exists()]
    if not missing:
        return
    signer = authority(settings)
    for client in missing:
        _add_client(settings, signer, client, CLIENTS[client])


def _add_client(
    settings: LabSettings, authority: Issued, client: str, identity: tuple[str, str | None]
) -> None:
    common_name, organisation = identity
    issued = _issue(common_name, organisation, authority)
    text = _kubeconfig(settings, authority, issued, common_name)
    _write(kubeconfig(settings, client), text.encode())


def _issue(
    common_name: str,
    organisation: str | None,
    authority: Issued | None,
    names: Sequence[str] = (),
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    subject = x509.Name(attributes)
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.certificate.subject if authority else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
    )
    if authority is not None:
        uses = [ExtendedKeyUsageOID.SERVER_AUTH if names else ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    if names:
        alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    certificate = builder.sign(authority.key if authority else key, hashes.SHA256())
    return Issued(certificate, key)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _kubeconfig(settings: LabSettings, authority: Issued, client: Issued, user: str) -> str:
    def encode(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    name = "aegis-lab"
    cluster = {
        "server": settings.addresses.api_server,
        "certificate-authority-data": encode(authority.certificate_pem()),
    }
    credentials = {
        "client-certificate-data": encode(client.certificate_pem()),
        "client-key-data": encode(client.key_pem()),
    }
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
            "current-context": name,
        }
    )


def _write(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)
