"""What it costs to start `aegis`: help, and a command's own help, beside the bare interpreter.

Needs no lab:

    .venv/bin/python -m bench.start [runs]
"""

from __future__ import annotations

import sys
from pathlib import Path

from bench.record import repeat, save, say, shown, spread, table

RUNS = 15
AEGIS = str(Path(sys.executable).with_name("aegis"))
COMMANDS = {
    "python -c pass": (sys.executable, "-c", "pass"),
    "aegis --help": (AEGIS, "--help"),
    "aegis history --help": (AEGIS, "history", "--help"),
    "aegis rollback --help": (AEGIS, "rollback", "--help"),
    "aegis gate check --help": (AEGIS, "gate", "check", "--help"),
}


def main() -> None:
    """Measure, print, and write the figures down."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    took = {name: repeat(runs, *words) for name, words in COMMANDS.items()}
    rows = [
        (f"`{name}`", shown([it.wall for it in its]), shown([it.cpu for it in its]))
        for name, its in took.items()
    ]
    say(table(("command", "wall, s", "processor, s"), rows))
    save(
        "start",
        "whole processes, from start to exit, after one run that warms the disk's cache",
        {
            "runs": runs,
            "seconds": {
                name: {
                    "wall": spread([it.wall for it in its]),
                    "cpu": spread([it.cpu for it in its]),
                }
                for name, its in took.items()
            },
        },
    )


if __name__ == "__main__":
    main()
