"""Connections to API servers, with the credentials that a kubeconfig or a pod's account has.

Where a kubeconfig has certificates or a token, TLS needs no more than them. What runs a plugin,
refreshes a token, goes through a proxy or has anything else in it is the official client's, whose
import takes half a second: with all that it does for itself, it is not wanted for the rest.
"""

from __future__ import annotations

import base64
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aegis_deploy.common import temp_dir
from aegis_deploy.kubernetes import kubeconfig as kubeconfigs

_CONNECTIONS = 64
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


@dataclass(frozen=True)
class Connection:
    """A way to one API server.

    Attributes:
        host: The server's address.
        pool: Its connections, urllib3's.
        authorization: Returns the headers that say who asks, with a fresh token.
        configuration: Returns the official client's own settings, for what only that can do.
    """

    host: str
    pool: Any
    authorization: Callable[[], Mapping[str, str]]
    configuration: Callable[[], Any]

    def websocket(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:  # noqa: ANN401
        """Open a connection that both sides write to; its library's own errors may come of it.

        Args:
            path: The subresource's.
            query: What it is asked.
            headers: What is sent with it.
        """
        from kubernetes.stream import ws_client

        address = ws_client.get_websocket_url(self.host + path, list(query.items()))
        return ws_client.create_websocket(self.configuration(), address, dict(headers))


def connected(context: str | None, kubeconfig: str | None, cluster: str | None) -> Connection:
    """Make a connection; nothing is sent yet.

    Args:
        context: The kubeconfig's context; None means its current one.
        kubeconfig: A kubeconfig or its path; None means ``KUBECONFIG``, the home directory's, or
            the account of the pod this runs in.
        cluster: The name of the kubeconfig's cluster; None means the one that the context names.

    Raises:
        ImportError: The official client is wanted and not installed.
        Exception: There is no usable kubeconfig.
    """
    plain = _plain(context, kubeconfig, cluster)
    return _official(context, kubeconfig, cluster) if plain is None else plain


def _official(context: str | None, kubeconfig: str | None, cluster: str | None) -> Connection:
    """Have the official client connect."""
    from kubernetes import client

    settings = _configuration(context, kubeconfig, cluster)
    api = client.ApiClient(settings)

    def authorization() -> Mapping[str, str]:
        headers: dict[str, str] = {}
        api.update_params_for_auth(headers, [], ["BearerToken"], "", "GET", None)
        return headers

    pool = api.rest_client.pool_manager
    return Connection(str(settings.host), pool, authorization, lambda: settings)


def _configuration(context: str | None, kubeconfig: str | None, cluster: str | None) -> Any:  # noqa: ANN401
    """Have the official client read a kubeconfig, or the account of the pod this runs in."""
    from kubernetes import client, config

    settings = client.Configuration()
    settings.retries = False
    settings.connection_pool_maxsize = _CONNECTIONS
    found = kubeconfigs.merged(kubeconfig, required=bool(kubeconfig or context or cluster))
    if found is None:
        config.load_incluster_config(client_configuration=settings)
        return settings
    if cluster:
        kubeconfigs.redirect(found, context, cluster)
    config.load_kube_config_from_dict(
        found,
        context=context,
        client_configuration=settings,
        temp_file_path=str(temp_dir.directory()),
    )
    return settings


def _plain(context: str | None, kubeconfig: str | None, cluster: str | None) -> Connection | None:
    """Connect by certificates or a token alone; None where more is wanted, or anything is wrong.

    What is wrong is found again by the official client, which says it.
    """
    import urllib3

    with suppress(AttributeError, LookupError, OSError, TypeError, ValueError):
        found = None if urllib.request.getproxies() else kubeconfigs.alone(kubeconfig)
        if found is None or not _unambiguous(found):
            return None
        place, user = kubeconfigs.chosen(found, context, cluster)
        if not (place["server"] and _PLACE.issuperset(place) and _USER.issuperset(user)):
            return None
        token = user.get("token")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        tls = _tls(place, user)
        return Connection(
            str(place["server"]).rstrip("/"),
            urllib3.PoolManager(
                maxsize=_CONNECTIONS,
                ssl_context=tls,
                cert_reqs=tls.verify_mode,
                server_hostname=place.get("tls-server-name") or None,
            ),
            lambda: headers,
            lambda: _configuration(context, kubeconfig, cluster),
        )
    return None


def _unambiguous(document: Mapping[str, Any]) -> bool:
    """Whether each name that a kubeconfig has is there once."""
    names = [[it["name"] for it in document[key]] for key in ("clusters", "contexts", "users")]
    return all(len(it) == len(set(it)) for it in names)


def _tls(place: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    """Return what is trusted, and who asks; made once for all connections.

    Raises:
        ValueError: A certificate or a key is none; OSError says so as well.
    """
    from urllib3.util import create_urllib3_context

    context = create_urllib3_context()
    # The standard library takes who asks from files alone. They are their owner's, and go at once.
    with temp_dir.temporary() as directory:
        authority = _file(place, "certificate-authority", directory)
        if authority is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(authority)
        certificate = _file(user, "client-certificate", directory)
        if certificate is not None:
            key = _file(user, "client-key", directory)
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
