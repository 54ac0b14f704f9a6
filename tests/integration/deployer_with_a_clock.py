"""`aegis` on a machine whose clock is off: the same command, for which it is another time.

Run as ``python -m tests.integration.deployer_with_a_clock SECONDS WORDS...``. Shifted is what
`datetime` says, which is where all that `aegis` writes down comes from. Not `time.time`: gRPC
counts its waits by that in Python and by the kernel's own clock in C, and would wait for minutes.
"""

from __future__ import annotations

import datetime as module
import sys
from datetime import timedelta, tzinfo


def shift(seconds: float) -> None:
    """Have this process's time be ahead by so many seconds, or behind."""

    class Shifted(module.datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Shifted:
            return super().now(tz) + timedelta(seconds=seconds)

    module.datetime = Shifted  # type: ignore[misc]


def main(seconds: str, *words: str) -> int:
    """Run the command."""
    shift(float(seconds))
    # Not before: everything takes the clock that is there when it is imported.
    from aegis_deploy.cli.main import main as aegis

    return aegis(words)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
