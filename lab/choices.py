"""What may be typed after `plugins=`, `tools=` and `ingress=`; other modules say what follows."""

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


class Ingress(StrEnum):
    """Who lets requests in from outside the cluster."""

    CONTOUR = "contour"
    NONE = "none"


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
_INGRESS: Mapping[str, str] = {
    Ingress.CONTOUR: "Contour with Envoy, for Ingress and Gateway API",
    Ingress.NONE: "takes away the one that is there",
}
_OFFICIAL_FIRST = "official where it can be had"


def plugins(text: str | None) -> Plugins | None:
    """Read what was typed after `plugins=`.

    Args:
        text: That; None when it was left out.

    Raises:
        LabError: It is nothing that can be asked for.
    """
    return None if text is None else Plugins(_known("plugins", text, _PLUGINS, _OFFICIAL_FIRST))


def tools(text: str | None) -> Tools | None:
    """Read what was typed after `tools=`.

    Args:
        text: That; None when it was left out.

    Raises:
        LabError: It is nothing that can be asked for.
    """
    return None if text is None else Tools(_known("tools", text, _TOOLS, _OFFICIAL_FIRST))


def ingress(text: str | None, given: str) -> Ingress | None:
    """Read what ingress controller a lab is to have; None where nobody says it.

    Args:
        text: What was given.
        given: What it was given by, for the error.

    Raises:
        LabError: It is none that can be asked for.
    """
    return None if text is None else Ingress(_known(given, text, _INGRESS, "as it is now"))


def _known(key: str, text: str, meanings: Mapping[str, str], left_out: str) -> str:
    if text in meanings:
        return text
    raise LabError(
        what=f"{key}={text} cannot be used",
        why="known are " + "; ".join(f"{key}={it} ({does})" for it, does in meanings.items()),
        next=f"type {' or '.join(f'{key}={it}' for it in meanings)}, or leave it out: {left_out}",
        code=EXIT_USAGE,
    )
