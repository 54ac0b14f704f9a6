"""Decides what is downloaded, what is built and what is stood in for when a lab is brought up.

Official releases come first: what the lab lacks is downloaded where the network allows it. What it
has stays, so that a lab that runs asks nobody; `plugins=official` and `tools=official` ask again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from lab import ingress, plugin_cache, releases
from lab.choices import Plugins, Tools
from lab.download import Refusal
from lab.errors import EXIT_REFUSED, LabError
from lab.plugin_cache import Plugin
from lab.releases import Release
from lab.settings import LabSettings
from lab.toolchain import COREDNS, KUBE, POLICIES, PULUMI, STORAGE, Tool, Toolchain

_RELEASES = {PULUMI: releases.PULUMI, KUBE: releases.KUBERNETES, COREDNS: releases.COREDNS}
"""Tool -> the release that makes its build unnecessary."""
_OF_PLUGINS = (releases.PULUMI, *releases.OF_PROVIDERS.values())
"""What has each plugin, in the order of `plugin_cache.find`."""


@dataclass(frozen=True)
class Choices:
    """What somebody asked for; None where they left it to the lab.

    Attributes:
        plugins: Which of Pulumi's plugins.
        tools: Where the tools come from.
    """

    plugins: Plugins | None = None
    tools: Tools | None = None

    @property
    def stand_ins(self) -> bool:
        """Whether stand-ins are to be taken whatever else is there."""
        return self.plugins is Plugins.STAND_IN

    @property
    def builds(self) -> bool:
        """Whether the tools are to be built here."""
        return self.tools is Tools.BUILD


def wanted(settings: LabSettings, choices: Choices) -> list[Release]:
    """Return the releases to ask the sites for.

    Args:
        settings: The lab.
        choices: What was asked for.
    """
    asked = {*_for_tools(settings, choices), *_for_plugins(settings, choices)}
    return [it for it in releases.ALL if it in asked and not releases.is_there(settings, it)]


def _for_tools(settings: LabSettings, choices: Choices) -> Iterable[Release]:
    if choices.builds:
        return
    toolchain = Toolchain(settings)
    for tool, release in _RELEASES.items():
        lacks = choices.tools is Tools.OFFICIAL or not toolchain.is_built(tool)
        if lacks and not _is_theirs(settings, tool):
            yield release


def _is_theirs(settings: LabSettings, tool: Tool) -> bool:
    """Return whether a person has it on PATH: a CLI that fits."""
    path = plugin_cache.outer_path(settings)
    return tool is PULUMI and plugin_cache.find_cli(path) is not None


def _for_plugins(settings: LabSettings, choices: Choices) -> Iterable[Release]:
    """Return what has the plugins that are neither official nor, unless asked for, stood in for."""
    if choices.plugins not in (None, Plugins.OFFICIAL):
        return
    for plugin, release in zip(plugin_cache.find(settings), _OF_PLUGINS, strict=True):
        stands = choices.plugins is None and plugin.path.exists()
        if not plugin.official and not stands:
            yield release


def to_build(settings: LabSettings, choices: Choices, coming: Collection[Release]) -> list[Tool]:
    """Return the tools that have to be built.

    Args:
        settings: The lab.
        choices: What was asked for.
        coming: Releases that are being downloaded.
    """
    toolchain = Toolchain(settings)

    def is_had(tool: Tool) -> bool:
        release = _RELEASES.get(tool)
        if release is None or choices.builds:
            return False
        there = release in coming or releases.is_there(settings, release)
        return there or _is_theirs(settings, tool)

    return [
        tool
        for tool in (PULUMI, KUBE, COREDNS, STORAGE, POLICIES, *ingress.tools(settings))
        if not toolchain.is_built(tool) and not is_had(tool)
    ]


def require_had(
    choices: Choices, refusals: Sequence[Refusal], state: str = "nothing was changed"
) -> None:
    """Check that nothing is missing that was asked for by name.

    Args:
        choices: What was asked for.
        refusals: What cannot be had.
        state: What state the lab is in now.

    Raises:
        LabError: Something is; the message says what, and how to go on without.
    """
    providers = set(releases.OF_PROVIDERS.values())
    asked = {
        **({"plugins": providers} if choices.plugins is Plugins.OFFICIAL else {}),
        **({"tools": set(_RELEASES.values())} if choices.tools is Tools.OFFICIAL else {}),
    }
    for key, those in asked.items():
        if missing := [it for it in refusals if it.release in those]:
            raise LabError(
                what=f"{key}=official was asked for, and "
                f"{', '.join(it.release.name for it in missing)} cannot be downloaded",
                why="\n".join(dict.fromkeys(it.why for it in missing)),
                state=state,
                next=f"mend the way to there, or leave out {key}=: "
                + ("the lab then uses stand-ins" if key == "plugins" else "the lab then builds"),
                code=EXIT_REFUSED,
            )


def instead(
    refusals: Sequence[Refusal], building: Sequence[Tool], plugins: Sequence[Plugin]
) -> str:
    """Return the one line that says what is done without official releases, and why.

    Args:
        refusals: What cannot be had.
        building: The tools that are built.
        plugins: Which plugins are taken.
    """
    refused = {it.release for it in refusals}
    built = [tool.name for tool in building if _RELEASES.get(tool) in refused]
    pairs = zip(plugins, _OF_PLUGINS, strict=True)
    stood_in = [it.name for it, release in pairs if release in refused and not it.official]
    done = [f"building {', '.join(built)}"] if built else []
    done += [f"stand-ins for {', '.join(stood_in)}"] if stood_in else []
    why = "; ".join(dict.fromkeys(it.why for it in refusals))
    return f"Official releases cannot be had ({why}): {'; '.join(done) or 'not needed'}."
