"""Coverage of the processes that tests start, and a table of all of it by part.

With ``--cov`` and no name, pytest-cov measures what `pyproject.toml` names, in pytest's own
process. This plugin, which `conftest.py` registers, then has every `aegis` and every run of the
program measured as well, wherever a test starts it (`coverage_start`), hands what they leave to
pytest-cov before it combines its own, and adds a table by part. With ``--cov=app`` or without
``--cov`` it does nothing.
"""

from __future__ import annotations

import json
import marshal
import os
import shutil
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import coverage
import coverage.tracer
import pytest
from coverage.exceptions import CoverageException

from tests.coverage_start import COMMAND, HOST, PROGRAM, SUFFIX, VARIABLE

ROOT = Path(__file__).resolve().parents[1]
START = ROOT / "tests" / "coverage_start.py"
LINE = (
    "import os, sys; "
    "os.environ.get({variable!r}) "
    "and {programs!r} & {{word.rpartition('/')[2] for word in sys.orig_argv[1:4]}} "
    "and (it := {{'__name__': 'coverage_start'}}, "
    "exec(compile(open({start!r}).read(), {start!r}, 'exec'), it), "
    "it['begin']({checkout!r}, {tracer!r}, sys.orig_argv))\n"
)
"""What Python runs as it starts: one line is all that a .pth file offers.

It looks roughly before anything is read and compiled, for every stand-in comes by as well.
"""

_running = pytest.StashKey[ExitStack]()
_place = pytest.StashKey[Path]()


def _hook() -> Path:
    return Path(sysconfig.get_path("purelib"), "aegis-coverage.pth")


@contextmanager
def hooked() -> Iterator[None]:
    """Have every Python of this environment look at `coverage_start` while the block runs."""
    hook = _hook()
    line = LINE.format(
        variable=VARIABLE,
        programs={*COMMAND, PROGRAM, HOST},
        start=str(START),
        checkout=str(ROOT),
        tracer=coverage.tracer.__file__,
    )
    if hook.exists() and hook.read_text() == line:
        yield  # The whole run is measured, and takes it away.
        return
    partial = hook.with_suffix(".partial")
    partial.write_text(line)
    partial.replace(hook)
    try:
        yield
    finally:
        hook.unlink(missing_ok=True)


def gather(directory: Path) -> dict[str, set[tuple[int, int]]]:
    """Return what the processes saw: by file, the steps from line to line."""
    found: dict[str, set[tuple[int, int]]] = {}
    for path in directory.glob(f"*{SUFFIX}"):
        seen: Mapping[str, list[int]] = marshal.loads(path.read_bytes())  # noqa: S302
        for name, packed in seen.items():
            found.setdefault(name, set()).update(map(_unpack, packed))
    return found


def _unpack(packed: int) -> tuple[int, int]:
    """Return the two lines that the tracer has put into a number; leaving is negative."""
    before, after = packed & 0xFFFFFFF, packed >> 28 & 0xFFFFFFF
    return (-before if packed >> 56 & 1 else before, -after if packed >> 57 & 1 else after)


def by_part(files: Mapping[str, Any]) -> list[tuple[str, int, int, float]]:
    """Add files up to parts of the checkout, and to a total.

    Args:
        files: What coverage's JSON report says of each file.

    Returns:
        The part, its statements and branches, those that did not run, and the share that did.
    """
    parts: dict[str, list[int]] = {}
    for name, said in files.items():
        summary = said["summary"]  # Without branches where nothing at all was measured.
        ran = summary["covered_lines"] + summary.get("covered_branches", 0)
        every = summary["num_statements"] + summary.get("num_branches", 0)
        part = Path(name).parent.as_posix()
        for row in (name if part == "." else part, "TOTAL"):
            counted = parts.setdefault(row, [0, 0])
            counted[0] += every
            counted[1] += ran
    rows = sorted(parts.items(), key=lambda it: (it[0] == "TOTAL", it[0]))
    return [(row, n, n - ran, 100 * ran / n if n else 100.0) for row, (n, ran) in rows]


def _is_asked_for(config: pytest.Config) -> bool:
    """Whether this is the process that starts the tests, with ``--cov`` and no name."""
    asked = True in (config.getoption("cov_source", None) or [])
    return asked and not config.getoption("no_cov") and not hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Begin to measure what is started from here on; workers of pytest-xdist inherit it."""
    if not _is_asked_for(config):
        return
    running = config.stash[_running] = ExitStack()
    place = config.stash[_place] = Path(tempfile.mkdtemp(prefix="coverage-of-aegis-"))
    running.callback(shutil.rmtree, place, ignore_errors=True)
    _hook().unlink(missing_ok=True)  # Of a run that was killed; it would be taken for another's.
    running.enter_context(hooked())
    os.environ[VARIABLE] = str(place)
    running.callback(os.environ.pop, VARIABLE, None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Measure no more; leave nothing."""
    if _running in config.stash:
        config.stash[_running].close()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Put what the processes saw beside what pytest-cov is about to combine."""
    result = yield
    if _place in session.config.stash:
        measured = _coverage(session.config)
        name = Path(session.config.invocation_params.dir, str(measured.config.data_file))
        data = coverage.CoverageData(str(name), suffix="processes")
        data.add_arcs(gather(session.config.stash[_place]))
        data.write()
        data.close()
    return result


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table by part."""
    config = terminalreporter.config
    if _place not in config.stash:
        return
    report = config.stash[_place] / "report.json"
    terminalreporter.section("coverage by part, the processes that tests start included")
    try:
        _coverage(config).json_report(outfile=str(report), ignore_errors=True)
    except CoverageException as error:
        terminalreporter.line(f"there is none: {error}")
        return
    terminalreporter.line(f"{'part':<28}{'lines, branches':>17}{'not run':>9}{'%':>7}")
    for part, every, missed, share in by_part(json.loads(report.read_text())["files"]):
        terminalreporter.line(f"{part:<28}{every:>17}{missed:>9}{share:>7.1f}")


def _coverage(config: pytest.Config) -> coverage.Coverage:
    found: coverage.Coverage = config.pluginmanager.getplugin("_cov").cov_controller.cov
    return found
