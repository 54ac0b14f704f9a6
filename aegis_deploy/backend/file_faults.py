"""What is wrong with a file of a store that is a directory, in a person's words."""

from __future__ import annotations

import errno
from pathlib import Path

from aegis_deploy.backend.history_files import fault_of
from aegis_deploy.common.errors import AegisError


def gone(path: Path, copy: Path, updates: int) -> AegisError:
    """Word that a stack's state is not there, although its history is."""
    return AegisError(
        what=f"the stack's state is gone: there is no {path}",
        why=f"its history is there ({updates} updates), and so is a copy of the state",
        next=f"put the newest copy in its place: cp {copy} {path}\n"
        "then aegis recover. Do not make the stack anew: it would know nothing of what runs",
    )


def unwritten(path: Path, error: OSError) -> AegisError:
    """Word that the file of tags could not be written."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return AegisError(
        what="the disk that holds the state is full"
        if full
        else "the stack's tags cannot be written",
        why=f"{path}: {fault_of(error)}",
        next="make room, then: aegis recover" if full else "mend that, then: aegis recover",
    )


def damaged_tags(path: Path, error: Exception, copy: Path | None) -> AegisError:
    """Word that the file of tags cannot be read, and what there is in its place."""
    found = damaged(path, error)
    if copy is not None:
        found.next = f"put its copy in its place: cp {copy} {path}"
        return found
    found.why += "\nit says which releases are verified, and there is no copy of it"
    found.next = (
        f"move it away: mv {path} {path}.damaged\n"
        "then aegis deploy: it lets the gate judge what runs, and marks it as verified again"
    )
    return found


def damaged(path: Path, error: Exception, copy: Path | None = None) -> AegisError:
    """Word that a file cannot be read, and what there is in its place."""
    newest = f"; the newest copy that can be read is {copy}" if copy else ""
    return AegisError(
        what=f"{path} cannot be read",
        why=fault_of(error) + newest,
        next=f"put it in its place: cp {copy} {path}\nthen aegis recover" if copy else "",
    )
