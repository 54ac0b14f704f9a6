"""Asking a registry that wants to know who asks, with the credentials that the Docker CLI has.

A registry answers 401 and says where a token is to be had, for whom and for what
(https://distribution.github.io/distribution/spec/auth/token/); or it takes a password itself.
Credentials are where the Docker CLI keeps them: in its configuration, or with a helper that this
names (https://docs.docker.com/reference/cli/docker/login/). They are sent over TLS alone, or within
this machine, and to nobody but the registry and the place that it names for its tokens.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

HUB = "docker.io"
_HUB_API = f"registry-1.{HUB}"
_HUBS = {HUB, _HUB_API, f"index.{HUB}"}
_HUB_KEY = f"https://index.{HUB}/v1/"
"""By which the Docker CLI keeps the credentials of its own registry."""
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper calls a user who has a token alone
_HELPER_SECONDS = 10.0
_PAIR = re.compile(r'(\w+)="([^"]*)"')
_LOCAL = ("localhost", "127.0.0.1", "::1")

Ask = Callable[[str, Mapping[str, str], bytes | None], bytes]
"""Sends a GET, or a POST of what is given, and returns the body; OSError when there is none."""


@dataclass(frozen=True)
class Login:
    """Who asks.

    Attributes:
        name: The user's name.
        secret: The password.
        token: A token that stands for both.
    """

    name: str = ""
    secret: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """Both, as a header has them."""
        return "Basic " + base64.b64encode(f"{self.name}:{self.secret}".encode()).decode()


def api_host(host: str) -> str:
    """Return where a registry is asked: Docker's own answers by another name than it is called."""
    return _HUB_API if host == HUB else host


def login(host: str, environment: Mapping[str, str] = os.environ) -> Login | None:
    """Find the credentials for a registry; None when there are none.

    Args:
        host: The registry, with its port.
        environment: Says where the Docker CLI's configuration is.
    """
    home = environment.get("HOME") or str(Path.home())
    place = Path(environment.get("DOCKER_CONFIG") or f"{home}/.docker") / "config.json"
    try:
        config = json.loads(place.read_text())
        names = [_HUB_KEY, *_HUBS] if host in _HUBS else [host, f"https://{host}", f"http://{host}"]
        helpers = config.get("credHelpers") or {}
        helper = next((helpers[it] for it in names if it in helpers), config.get("credsStore"))
        found = _of_helper(str(helper), names, environment) if helper else None
        return found or _of_config(config.get("auths") or {}, names)
    except (OSError, ValueError, AttributeError, TypeError):
        return None  # None that can be read; the registry then says what it wants.


def _of_helper(helper: str, names: list[str], environment: Mapping[str, str]) -> Login | None:
    for name in names:
        with suppress(OSError, ValueError, KeyError, subprocess.SubprocessError):
            done = subprocess.run(
                [f"docker-credential-{helper}", "get"],
                input=name,
                capture_output=True,
                text=True,
                timeout=_HELPER_SECONDS,
                check=True,
                env=dict(environment),
            )
            said = json.loads(done.stdout)
            if said["Username"] == _TOKEN_USER:
                return Login(token=str(said["Secret"]))
            return Login(str(said["Username"]), str(said["Secret"]))
    return None


def _of_config(kept: Mapping[str, Any], names: list[str]) -> Login | None:
    hosts = {_host(it): it for it in kept}
    for name in names:
        entry = kept.get(name) or kept.get(hosts.get(_host(name), "")) or {}
        if entry.get("identitytoken"):
            return Login(token=str(entry["identitytoken"]))
        if entry.get("auth"):
            user, colon, secret = base64.b64decode(entry["auth"]).decode().partition(":")
            return Login(user, secret.rstrip("\0")) if colon else None
        if entry.get("username"):
            return Login(str(entry["username"]), str(entry.get("password") or ""))
    return None


def _host(key: str) -> str:
    return urlsplit(key if "://" in key else f"//{key}").netloc


def authorization(url: str, challenge: str, ask: Ask, who: Login | None) -> str | None:
    """Return the header by which a registry lets somebody in; None when there is none to be had.

    Args:
        url: What was asked for.
        challenge: What the registry said in ``WWW-Authenticate``.
        ask: Sends a request.
        who: Who asks; None for anybody, whom many registries let read.

    Raises:
        OSError: The place that gives tokens does not answer.
    """
    kind, _, rest = challenge.strip().partition(" ")
    who = who if _is_private(url) else None
    if kind.lower() == "basic":
        return who.basic if who is not None and who.name else None
    said = dict(_PAIR.findall(rest))
    realm = said.pop("realm", "")
    if kind.lower() != "bearer" or urlsplit(realm).scheme not in ("http", "https"):
        return None
    who = who if _is_private(realm) else None
    wanted = {name: said[name] for name in ("service", "scope") if said.get(name)}
    try:
        answer = json.loads(_token(realm, wanted, ask, who))
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError):
        return None
    return f"Bearer {token}" if token else None


def _token(realm: str, wanted: Mapping[str, str], ask: Ask, who: Login | None) -> bytes:
    if who is not None and who.token:
        form = {"grant_type": "refresh_token", "refresh_token": who.token, "client_id": "aegis"}
        return ask(realm, {}, urlencode({**wanted, **form}).encode())
    headers = {} if who is None else {"Authorization": who.basic}
    joined = "&" if urlsplit(realm).query else "?"
    return ask(f"{realm}{joined}{urlencode(wanted)}", headers, None)


def _is_private(url: str) -> bool:
    """Whether nobody on the way reads what is sent there."""
    parts = urlsplit(url)
    return parts.scheme == "https" or parts.hostname in _LOCAL
