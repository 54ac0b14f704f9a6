"""Timing whole commands, and writing figures down beside what they depend on."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")
RESULTS = Path(__file__).with_name("results")
SECONDS = 300
"""The longest that a command may take before a measurement gives up."""


@dataclass(frozen=True)
class Took:
    """What a command took, whole processes with all they started and waited for.

    Attributes:
        wall: Seconds from its start to its end.
        cpu: Seconds of processor time, which a busy machine changes less.
        output: What it wrote to standard output.
        messages: What it wrote to standard error.
    """

    wall: float
    cpu: float
    output: str
    messages: str


def run(
    *words: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    given: str | None = None,
    expect: int | None = 0,
) -> Took:
    """Run a command to its end.

    Args:
        words: The command.
        cwd: Where to run it.
        environment: Its environment.
        given: What it reads.
        expect: The exit code it must have; None allows any.
    """
    wall, cpu, done = measured(
        lambda: subprocess.run(
            words,
            cwd=cwd,
            env=None if environment is None else dict(environment),
            input=given,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    )
    if expect is not None and done.returncode != expect:
        raise SystemExit(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return Took(wall, cpu, done.stdout, done.stderr)


def measured(work: Callable[[], _Result]) -> tuple[float, float, _Result]:
    """Return some work's seconds, those of processor of what it started, and its result."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    result = work()
    wall = time.monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, result


def repeat(runs: int, *words: str, **how: Any) -> list[Took]:  # noqa: ANN401 - `run`'s own
    """Run a command some times after one run that does not count."""
    run(*words, **how)
    return [run(*words, **how) for _ in range(runs)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Sum up some seconds: median, least, most."""
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def shown(values: Sequence[float]) -> str:
    """Word some seconds: the median, and from least to most."""
    it = spread(values)
    return f"{it['median']:.2f} ({it['least']:.2f} to {it['most']:.2f})"


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def say(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def save(name: str, measures: str, figures: Mapping[str, Any]) -> Path:
    """Write figures down with the machine they were measured on and its load when they were.

    Args:
        name: The measurement's name.
        measures: What the figures are, in a sentence.
        figures: The figures.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "measures": measures,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "load": [round(it, 2) for it in os.getloadavg()],
        "python": platform.python_version(),
        **figures,
    }
    path.write_text(json.dumps(document, indent=2) + "\n")
    say(f"written: {path.relative_to(Path(__file__).parents[1])}; load {os.getloadavg()[0]:.1f}")
    return path
