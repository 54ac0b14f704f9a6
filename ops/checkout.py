"""What git says of the program's directory; the only place that runs git."""

from __future__ import annotations

import subprocess
from pathlib import Path

_SECONDS = 10


def commit(directory: Path) -> str | None:
    """Return the commit a directory is checked out at; None where there is none to tell."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
