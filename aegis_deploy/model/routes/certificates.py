"""Whether a Secret holds a certificate that a host can be served with. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

TYPE = "kubernetes.io/tls"
_CERTIFICATE, _KEY = "tls.crt", "tls.key"
SOON = timedelta(days=14)
"""How long before its end a certificate is warned of."""


@dataclass(frozen=True)
class Judged:
    """What is to be said of a certificate.

    Attributes:
        fault: Why it does not do; empty when it does.
        warning: What will soon be wrong with it; empty for nothing.
    """

    fault: str = ""
    warning: str = ""


def judge(secret: Mapping[str, Any], host: str, now: datetime) -> Judged:
    """Judge a Secret's certificate.

    Args:
        secret: The Secret, as the API server has it.
        host: The host name that it is for; empty for any.
        now: The time, with its zone.
    """
    try:
        leaf = _leaf(secret)
    except ValueError as error:
        return Judged(str(error))
    names = _names(leaf)
    if host and not any(_is_for(name, host) for name in names):
        return Judged(f"has a certificate for {', '.join(names) or 'no host'}, not for {host}")
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if begin > now:
        return Judged(f"has a certificate that is valid from {begin:%Y-%m-%d}")
    if end <= now:
        return Judged(f"has a certificate that expired on {end:%Y-%m-%d}")
    soon = end <= now + SOON
    return Judged(warning=f"has a certificate that expires on {end:%Y-%m-%d}" if soon else "")


def _leaf(secret: Mapping[str, Any]) -> Certificate:
    """Read a server's own certificate.

    Raises:
        ValueError: There is none with its key; the message is worded to follow the Secret's name.
    """
    from cryptography import x509

    if secret.get("type") != TYPE:
        raise ValueError(f"is of type {secret.get('type') or 'Opaque'}, and {TYPE} is needed")
    data = secret.get("data") or {}
    missing = [it for it in (_CERTIFICATE, _KEY) if not data.get(it)]
    if missing:
        raise ValueError(f"has no {' and no '.join(missing)}")
    try:
        # The first one is the server's own; those after it lead to its authority.
        leaf = x509.load_pem_x509_certificates(base64.b64decode(data[_CERTIFICATE]))[0]
    except ValueError as error:
        raise ValueError(f"has a {_CERTIFICATE} that is no certificate in PEM") from error
    if not _is_its_key(leaf, data[_KEY]):
        raise ValueError(f"has a {_KEY} that is not the key of its {_CERTIFICATE}")
    return leaf


def _is_for(name: str, host: str) -> bool:
    """Whether a certificate's name is a host's; a wildcard is of one label (RFC 6125, 6.4.3)."""
    name, host = name.lower(), host.lower()
    return name == host or (name.startswith("*.") and name[2:] == host.partition(".")[2])


def _names(certificate: Certificate) -> list[str]:
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(it) for it in found.value.get_values_for_type(x509.DNSName)]


def _is_its_key(certificate: Certificate, encoded: str) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(base64.b64decode(encoded), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return False
    return key.public_key() == certificate.public_key()
