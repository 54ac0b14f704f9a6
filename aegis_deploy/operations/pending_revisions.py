"""What an update's migration would apply, told from the checkout before anything runs.

A release's migration names a command that lists its revisions with their SQL; it needs neither the
image nor the database. The contract is in docs/schema.md.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aegis_deploy.model.migration import schema_plan
from aegis_deploy.model.migration.schema_plan import Foreseen, PendingRevision
from aegis_deploy.operations import squawk

if TYPE_CHECKING:
    from aegis_deploy.model.events import Step
    from aegis_deploy.model.migration.schema_plan import Ahead

_SECONDS = 60
_QUOTED = 3


def look(directory: Path, steps: Iterable[Step], further: Ahead | None) -> Foreseen | None:
    """Say which revisions an update's migration has before it, and what squawk has against them.

    Nobody is stopped by what it finds: `make check` refuses, and a person who reviews decides.

    Args:
        directory: The program's directory, where the command runs.
        steps: The update's preview.
        further: How far it migrates; None when it does not.

    Returns:
        It; None where nothing migrates, or nothing says how its revisions are listed.
    """
    command = schema_plan.revisions_command(steps)
    if further is None or not command:
        return None
    try:
        ran = subprocess.run(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Foreseen(unknown=f"{' '.join(command)}: {error}")
    listed = schema_plan.of_list(ran.stdout) if ran.returncode == 0 else None
    if listed is None:
        said = " ".join(ran.stderr.strip().splitlines()[-_QUOTED:]) or "it lists none"
        return Foreseen(unknown=f"{' '.join(command)}: exit {ran.returncode}: {said}")
    at = further.revision or 0
    return _linted([it for it in listed if at < it.number <= further.head])


def _linted(revisions: Iterable[PendingRevision]) -> Foreseen:
    found, unlinted = [], ""
    for it in revisions:
        try:
            against = squawk.findings(
                "\n".join(it.sql) + "\n",
                expand=it.kind != schema_plan.CONTRACT,
                name=f"{it.number}.sql",
                without=(squawk.TIMEOUTS, *it.waived),
            )
            lint = tuple(dict.fromkeys(f"{one.rule}: {one.why}" for one in against))
        except (OSError, RuntimeError) as error:
            lint, unlinted = (), str(error)
        found.append(replace(it, lint=lint))
    return Foreseen(revisions=tuple(found), unlinted=unlinted)
