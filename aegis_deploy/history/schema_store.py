"""What is known of a stack's database: kept in the stack's tags, and never less than before.

A release that crashes answers nobody; then this is what says which ones fit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aegis_deploy.model.schema import DatabaseSchema, frozen, latest

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

TAG = "aegis:schema"
IRREVERSIBLE_TAG = "aegis:schema-irreversible"
"""A tag of its own, so that an older `aegis` still reads the two numbers that decide."""
_SAID = re.compile(r"([0-9]{1,10}) ([0-9]{1,10})")
_NUMBER = re.compile(r"[0-9]{1,10}")


def parse(tags: Mapping[str, str]) -> DatabaseSchema | None:
    """Read it from a stack's tags; None when nothing is known."""
    found = _SAID.fullmatch(tags.get(TAG, ""))
    if found is None:
        return None
    irreversible = tags.get(IRREVERSIBLE_TAG, "")
    return frozen(
        DatabaseSchema(revision=int(found[1]), least_head=int(found[2])),
        int(irreversible) if _NUMBER.fullmatch(irreversible) else 0,
    )


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
        said = {TAG: f"{now.revision} {now.least_head}"}
        if now.irreversible:
            said[IRREVERSIBLE_TAG] = str(now.irreversible)
        session.change_tags(said)
    return now
