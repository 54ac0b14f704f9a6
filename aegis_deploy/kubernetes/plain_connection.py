"""Connections by certificates or a token alone, as a kubeconfig has them.

TLS needs no more than them, and the official client takes half a second to import. What runs a
plugin, refreshes a token, goes through a proxy or has anything else in it is that client's
(:mod:`kubernetes.connection`).
"""

from __future__ import annotations

import base64
import ssl
import tempfile
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aegis_deploy.kubernetes import kubeconfig as kubeconfigs

if TYPE_CHECKING:
    from urllib3 import PoolManager


_PLACE = frozenset(
    {
        *("server", "certificate-authority", "certificate-authority-data", "extensions"),
        *("insecure-skip-tls-verify", "tls-server-name"),
    }
)
_USER = frozenset(
    {
        *("client-certificate", "client-certificate-data", "client-key", "client-key-data"),
        "token",
    }
)


def connected(
    document: Mapping[str, Any],
    context: str | None,
    cluster: str | None,
    directory: Path,
    connections: int,
) -> tuple[str, PoolManager, dict[str, str]] | None:
    """Connect by certificates or a token alone; nothing is sent yet.

    Args:
        document: A kubeconfig, the files that it names by their whole paths.
        context: Its context; None means its current one.
        cluster: The name of its cluster; None means the one that the context names.
        directory: Where a key may lie for a moment.
        connections: How many are kept open.

    Returns:
        The server's address, connections, and the headers that say who asks; None where more is
        wanted, or anything is wrong: the official client finds that again, and says it.
    """
    import urllib3

    if urllib.request.getproxies():
        return None
    with suppress(AttributeError, LookupError, OSError, TypeError, ValueError):
        place, user = kubeconfigs.chosen(document, context, cluster)
        known = _PLACE.issuperset(place) and _USER.issuperset(user)
        if not (place["server"] and known and _unambiguous(document)):
            return None
        tls = _tls(place, user, directory)
        pool = urllib3.PoolManager(
            maxsize=connections,
            ssl_context=tls,
            cert_reqs=tls.verify_mode,
            server_hostname=place.get("tls-server-name") or None,
        )
        token = user.get("token")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return str(place["server"]).rstrip("/"), pool, headers
    return None


def _unambiguous(document: Mapping[str, Any]) -> bool:
    """Whether each name that a kubeconfig has is there once."""
    names = [[it["name"] for it in document[key]] for key in ("clusters", "contexts", "users")]
    return all(len(it) == len(set(it)) for it in names)


def _tls(place: Mapping[str, Any], user: Mapping[str, Any], directory: Path) -> ssl.SSLContext:
    """Return what is trusted, and who asks; made once for all connections.

    Raises:
        ValueError: A certificate or a key is none; OSError says so as well.
    """
    from urllib3.util import create_urllib3_context

    context = create_urllib3_context()
    # The standard library takes who asks from files alone. They are their owner's, and go at once.
    with tempfile.TemporaryDirectory(dir=directory) as name:
        there = Path(name)
        authority = _file(place, "certificate-authority", there)
        if authority is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(authority)
        certificate = _file(user, "client-certificate", there)
        if certificate is not None:
            key = _file(user, "client-key", there)
            # Without a password it would ask the terminal for that of a key which has one.
            context.load_cert_chain(certificate, key, password="")
    if place.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _file(entry: Mapping[str, Any], name: str, directory: Path) -> Path | None:
    """Return the file that a kubeconfig names, or one with what it gives itself."""
    given = entry.get(f"{name}-data")
    if not given:
        return Path(entry[name]) if entry.get(name) else None
    made = directory / name
    made.write_bytes(base64.standard_b64decode(given))
    return made
