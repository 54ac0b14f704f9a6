"""Pulumi's packages in a virtual environment, and the provider that each of them needs.

Each has a ``pulumi-plugin.json`` that names it (Pulumi's language hosts read the same).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SdkPlugin:
    """A provider that an installed package needs.

    Attributes:
        name: Its name, such as "kubernetes".
        version: Its exact version, without the leading v.
        server: Where it is downloaded from, "" for the default.
        parameterized: Whether the package is made from a provider that is given a parameter.
    """

    name: str
    version: str
    server: str = ""
    parameterized: bool = False


def required_plugins(virtualenv: Path) -> list[SdkPlugin]:
    """Return the providers that the packages in a virtual environment need."""
    found = map(_plugin, sorted(virtualenv.glob("lib/python*/site-packages/*/pulumi-plugin.json")))
    return [it for it in found if it is not None]


def _plugin(manifest: Path) -> SdkPlugin | None:
    try:
        content: dict[str, Any] = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return None
    if not content.get("resource") or not content.get("name"):
        return None
    return SdkPlugin(
        name=str(content["name"]),
        version=str(content.get("version", "")).removeprefix("v"),
        server=str(content.get("server", "")),
        parameterized=bool(content.get("parameterization")),
    )
