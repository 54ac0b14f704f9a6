"""The tables of docs/testing.md, from a run's JUnit file: the time by file, the slowest tests.

Seconds that a test took, and how many of processor it and what it started used: what has few of
those waited, for the cluster or for a processor.

make test args="--junitxml=/tmp/run.xml"
.venv/bin/python -m tests.durations /tmp/run.xml
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from tests.processor_time import PROPERTY

SLOWEST = 40


@dataclass(frozen=True)
class Took:
    """How long one test took, fixtures included.

    Attributes:
        file: Its file, from the project's root.
        name: Its name, with its parameters.
        seconds: How long.
        processor: Seconds of processor, its own and those of what it started and waited for.
    """

    file: str
    name: str
    seconds: float
    processor: float = 0.0


def read(junit: Path) -> list[Took]:
    """Read a JUnit file of pytest.

    Args:
        junit: The file; it is of this machine's own making.

    Raises:
        OSError: It cannot be read.
        ElementTree.ParseError: It is no XML.
    """
    found = []
    for case in ElementTree.parse(junit).getroot().iter("testcase"):  # noqa: S314 - see above
        parts = str(case.get("classname", "")).split(".")
        # A class of tests is part of the name; what names a file begins with a small letter.
        length = next((i for i, it in enumerate(parts) if it[:1].isupper()), len(parts))
        name = "::".join([*parts[length:], str(case.get("name", "")).partition("@")[0]])
        file = "/".join(parts[:length]) + ".py"
        said = case.find(f"properties/property[@name='{PROPERTY}']")
        processor = 0.0 if said is None else float(said.get("value", 0))
        found.append(Took(file, name, float(case.get("time", 0)), processor))
    return found


def by_file(tests: Iterable[Took]) -> list[tuple[str, int, float, float]]:
    """Return file, number of tests, seconds, and seconds of processor; the longest first.

    Unit tests are told by their directory.
    """
    groups: dict[str, list[Took]] = defaultdict(list)
    for it in tests:
        path = Path(it.file)
        groups[f"{path.parent}/" if path.parts[1:2] == ("unit",) else it.file].append(it)
    rows = [
        (name, len(its), sum(it.seconds for it in its), sum(it.processor for it in its))
        for name, its in groups.items()
    ]
    return sorted(rows, key=lambda row: -row[2])


def tables(tests: Sequence[Took], slowest: int = SLOWEST) -> str:
    """Return both tables as Markdown.

    Args:
        tests: How long each test took.
        slowest: How many of the slowest are shown.
    """
    lines = ["| file | tests | seconds | of processor |", "|---|---:|---:|---:|"]
    rows = by_file(tests)
    lines += [f"| `{name}` | {n} | {took:.0f} | {used:.0f} |" for name, n, took, used in rows]
    lines += ["", "| seconds | of processor | test |", "|---:|---:|---|"]
    for it in sorted(tests, key=lambda it: -it.seconds)[:slowest]:
        name = f"`{Path(it.file).stem}` {it.name}"
        lines.append(f"| {it.seconds:.0f} | {it.processor:.0f} | {name} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(read(Path(sys.argv[1]))))  # noqa: T201 - what it is for
