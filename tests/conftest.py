"""Which tests run: the end-to-end ones need the lab, and who lacks it is told so once."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator

import hypothesis
import pytest

from lab import lifecycle, settings, stacks
from lab.errors import LabError
from lab.settings import LabSettings
from tests import lab_use, order, progress, pulumi_plugins
from tests.pulumi_plugins import pytest_addoption, pytest_report_header

__all__ = ["pytest_addoption", "pytest_report_header"]

# What failed is told last, below the tables of coverage.
pytest_plugins = [
    "tests.coverage_of_subprocesses",
    "tests.evidence.plugin",
    "tests.processor_time",
]

# pytest rewrites each file of tests before it runs it. Where Python may not write bytecode, as in
# many images, each worker of each run did that anew: ten seconds of processor for each of them.
sys.dont_write_bytecode = False

# How quick an example is says something of the machine, nothing of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

_lab = pytest.StashKey[LabSettings | None]()
_left_out = pytest.StashKey[list[str]]()
_why = pytest.StashKey[str]()


def _find_lab() -> tuple[LabSettings | None, bool, str]:
    """Return the lab, whether it is up, and why it cannot be used."""
    try:
        found = settings.load(os.environ, order.ROOT)
    except LabError as error:
        return None, False, str(error.what)
    up = lifecycle.is_up(found)
    return found, up, "" if up else "the lab is not up; `make up` starts it"


def pytest_configure(config: pytest.Config) -> None:
    """Give tests on a lab that is up its environment, as `make test` does."""
    found, up, config.stash[_why] = _find_lab()
    config.stash[_lab] = found if up else None
    config.stash[_left_out] = []
    if found is not None:
        pulumi_plugins.choose(config, found, is_up=up)
    if found is not None and up:
        os.environ.update(stacks.environment(found))
    config.pluginmanager.register(order, "order of the tests")
    _follow(config)


def _follow(config: pytest.Config) -> None:
    """Have workers of a parallel run say what they are at, and groups use the lab as they may."""
    tell = _nobody_asks
    place = progress.place_of_run(os.environ)
    worker = getattr(config, "workerinput", None)
    if worker is not None and place is not None:
        notes = progress.Worker(place, str(worker["workerid"]))
        config.pluginmanager.register(notes, "progress of this worker")
        tell = notes.uses
    elif worker is None and config.getoption("numprocesses", None):
        printer = progress.Printer(progress.begin_run())
        config.pluginmanager.register(printer, "progress of the run")
    lab = config.stash[_lab]
    if lab is not None:
        use = lab_use.LabUse(lab_use.lock_file(lab))
        config.pluginmanager.register(lab_use.Plugin(use, tell), "use of the lab")


def _nobody_asks(group: str, waits: bool) -> None:
    """Without other workers there is nothing to tell."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark the tests by their directory, and skip those that need a lab when there is none."""
    for item in items:
        kind = order.kind_of(item.path)
        if kind in ("integration", "e2e"):
            item.add_marker(kind)
        if kind == "e2e" and config.stash[_lab] is None:
            item.add_marker(pytest.mark.skip(reason=config.stash[_why]))
            config.stash[_left_out].append(item.nodeid)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while tests are collected, a sixth of that time, nor among them later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which end-to-end tests were left out and why."""
    config = terminalreporter.config
    left_out = config.stash[_left_out]
    if left_out:
        terminalreporter.section("end-to-end tests left out")
        terminalreporter.line(f"{len(left_out)} tests: {config.stash[_why]}")
        for node in left_out:
            terminalreporter.line(f"  {node}")
