"""Whoever fails leaves what is needed to know why, in one folder a run.

A plugin of pytest. The worker that ran a test collects for it; the main process says where, and in
a pipeline repeats the most of it at the very end, for that is what a pipeline shows.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from time import time
from typing import Any

import pytest

from lab import settings
from lab.errors import LabError
from lab.settings import LabSettings
from tests.evidence import plain, sources
from tests.evidence.box import Box, make_run_folder, run_folder
from tests.evidence.sources import Asked, Place

ROOT = Path(__file__).resolve().parents[2]
WHOLE = 20
"""Failures of one worker for which everything is collected; more have the same cause."""
LINES = 150
LISTED = 40
LOOK_BACK = 300
"""Seconds; since when events count when nobody knows when the test began."""
KEY = "evidence"

_recorder: Recorder | None = None


def keep(*stands: object) -> None:
    """Collect what a test leaves before it is taken down, since it is not going well.

    For a stand that fails while it is set up, or in the hands of a test that made it itself: pytest
    hears of the failure when there is nothing left to look at.

    Args:
        stands: What has the environment of commands.
    """
    if _recorder is not None:
        _recorder.before_taking_down(stands)


def pytest_configure(config: pytest.Config) -> None:
    """Begin, in the main process and in each worker."""
    global _recorder  # noqa: PLW0603 - stands know no pytest.Config
    _recorder = Recorder(config)
    config.pluginmanager.register(_recorder, "aegis-evidence")


class Recorder:
    """Collects for the tests of one process.

    Args:
        config: Pytest's.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        worker: dict[str, Any] | None = getattr(config, "workerinput", None)
        self._is_main = worker is None
        self._lab = _lab()
        self._folder = run_folder(os.environ, self._lab) if worker is None else Path(worker[KEY])
        self._environment = dict(os.environ)
        self._secrets: frozenset[str] = frozenset()
        self._item: pytest.Item | None = None
        self._begun = time()
        self._offsets: dict[str, int] = {}
        self._kept: list[str] = []
        self._count = 0
        self._failures: list[tuple[str, dict[str, Any]]] = []

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of pytest-xdist the folder."""
        node.workerinput[KEY] = str(self._folder)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Remember the environment that conftest made, before a test changes it."""
        self._environment = dict(os.environ)
        texts = [_text(it.passphrase_file) for it in filter(None, [self._lab])]
        texts += [_text(it.kubeconfig) for it in filter(None, [self._lab])]
        self._secrets = frozenset(plain.secrets_in(self._environment, *texts))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Remember when a test began."""
        self._item, self._begun, self._kept = item, time(), []
        self._offsets = sources.offsets(self._lab.logs) if self._lab and _uses_lab(item) else {}
        try:
            return (yield)
        finally:
            self._item = None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Collect when a test failed, before anything of it is taken down."""
        report = yield
        if report.failed:
            values = tuple(getattr(item, "funcargs", {}).values())
            report.__dict__[KEY] = self._collect(report, _uses_lab(item), values)
        return report

    def before_taking_down(self, stands: tuple[object, ...]) -> None:
        """Collect for the test that runs; it will be said to have failed later."""
        if self._item is not None and self._count < WHOLE:
            found = self._guarded(
                self._item.nodeid, "before-taking-down", "", _uses_lab(self._item), stands
            )
            self._kept = found["around"]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Hear of a failure, in the main process; of a worker that died nobody has collected."""
        if not self._is_main or not report.failed:
            return
        found = report.__dict__.get(KEY)
        if found is None:
            self._begun = time() - LOOK_BACK
            found = self._collect(report, report.nodeid.startswith("tests/e2e/"), ())
        self._failures.append((f"{report.nodeid} ({_phase(report)})", found))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, None, None]:
        """Say where the evidence is, after everything but pytest's closing line."""
        yield
        if not self._failures:
            return
        terminalreporter.section("evidence of failures")
        for row in summary(self._folder, self._failures, tail=_wants_tail(self._environment)):
            terminalreporter.line(row)

    def _collect(
        self, report: pytest.TestReport, uses_lab: bool, values: tuple[object, ...]
    ) -> dict[str, Any]:
        rows = [report.nodeid, "", report.longreprtext]
        rows += [f"\n--- {title}\n{text}" for title, text in report.sections]
        text = "\n".join(rows) + "\n"
        found = self._guarded(report.nodeid, _phase(report), text, uses_lab, values)
        shown = plain.redacted(report.longreprtext, self._secrets)
        return {**found, "failure": plain.excerpt(shown)}

    def _guarded(
        self, node: str, when: str, report: str, uses_lab: bool, values: tuple[object, ...]
    ) -> dict[str, Any]:
        """Collect; whatever goes wrong with it does not touch the test's own failure."""
        within = plain.slug(node)
        self._count += 1
        try:
            make_run_folder(self._folder)
            box = Box(self._folder / within / when, self._environment, self._secrets)
            if report:
                box.write("failure.txt", report)
            around: list[str] = []
            if self._count <= WHOLE:
                around = sources.collect(box, self._asked(uses_lab, values))
            else:
                box.notes.append(f"{WHOLE} failures before it have more than their report")
            around = self._kept or around
            if box.notes:
                notes = plain.redacted("\n".join(box.notes), self._secrets)
                (box.folder / "missing.txt").write_text(f"{notes}\n")
        except Exception as error:  # the failure of the test is what matters
            why = plain.redacted(f"not collected: {type(error).__name__}: {error}", self._secrets)
            return {"folder": why, "around": []}
        return {"folder": within, "around": around}

    def _asked(self, uses_lab: bool, values: tuple[object, ...]) -> Asked:
        found: tuple[Place, ...] = tuple(sources.places(values))
        temporary = getattr(self._config, "_tmp_path_factory", None)
        lab = self._lab if uses_lab else None
        return Asked(
            begun=self._begun,
            lab=lab.state if lab else None,
            logs=lab.logs if lab else None,
            offsets=self._offsets,
            places=found,
            # Pytest makes it when the first test asks for it.
            temporary=getattr(temporary, "_basetemp", None),
        )


def summary(folder: Path, failures: list[tuple[str, dict[str, Any]]], *, tail: bool) -> list[str]:
    """Return what is said of failures at the end of a run.

    Args:
        folder: The run's folder.
        failures: For each what failed, and what was collected.
        tail: Repeat the end of each report and what was seen around it.
    """
    rows = [f"{title}: {found['folder']}" for title, found in failures[:LISTED]]
    if len(failures) > LISTED:
        rows.append(f"... and {len(failures) - LISTED} more")
    where = f"all of it is in {folder}"
    if not tail:
        return [*rows, where]
    told = [(title, found["failure"], found["around"]) for title, found in failures]
    return [*rows, *plain.in_short(told, LINES - len(rows) - 1), where]


def _phase(report: pytest.TestReport) -> str:
    # Of a test whose worker died pytest-xdist does not know it.
    return report.when if report.when in ("setup", "call", "teardown") else "died"


def _uses_lab(item: pytest.Item) -> bool:
    return item.get_closest_marker("e2e") is not None


def _wants_tail(environment: dict[str, str]) -> bool:
    # Not CI alone: `aegis` and the CLI behave otherwise where it is set, and tests would see it.
    return bool(environment.get("CI") or environment.get("AEGIS_EVIDENCE_TAIL"))


def _lab() -> LabSettings | None:
    try:
        return settings.load(os.environ, ROOT)
    except LabError:
        return None


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
