"""What may be typed after `plugins=` and `tools=`; `lab.official` says what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from lab.errors import EXIT_USAGE, LabError


class Plugins(StrEnum):
    """Which of Pulumi's plugins the lab runs."""

    OFFICIAL = "official"
    FOUND = "found"
    STAND_IN = "standin"


class Tools(StrEnum):
    """Where the programs come from that the lab runs: Pulumi's CLI, Kubernetes, CoreDNS."""

    OFFICIAL = "official"
    BUILD = "build"


# One table each: two words of the same letters are the same key.
_PLUGINS: Mapping[str, str] = {
    Plugins.OFFICIAL: "refused when no official one is there",
    Plugins.FOUND: "official ones where they are, else the lab's stand-ins, and downloads none",
    Plugins.STAND_IN: "the lab's stand-ins alone",
}
_TOOLS: Mapping[str, str] = {
    Tools.OFFICIAL: "refused when they cannot be downloaded",
    Tools.BUILD: "built here from their sources",
}


def plugins(text: str | None) -> Plugins | None:
    """Read what was typed after `plugins=`.

    Args:
        text: That; None when it was left out.

    Raises:
        LabError: It is nothing that can be asked for.
    """
    return None if text is None else Plugins(_known("plugins", text, _PLUGINS))


def tools(text: str | None) -> Tools | None:
    """Read what was typed after `tools=`.

    Args:
        text: That; None when it was left out.

    Raises:
        LabError: It is nothing that can be asked for.
    """
    return None if text is None else Tools(_known("tools", text, _TOOLS))


def _known(key: str, text: str, meanings: Mapping[str, str]) -> str:
    if text in meanings:
        return text
    raise LabError(
        what=f"{key}={text} cannot be used",
        why="known are " + "; ".join(f"{key}={it} ({does})" for it, does in meanings.items()),
        next=f"type {' or '.join(f'{key}={it}' for it in meanings)}, or leave it out: "
        "official where it can be had",
        code=EXIT_USAGE,
    )
