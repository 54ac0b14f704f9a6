"""What git says of the program's directory; the only place that runs git."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path

_SECONDS = 10
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


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


def commit_times(directory: Path, commits: Collection[str]) -> Mapping[str, datetime]:
    """Return when commits were made; those that git does not know here are not in it."""
    wanted = sorted(it for it in commits if _COMMIT.fullmatch(it))
    if not wanted:
        return {}
    try:
        done = subprocess.run(
            ["git", "log", "--no-walk", "--ignore-missing", "--stdin", "--format=%H %ct"],
            cwd=directory,
            input="".join(f"{it}\n" for it in wanted),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if done.returncode != 0:
        return {}
    pairs = (line.split() for line in done.stdout.splitlines())
    return {commit: datetime.fromtimestamp(int(seconds), UTC) for commit, seconds in pairs}
