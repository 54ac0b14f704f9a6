"""Compiles what the workers of a run collect, before they begin, where nothing is compiled yet.

pytest rewrites each file of tests before it runs it, and keeps the result. Workers begin together:
in a new checkout each of them would rewrite all of it, eight seconds of processor for each.

    python -m tests.bytecode
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_TESTS = Path(__file__).parent
_SHARES = (("tests/unit",), ("tests/integration", "tests/e2e"))
"""Collected beside each other; each takes about as long."""


def main() -> None:
    """Collect all tests and run none, unless that was done once in this checkout.

    What cannot be collected is told by the run itself.
    """
    if any(_TESTS.rglob("__pycache__/*-pytest-*.pyc")):
        return
    # What is added for the run, such as a report, is not for this.
    kept = {name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"}
    environment = {**kept, "PYTHONDONTWRITEBYTECODE": ""}
    begun = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--quiet", *share],
            cwd=_TESTS.parent,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for share in _SHARES
    ]
    for it in begun:
        it.wait()


if __name__ == "__main__":
    main()
