"""The end-to-end tests of a name: `make e2e name=rollback` runs every ``test_*rollback*.py``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from lab.errors import LabError, refused

ROOT = Path(__file__).resolve().parents[2]


def chosen(name: str, files: Sequence[str]) -> list[str]:
    """Return the files whose names hold a name.

    Args:
        name: A part of what stands between ``test_`` and ``.py``.
        files: The paths of all end-to-end tests.

    Raises:
        LabError: There is none, or no name; the message lists what there is.
    """
    names = {path: Path(path).stem.removeprefix("test_") for path in files}
    found = sorted(path for path in files if name.strip() and name.strip() in names[path])
    if not found:
        raise refused(
            f"no end-to-end test is called {name.strip()}" if name.strip() else "a name is missing",
            f"there are: {', '.join(sorted(names.values()))}",
            "make e2e name=rollback",
        )
    return found


def main() -> None:
    """Print the files of a name, one a line, or say which names there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    name = parser.parse_args().name
    files = [str(it.relative_to(ROOT)) for it in ROOT.glob("tests/e2e/test_*.py")]
    try:
        sys.stdout.write("\n".join([*chosen(name, files), ""]))
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.code) from None


if __name__ == "__main__":
    main()
