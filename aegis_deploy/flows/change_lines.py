"""What is changed, what comes first and what stays, as lines for people. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aegis_deploy.model.events import Changes
from aegis_deploy.model.fingerprint import called, is_shown

if TYPE_CHECKING:
    from aegis_deploy.replay.model import Replay


NO_CHANGES = ("  nothing changes",)
"""What is said where nothing would change."""


def change_lines(changes: Changes) -> tuple[str, ...]:
    """Say what a preview would change, a line a resource."""
    lines = []
    for step in filter(is_shown, changes.steps):
        lines.append(f"  {called(step)}" + (f" [{', '.join(step.diffs)}]" if step.diffs else ""))
    return tuple(lines) or NO_CHANGES


def in_order(replay: Replay, changes: Changes | None) -> tuple[str, ...]:
    """Say what a rollback would change, in the order in which it does.

    Args:
        replay: The replay.
        changes: What the engine says of it. It does not know what goes first, nor that what stays
            is taken to need nothing that goes. None where it could not be asked.
    """
    first = {it.urn: it.label for several in replay.first.goes for it in several}
    lines = [f"  delete {label} (first)" for label in first.values()]
    if changes is None:
        lines += [f"  {it}" for it in replay.edits]
        deleted = set(first)
    else:
        gone = [it for it in changes.steps if it.op == "delete"]
        deleted = {*first, *(it.urn for it in gone)}
        rest = [it for it in changes.steps if it not in gone or it.urn not in first]
        # In Python's sorting what is equal keeps its order.
        rest.sort(key=lambda it: it.urn not in replay.first.leads)
        if any(map(is_shown, rest)):
            lines += change_lines(replace(changes, steps=tuple(rest)))
    if changes is None or replay.kept:
        lines += [f"  delete {it.label}" for it in replay.deletes if it.urn not in deleted]
    return tuple(lines) or NO_CHANGES


def stay_lines(replay: Replay, stack: str, command: str) -> list[str]:
    """Say what a rollback leaves although the release does not have it, and how it would go.

    Args:
        replay: The replay.
        stack: The stack's name.
        command: What carries the rollback out.
    """
    gone = [it for it in replay.stays if not it.own]
    own = [it for it in replay.stays if it.own]
    lines = ["not deleted:", *(f"  {it}" for it in gone)] if gone else []
    lines += ["not as the release has it:", *(f"  {it}" for it in own)] if own else []
    if any(it.for_its_data for it in replay.stays):
        lines.append(f"to delete what holds data as well: {command} --allow-data-loss")
    if any(it.for_its_data for it in gone):
        lines.append("a deploy of a program that does not declare it deletes it, too")
    if own:
        lines.append("the next deploy's program has to declare that as it is now")
    return lines + [
        "a deploy of a program that does not declare what is protected fails before: "
        f"pulumi state unprotect '{it.urn}' --stack {stack}"
        for it in replay.stays
        if it.protected
    ]
