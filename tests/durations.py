"""The tables of docs/testing.md, from a run's JUnit file: the time by file, the slowest tests.

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

SLOWEST = 40


@dataclass(frozen=True)
class Took:
    """How long one test took, fixtures included.

    Attributes:
        file: Its file, from the project's root.
        name: Its name, with its parameters.
        seconds: How long.
    """

    file: str
    name: str
    seconds: float


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
        found.append(Took(file, name, float(case.get("time", 0))))
    return found


def by_file(tests: Iterable[Took]) -> list[tuple[str, int, float]]:
    """Return file, number of tests and seconds; unit tests by their directory; longest first."""
    groups: dict[str, list[float]] = defaultdict(list)
    for it in tests:
        path = Path(it.file)
        name = f"{path.parent}/" if path.parts[1:2] == ("unit",) else it.file
        groups[name].append(it.seconds)
    rows = [(name, len(seconds), sum(seconds)) for name, seconds in groups.items()]
    return sorted(rows, key=lambda row: -row[2])


def tables(tests: Sequence[Took], slowest: int = SLOWEST) -> str:
    """Return both tables as Markdown.

    Args:
        tests: How long each test took.
        slowest: How many of the slowest are shown.
    """
    lines = ["| file | tests | seconds |", "|---|---:|---:|"]
    lines += [f"| `{name}` | {count} | {seconds:.0f} |" for name, count, seconds in by_file(tests)]
    lines += ["", "| seconds | test |", "|---:|---|"]
    for it in sorted(tests, key=lambda it: -it.seconds)[:slowest]:
        lines.append(f"| {it.seconds:.0f} | `{Path(it.file).stem}` {it.name} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(tables(read(Path(sys.argv[1]))))  # noqa: T201 - what it is for
