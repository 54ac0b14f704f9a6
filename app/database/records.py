"""Records in PostgreSQL.

Every method is one transaction. A create happens once for its key, however often and from however
many clients at once it is asked for: the key's row is written first, and whoever comes second waits
for the first one's end.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, text
from sqlalchemy.dialects.postgresql import insert

from app.database.engine import Database
from app.database.tables import (
    ADDRESSES,
    CUSTOMERS,
    IDEMPOTENCY_KEYS,
    RECORD_EVENTS,
    RECORD_TAGS,
    RECORDS,
    TAGS,
)
from app.drafts import AddressDraft, CustomerDraft, RecordChange, RecordDraft, parse_id
from app.problems import ProblemError
from app.records import (
    Created,
    Page,
    PageRequest,
    Record,
    encode_cursor,
    missing,
)

_MARK = "aegis-probe-"
"""How everything begins that is written to try it out, in whatever log it may appear."""


class DatabaseRecords:
    """Records of a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: PageRequest) -> Page:
        """Reads one page."""
        # One more than wanted tells whether there is a next page.
        limit = wanted.limit + 1
        found = await self._database.run(
            "page", lambda it: _read(it, RECORDS.c.number > wanted.after, limit=limit)
        )
        records = tuple(found[: wanted.limit])
        more = len(found) > wanted.limit
        return Page(
            records=records, next_cursor=encode_cursor(records[-1].number) if more else None
        )

    async def get(self, number: int) -> Record:
        """Reads one record."""
        return await self._database.run("get", lambda it: _one(it, number))

    async def create(self, draft: RecordDraft, key: str) -> Created:
        """Creates a record, once for a key."""
        return await self._database.run("create", lambda it: _once(it, draft, key))

    async def change(self, number: int, change: RecordChange, version: int | None) -> Record:
        """Changes a record."""
        values = change.values()
        return await self._database.run("change", lambda it: _change(it, number, values, version))

    async def rehearse(self) -> None:
        """Creates a record, reads it back and changes it, and keeps nothing of all that."""
        await self._database.run("rehearse", _rehearse)


def _once(connection: Connection, draft: RecordDraft, key: str) -> Created:
    request = _digest(draft)
    first = connection.scalar(
        insert(IDEMPOTENCY_KEYS)
        .values(key=key, request=request)
        .on_conflict_do_nothing()
        .returning(IDEMPOTENCY_KEYS.c.key)
    )
    if first is None:
        return _again(connection, key, request)
    record = _create(connection, draft)
    answer = record.as_json()
    connection.execute(
        IDEMPOTENCY_KEYS.update()
        .where(IDEMPOTENCY_KEYS.c.key == key)
        .values(record_number=record.number, response=answer)
    )
    return Created(answer=answer, replayed=False)


def _change(
    connection: Connection, number: int, values: Mapping[str, Any], version: int | None
) -> Record:
    now = connection.scalar(
        select(RECORDS.c.version).where(RECORDS.c.number == number).with_for_update()
    )
    if now is None:
        raise missing(number)
    if version is not None and version != now:
        raise ProblemError(
            412,
            slug="changed-meanwhile",
            title="The record is at another version",
            detail=f"It is at version {now}, not {version}: read it and try again.",
        )
    connection.execute(
        RECORDS.update()
        .where(RECORDS.c.number == number)
        .values(
            **{name: values[name] for name in ("name", "status") if name in values},
            version=RECORDS.c.version + 1,
            changed_at=func.now(),
        )
    )
    if "tags" in values:
        connection.execute(RECORD_TAGS.delete().where(RECORD_TAGS.c.record_number == number))
        _tag(connection, number, values["tags"])
    _note(connection, number, "changed", sorted(values))
    return _one(connection, number)


def _rehearse(connection: Connection) -> None:
    """Do what clients' writes do, in a savepoint that is given up.

    Whenever the process or the connection dies, nothing is left, and nobody ever sees any of it.
    The transaction around it commits, so that a database which can write and not commit (a full
    disk, a standby that has to confirm) is found out, too. Numbers that were given away are gone.
    """
    mark = f"{_MARK}{secrets.token_hex(8)}"
    place = AddressDraft(line=mark, city=mark, postal_code=mark)
    customer = CustomerDraft(name=mark, email=f"{mark}@probe.invalid", address=place)
    draft = RecordDraft(name=mark, tags=(mark,), customer=customer)
    with connection.begin_nested() as given_up:
        made = _once(connection, draft, mark).answer
        number = parse_id(str(made["id"]))
        if number is None or _one(connection, number).as_json() != made:
            raise RuntimeError(f"{made['id']} is not read back as it was written")
        _change(connection, number, {"status": "closed", "tags": ()}, 1)
        # What is checked at a commit only would not be: this is never committed.
        connection.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        given_up.rollback()


def _again(connection: Connection, key: str, request: bytes) -> Created:
    keys = IDEMPOTENCY_KEYS.c
    row = (connection.execute(select(keys.request, keys.response).where(keys.key == key))).one()
    if row.request != request:
        raise ProblemError(
            422,
            slug="key-used",
            title="The Idempotency-Key was used for another request",
            detail="A key stands for one create: use a new one for another.",
        )
    return Created(answer=row.response, replayed=True)


def _create(connection: Connection, draft: RecordDraft) -> Record:
    customer = None if draft.customer is None else _customer(connection, draft)
    number = connection.scalar(
        insert(RECORDS)
        .values(name=draft.name, status=draft.status, customer_id=customer)
        .returning(RECORDS.c.number)
    )
    assert isinstance(number, int)  # noqa: S101 - an insert returns what it inserted
    _tag(connection, number, draft.tags)
    _note(connection, number, "created", [])
    return _one(connection, number)


def _customer(connection: Connection, draft: RecordDraft) -> int:
    """Return a customer's id; one is known by its e-mail address."""
    given = draft.customer
    assert given is not None  # noqa: S101 - the caller asked
    statement = insert(CUSTOMERS).values(name=given.name, email=given.email, phone=given.phone)
    found = connection.scalar(
        statement.on_conflict_do_update(
            index_elements=["email"], set_={"name": statement.excluded.name}
        ).returning(CUSTOMERS.c.id)
    )
    assert isinstance(found, int)  # noqa: S101 - an insert or update returns its row
    if given.address is not None:
        connection.execute(
            insert(ADDRESSES).values(customer_id=found, **given.address.model_dump())
        )
    return found


def _tag(connection: Connection, number: int, tags: Sequence[str]) -> None:
    if not tags:
        return
    # In one order everywhere, or two creates with the same tags could wait for each other.
    names = [{"name": name} for name in sorted(set(tags))]
    connection.execute(insert(TAGS).on_conflict_do_nothing(), names)
    connection.execute(
        insert(RECORD_TAGS).from_select(
            ["record_number", "tag_id"],
            select(text(str(int(number))), TAGS.c.id).where(
                TAGS.c.name.in_([it["name"] for it in names])
            ),
        )
    )


def _note(connection: Connection, number: int, kind: str, fields: list[str]) -> None:
    connection.execute(
        insert(RECORD_EVENTS).values(record_number=number, kind=kind, detail={"fields": fields})
    )


def _one(connection: Connection, number: int) -> Record:
    found = _read(connection, RECORDS.c.number == number, limit=1)
    if not found:
        raise missing(number)
    return found[0]


def _read(connection: Connection, which: Any, *, limit: int) -> list[Record]:  # noqa: ANN401
    tags = (
        select(func.array_agg(TAGS.c.name))
        .join(RECORD_TAGS, RECORD_TAGS.c.tag_id == TAGS.c.id)
        .where(RECORD_TAGS.c.record_number == RECORDS.c.number)
        .scalar_subquery()
    )
    rows = connection.execute(
        select(RECORDS, tags.label("tags")).where(which).order_by(RECORDS.c.number).limit(limit)
    )
    return [_record(row._mapping) for row in rows]


def _record(row: Mapping[Any, Any]) -> Record:
    return Record(
        number=row["number"],
        name=row["name"],
        status=row["status"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
        version=row["version"],
        tags=tuple(sorted(row["tags"] or ())),
    )


def _digest(draft: RecordDraft) -> bytes:
    body = json.dumps(draft.model_dump(), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(body.encode()).digest()
