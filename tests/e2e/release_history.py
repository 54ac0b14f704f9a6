"""What `aegis history --json` lists, read in this process where the command is not the subject."""

from __future__ import annotations

import json
from typing import Any

from aegis_deploy.history.listing import collect
from aegis_deploy.stack.session import Session
from tests.e2e.comparison import Stack


def releases(at: Stack, stack: str, limit: int | None = 20) -> list[dict[str, Any]]:
    """Return a stack's releases, the newest first.

    Args:
        at: The stand: its directory and environment.
        stack: The stack's name.
        limit: How many at most; None means all.
    """
    listing = collect(Session.open(stack, at.directory, at.environment), limit=limit)
    found: list[dict[str, Any]] = json.loads(json.dumps(listing.as_json()))["releases"]
    return found


def current(at: Stack, stack: str) -> dict[str, Any]:
    """Return the release that a stack has now."""
    return next(it for it in releases(at, stack) if it["current"])
