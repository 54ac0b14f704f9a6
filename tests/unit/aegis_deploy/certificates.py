"""Certificates for tests, each with the key it is made for."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def pair(
    hosts: Sequence[str], *, begins: datetime | None = None, ends: datetime | None = None
) -> tuple[bytes, bytes]:
    """Make a certificate and its key, in PEM.

    Args:
        hosts: The names it is for.
        begins: From when on it is valid; None means a day before now.
        ends: Until when it is valid; None means a year from now.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - timedelta(days=1))
        .not_valid_after(ends or now + timedelta(days=365))
    )
    if hosts:
        names = x509.SubjectAlternativeName([x509.DNSName(it) for it in hosts])
        builder = builder.add_extension(names, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def secret(certificate: bytes, key: bytes, kind: str = "kubernetes.io/tls") -> dict[str, Any]:
    """A Secret with them, as the API server has it."""
    data = {"tls.crt": certificate, "tls.key": key}
    return {
        "type": kind,
        "data": {name: base64.b64encode(it).decode() for name, it in data.items() if it},
    }
