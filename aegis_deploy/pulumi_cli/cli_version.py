"""The CLI's version, asked once of each executable: to start it takes as long as most commands."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from aegis_deploy.common import atomic_file

_SCRIPT = b"#!"


def remembered(program: Path, environment: Mapping[str, str], ask: Callable[[], str]) -> str:
    """Return the version of an executable, asking only when it is another than last time.

    Args:
        program: The executable.
        environment: Names the directory for what may be forgotten.
        ask: Asks it.
    """
    mark = _mark(program)
    if mark is None:
        return ask()
    home = Path(environment.get("HOME") or Path.home())
    place = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "aegis" / "pulumi.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(place.read_text())
        if kept["executable"] == mark:
            return str(kept["version"])
    version = ask()
    with suppress(OSError):  # It only saves time.
        place.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"executable": mark, "version": version})
        atomic_file.write(place, content.encode())
    return version


def _mark(program: Path) -> str | None:
    """What tells one executable from another; None for one that may start any, such as a script."""
    try:
        real = program.resolve(strict=True)
        with real.open("rb") as file:
            is_script = file.read(len(_SCRIPT)) == _SCRIPT
        told = real.stat()
    except OSError:
        return None
    if is_script or real.stem != "pulumi":
        return None
    return f"{real} {told.st_size} {told.st_mtime_ns}"
