"""Connections to API servers, with the credentials that a kubeconfig or a pod's account has.

Those of certificates or a token are made by :mod:`kubernetes.plain_connection`, all others by the
official client.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis_deploy.common import temp_dir
from aegis_deploy.kubernetes import kubeconfig as kubeconfigs
from aegis_deploy.kubernetes import plain_connection

_CONNECTIONS = 64
"""So many are kept open to a server."""


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
        context: As `client.connect` takes it.
        kubeconfig: Likewise.
        cluster: Likewise.

    Raises:
        ImportError: The official client is wanted and not installed.
        Exception: There is no usable kubeconfig.
    """
    found = kubeconfigs.alone(kubeconfig)
    made = found and plain_connection.connected(
        found, context, cluster, temp_dir.directory(), _CONNECTIONS
    )
    if not made:
        return _official(context, kubeconfig, cluster)
    host, pool, headers = made
    return Connection(
        host, pool, lambda: headers, lambda: _configuration(context, kubeconfig, cluster)
    )


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
