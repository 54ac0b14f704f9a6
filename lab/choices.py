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


_MEANINGS: Mapping[StrEnum, str] = {
    Plugins.OFFICIAL: "refused when no official one is there",
    Plugins.FOUND: "official ones where they are, else the lab's stand-ins; downloads none",
    Plugins.STAND_IN: "the lab's stand-ins alone",
    Tools.OFFICIAL: "refused when the release sites cannot be reached",
    Tools.BUILD: "built here from their sources",
}


def plugins(text: str | None) -> Plugins | None:
    """Read what was typed after `plugins=`.

    Args:
        text: That; None when it was left out.

    Raises:
        LabError: It is nothing that can be asked for.
    """
    return None if text is None else Plugins(_known("plugins", text, list(Plugins)))


def tools(text: str | None) -> Tools | None:
    """Read what was typed after `tools=`.

    Args:
        text: That; None when it was left out.

    Raises:
        LabError: It is nothing that can be asked for.
    """
    return None if text is None else Tools(_known("tools", text, list(Tools)))


def _known(key: str, text: str, choices: list[Plugins] | list[Tools]) -> str:
    if text in [str(choice) for choice in choices]:
        return text
    raise LabError(
        what=f"{key}={text} cannot be used",
        why="known are " + "; ".join(f"{key}={choice} ({_MEANINGS[choice]})" for choice in choices),
        next=f"type {' or '.join(f'{key}={choice}' for choice in choices)}, or leave it out: "
        "official where it can be had",
        code=EXIT_USAGE,
    )
