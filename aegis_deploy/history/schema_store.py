"""What is known of a stack's database: kept in the stack's tags, and never less than before.

A release that crashes answers nobody; then this is what says which ones fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aegis_deploy.model.schema import DatabaseSchema, latest

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

TAG = "aegis:schema"
_SAID = re.compile(r"([0-9]{1,10}) ([0-9]{1,10})")


def parse(tags: Mapping[str, str]) -> DatabaseSchema | None:
    """Read it from a stack's tags; None when nothing is known."""
    found = _SAID.fullmatch(tags.get(TAG, ""))
    if found is None:
        return None
    return DatabaseSchema(revision=int(found[1]), least_head=int(found[2]))


def read(session: Session) -> DatabaseSchema | None:
    """Read what is known of a stack's database; None when nothing is."""
    return parse(session.tags())


def remember(session: Session, found: DatabaseSchema) -> DatabaseSchema:
    """Remember what a database said; return what is known by now.

    Args:
        session: The stack.
        found: What it said.
    """
    before = read(session)
    now = latest((before, found)) or found
    if now != before:
        session.change_tags({TAG: f"{now.revision} {now.least_head}"})
    return now
