"""Where the Docker daemon is, and whether anything answers there."""

from __future__ import annotations

import contextlib
import os
import socket
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
_CONNECT_SECONDS: Final = 3.0
_UNSUPPORTED: Final = ("caMaterial", "certMaterial", "keyMaterial")


class Unsupported(Exception):  # noqa: N818
    """The provider's configuration asks for something this stand-in does not have."""


@dataclass(frozen=True)
class Daemon:
    """A Docker daemon's address, and the directory of its client certificates or ""."""

    host: str
    cert_path: str = ""


def configured(config: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> Daemon:
    """Return the daemon that the stack's configuration names, else the environment.

    Args:
        config: The provider's configuration, without its prefix.
        environment: Where DOCKER_HOST and DOCKER_CERT_PATH are looked up.

    Raises:
        Unsupported: Certificates are given as text.
    """
    for key in _UNSUPPORTED:
        if config.get(key):
            raise Unsupported(
                f"docker:{key} is set, and the lab's stand-in for the Docker plugin reads "
                "certificates from files only.\nSet docker:certPath to a directory with ca.pem, "
                "cert.pem and key.pem, or use the official plugin"
            )
    return Daemon(
        host=config.get("host") or environment.get("DOCKER_HOST") or DEFAULT_HOST,
        cert_path=config.get("certPath") or environment.get("DOCKER_CERT_PATH", ""),
    )


def unreachable(daemon: Daemon) -> str | None:
    """Say why a daemon cannot be connected to; None when it can, or when only trying will tell."""
    parts = urllib.parse.urlsplit(daemon.host)
    try:
        with contextlib.ExitStack() as stack:
            if parts.scheme == "unix":
                connection = stack.enter_context(socket.socket(socket.AF_UNIX))
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(parts.path)
            elif parts.scheme in ("tcp", "http", "https") and parts.hostname:
                port = parts.port or 2375
                address = (parts.hostname, port)
                stack.enter_context(socket.create_connection(address, _CONNECT_SECONDS))
    except OSError as error:
        return error.strerror or str(error)
    return None
