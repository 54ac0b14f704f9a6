"""Connecting to an API server, by certificates or a token alone where a kubeconfig has only them.

All else is loaded by the official Python client. Of that only the configuration and the connection
pool are imported: the package itself imports its informers, streams and generated interfaces, which
take three quarters of the time, and the engine waits for it before it reads the first object.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aegis_deploy.kubernetes import plain_connection
from lab.plugins.kubernetes.kubeconfig import Kubeconfig
from lab.plugins.light import bare

_PACKAGES = ("kubernetes", "kubernetes.client")


class Connection:
    """A pool of connections to one API server."""

    def __init__(
        self,
        host: str,
        pool: Any,  # noqa: ANN401 - urllib3's
        authorization: Callable[[], Mapping[str, str]],
    ) -> None:
        """Take what was made; nothing is sent yet.

        Args:
            host: The server's address.
            pool: Its connections.
            authorization: Returns the headers that say who asks.
        """
        self._host, self._pool, self._authorization = host, pool, authorization

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes | None,
        seconds: tuple[float, float],
    ) -> Any:  # noqa: ANN401 - urllib3's response
        """Send a request; the answer's body is still to be read.

        Args:
            method: GET, POST and so on.
            path: The path, encoded.
            query: The query.
            headers: The headers, without those that authenticate.
            body: The body.
            seconds: How long connecting, and each part of the answer, may take.
        """
        import urllib3

        asked = f"?{urlencode(query, quote_via=quote)}" if query else ""
        return self._pool.request(
            method,
            f"{self._host}{path}{asked}",
            body=body,
            headers={**self._authorization(), **headers},
            timeout=urllib3.Timeout(connect=seconds[0], read=seconds[1]),
            retries=False,
            preload_content=False,
        )


def connect(config: Kubeconfig, credentials: str, connections: int) -> Connection:
    """Connect as a kubeconfig says.

    Args:
        config: The kubeconfig.
        credentials: The directory for keys and certificates.
        connections: How many connections are kept.

    Raises:
        ValueError: It cannot be used; so says OSError.
    """
    plain = plain_connection.connected(
        config.document, config.context, None, Path(credentials), connections
    )
    if plain is not None:
        host, pool, headers = plain
        return Connection(host, pool, lambda: headers)
    with _light() as (configuration, rest):
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.kube_config import load_kube_config_from_dict

    configuration.connection_pool_maxsize = connections
    try:
        load_kube_config_from_dict(
            config.document,
            context=config.context,
            client_configuration=configuration,
            persist_config=False,
            temp_file_path=credentials,
        )
    except ConfigException as error:
        raise ValueError(str(error)) from error
    return _official(configuration, rest)


def connect_inside(connections: int) -> Connection:
    """Connect with the account of the pod that this runs in.

    Args:
        connections: How many connections are kept.

    Raises:
        ValueError: This is no pod.
    """
    with _light() as (configuration, rest):
        from kubernetes.config.config_exception import ConfigException
        from kubernetes.config.incluster_config import load_incluster_config

    configuration.connection_pool_maxsize = connections
    try:
        load_incluster_config(client_configuration=configuration)
    except ConfigException as error:
        raise ValueError(str(error)) from error
    return _official(configuration, rest)


def _official(configuration: Any, rest: Any) -> Connection:  # noqa: ANN401 - the client's
    def authorization() -> Mapping[str, str]:
        setting = configuration.auth_settings().get("BearerToken")
        return {setting["key"]: setting["value"]} if setting else {}

    pool = rest.RESTClientObject(configuration).pool_manager
    return Connection(configuration.host, pool, authorization)


@contextlib.contextmanager
def _light() -> Iterator[tuple[Any, Any]]:
    """Import from the client without what its packages import; yields configuration and rest."""
    if "kubernetes" in sys.modules:
        from kubernetes.client import Configuration, rest

        yield Configuration(), rest
        return
    with bare(_PACKAGES, "the Kubernetes client is not installed"):
        from kubernetes.client import rest
        from kubernetes.client.configuration import Configuration

        client: Any = sys.modules["kubernetes.client"]
        client.Configuration = Configuration
        client.ApiClient = None  # Only what makes a client of its own needs it.
        yield Configuration(), rest
