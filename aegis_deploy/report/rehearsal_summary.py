"""What came of a rehearsal, worded for the people who review a change. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aegis_deploy.common import markdown as md

if TYPE_CHECKING:
    from aegis_deploy.common.errors import AegisError
    from aegis_deploy.model.migration.rehearsal import Rehearsal, RehearsedStatement

_LIMIT = 20_000
"""How many characters its table may have: a comment has other parts."""


def markdown(stack: str, found: Rehearsal) -> str:
    """Word a rehearsal as a part of a comment.

    Args:
        stack: The stack's name.
        found: The rehearsal.
    """
    parts = [f"**{md.text(stack)}** {md.text(found.headline)}"]
    if found.failed:
        parts += ["> [!CAUTION]\n> it does not come to its end:", md.block(found.failed)]
    if found.breaks:
        parts.append(f"> [!CAUTION]\n> {md.text(found.of_what_runs)}")
    elif found.of_what_runs:
        parts.append(md.text(found.of_what_runs))
    if found.statements:
        columns = ("revision", "statement", "seconds", "strongest lock", "meanwhile")
        parts.append(md.short_table(columns, found.statements, _cells, _LIMIT))
    parts += [f"not copied: {md.text(it)}" for it in found.left]
    return "\n\n".join(parts)


def refused(stack: str, error: AegisError) -> str:
    """Word that a migration was not rehearsed, as a part of a comment.

    Args:
        stack: The stack's name.
        error: Why it was not.
    """
    why = md.block("\n".join(filter(None, (error.why, error.next))))
    return f"**{md.text(stack)}** migrations were not rehearsed: {md.text(error.what)}\n\n{why}"


def _cells(it: RehearsedStatement) -> tuple[str, ...]:
    lock = it.strongest
    return (
        "" if it.revision is None else str(it.revision),
        md.code(it.sql),
        f"{it.seconds:.3f}",
        "" if lock is None else f"{md.text(lock.mode)} on {md.code(lock.table)}",
        "" if lock is None else lock.waits,
    )
