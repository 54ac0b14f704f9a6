"""What is known of a stack's databases: kept in the stack's tags, and never less than before.

A release that crashes answers nobody; then this is what says which ones fit. Each data set on the
stack's own server has a tag of its own, as long as it is there: what is done to its database is
nothing of another one's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aegis_deploy.model.database.dataset import Databases, short
from aegis_deploy.model.database.schema import DatabaseSchema, frozen, latest

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

TAG = "aegis:schema"
IRREVERSIBLE_TAG = "aegis:schema-irreversible"
"""A tag of its own, so that an older `aegis` still reads the two numbers that decide."""
DATASET_TAG = "aegis:dataset-"
"""How the tag of a data set begins; its short name follows."""
UNTOLD = "untold"
"""What is known of the schema of a data set that nobody has said anything of."""
_NUMBER = re.compile(r"[0-9]{1,10}")
_SAID = re.compile(rf"({_NUMBER.pattern}) ({_NUMBER.pattern})")
_OF_DATASET = re.compile(rf"{_SAID.pattern}(?: ({_NUMBER.pattern}))?")


def parse(tags: Mapping[str, str]) -> Databases:
    """Read it from a stack's tags."""
    return Databases(
        first=_first(tags),
        datasets={
            name.removeprefix(DATASET_TAG): _of_dataset(said)
            for name, said in tags.items()
            if name.startswith(DATASET_TAG)
        },
    )


def read(session: Session) -> Databases:
    """Read what is known of a stack's databases."""
    return parse(session.tags())


def remember(session: Session, found: DatabaseSchema, dataset: str = "") -> DatabaseSchema:
    """Remember what a database said; return what is known of it by now.

    Args:
        session: The stack.
        found: What it said.
        dataset: The data set that it is of; empty for none.
    """
    before = read(session).of(dataset)
    now = latest((before, found)) or found
    if now != before:
        session.change_tags(_dataset_tag(dataset, now) if dataset else _first_tags(now))
    return now


def loaded(session: Session, dataset: str, schema: DatabaseSchema | None) -> None:
    """Remember that a data set is on the server.

    Args:
        session: The stack.
        dataset: Its name.
        schema: What its database says of itself; None where it says nothing.
    """
    session.change_tags(_dataset_tag(dataset, schema))


def dropped(session: Session, dataset: str) -> None:
    """Remember that a data set is not on the server any more.

    Args:
        session: The stack.
        dataset: Its name.
    """
    session.change_tags({DATASET_TAG + short(dataset): None})


def _first(tags: Mapping[str, str]) -> DatabaseSchema | None:
    found = _SAID.fullmatch(tags.get(TAG, ""))
    if found is None:
        return None
    irreversible = tags.get(IRREVERSIBLE_TAG, "")
    return frozen(
        DatabaseSchema(revision=int(found[1]), least_head=int(found[2])),
        int(irreversible) if _NUMBER.fullmatch(irreversible) else 0,
    )


def _of_dataset(said: str) -> DatabaseSchema | None:
    found = _OF_DATASET.fullmatch(said)
    if found is None:
        return None
    schema = DatabaseSchema(revision=int(found[1]), least_head=int(found[2]))
    return frozen(schema, int(found[3] or 0))


def _first_tags(schema: DatabaseSchema) -> dict[str, str | None]:
    said: dict[str, str | None] = {TAG: f"{schema.revision} {schema.least_head}"}
    if schema.irreversible:
        said[IRREVERSIBLE_TAG] = str(schema.irreversible)
    return said


def _dataset_tag(dataset: str, schema: DatabaseSchema | None) -> dict[str, str | None]:
    said = UNTOLD
    if schema is not None:
        frozen_at = f" {schema.irreversible}" if schema.irreversible else ""
        said = f"{schema.revision} {schema.least_head}{frozen_at}"
    return {DATASET_TAG + short(dataset): said}
