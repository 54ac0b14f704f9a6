"""Which of Pulumi's plugins a run of the tests is on: said first, and refused when not as asked.

The lab runs official plugins wherever they are, so a green run tells of them only if it says so.
`make test plugins=official` looks for them before anything is started, brings the lab up with
those that are there and hands the choice on to pytest, where it is held against what the lab really
runs. One that is missing has its stand-in, and the first line names it; without any it is refused.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from lab import choices, plugin_cache
from lab.choices import Plugins
from lab.errors import LabError
from lab.plugin_cache import Plugin
from lab.settings import LabSettings

_plugins = pytest.StashKey[Sequence[Plugin]]()
OPTION = "pulumi_plugins"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--plugins`, as `make test plugins=official` gives it."""
    parser.addoption(
        "--plugins",
        dest=OPTION,  # `plugins` is what pytest calls its own.
        default=None,
        help="found, as without: whatever the lab runs; official: refuse to run on stand-ins of "
        "what is there officially, or on nothing else; standin: refuse to run on official ones",
    )


def choose(config: pytest.Config, lab: LabSettings, *, is_up: bool) -> None:
    """Look at the plugins before any test runs, and end the run when they are not as asked.

    Args:
        config: Whose option says what is asked for, and where the answer is kept.
        lab: The lab, up or not.
        is_up: Whether it is up; if it is not, the integration tests take the language host that
            is found.
    """
    try:
        asked = choices.plugins(config.getoption(OPTION))
        plugins = plugin_cache.in_use(lab) if is_up else plugin_cache.find(lab)
        config.stash[_plugins] = plugins
        if asked is Plugins.OFFICIAL and is_up:
            plugin_cache.require_brought_up(lab)
        if asked is Plugins.OFFICIAL:
            plugin_cache.require_official(plugins)
        if asked is Plugins.STAND_IN:
            plugin_cache.require_stand_ins(plugins)
    except LabError as error:
        pytest.exit(f"\n{error}", returncode=error.code)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say it where pytest says which Python it runs on."""
    return plugin_cache.said(config.stash[_plugins]) if _plugins in config.stash else []


def outlive_their_engine(lab: LabSettings) -> bool:
    """Return whether plugins of the lab stay when their engine is killed, for minutes.

    The official providers look every five minutes whether it lives; the stand-ins end with it.
    """
    return any(plugin.official for plugin in plugin_cache.in_use(lab)[1:])


def named(words: Sequence[str], program: str, module: str) -> bool:
    """Return whether a command line is that of a plugin, official or stand-in.

    Args:
        words: The command line.
        program: The official program's name.
        module: The stand-in's module.
    """
    return module in words or any(os.path.basename(word) == program for word in words)  # noqa: PTH119
