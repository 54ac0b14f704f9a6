"""Records, the data the service reads: where they come from and how they are paged.

A page starts after a record, not at a distance from the first, so pages neither repeat nor skip a
record when others are added meanwhile.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from app.drafts import RecordChange, RecordDraft
from app.problems import ProblemError
from app.settings import DataProfile

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

_CURSOR = re.compile(r"r1:([1-9][0-9]{0,17})", re.ASCII)
_LIMIT = re.compile(r"[0-9]{1,9}", re.ASCII)
_MAX_SHOWN = 40
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
_FIRST = ("amber", "brisk", "calm", "dusky", "early", "faint", "green", "hardy")
_SECOND = ("anchor", "bridge", "cedar", "delta", "ember", "forge", "grove", "harbor")
_STATES = ("active", "active", "active", "suspended", "closed")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record. `number` orders records and never changes; `version` goes up with each change."""

    number: int
    name: str
    status: str
    created_at: datetime
    changed_at: datetime
    version: int = 1
    tags: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """The record as the API shows it."""
        return {
            "id": record_id(self.number),
            "name": self.name,
            "status": self.status,
            "tags": list(self.tags),
            "version": self.version,
            "createdAt": _moment(self.created_at),
            "changedAt": _moment(self.changed_at),
        }


@dataclass(frozen=True, kw_only=True)
class PageRequest:
    """Which page is wanted: at most `limit` records, the first after record number `after`."""

    limit: int = DEFAULT_LIMIT
    after: int = 0


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of records and the cursor of the next; None when this is the last."""

    records: tuple[Record, ...]
    next_cursor: str | None


@dataclass(frozen=True, kw_only=True)
class Created:
    """The answer to a create, and whether it is that to an earlier one with the same key."""

    answer: dict[str, object]
    replayed: bool


class RecordSource(Protocol):
    """Where records come from and go to.

    Every method raises `ProblemError` for what it cannot do, with the status that says why.
    """

    async def page(self, wanted: PageRequest) -> Page:
        """Reads one page."""

    async def get(self, number: int) -> Record:
        """Reads one record."""

    async def create(self, draft: RecordDraft, key: str) -> Created:
        """Creates a record; the same key again gives the first answer again."""

    async def change(self, number: int, change: RecordChange, version: int | None) -> Record:
        """Changes a record, if it is still at a version; None for whichever it is at."""

    async def rehearse(self) -> None:
        """Creates a record, reads it back and changes it, and keeps nothing of all that."""


class MockRecords:
    """Generated records: the same on every replica and at every start."""

    def __init__(self, count: int) -> None:
        self._count = count

    async def page(self, wanted: PageRequest) -> Page:
        """Reads one page."""
        last = min(wanted.after + wanted.limit, self._count)
        records = tuple(mock_record(number) for number in range(wanted.after + 1, last + 1))
        more = bool(records) and last < self._count
        return Page(records=records, next_cursor=encode_cursor(last) if more else None)

    async def get(self, number: int) -> Record:
        """Reads one record."""
        if number > self._count:
            raise missing(number)
        return mock_record(number)

    async def create(self, draft: RecordDraft, key: str) -> Created:  # noqa: ARG002
        """Answers that generated records are all there are."""
        raise _read_only()

    async def change(self, number: int, change: RecordChange, version: int | None) -> Record:  # noqa: ARG002
        """Answers that generated records are what they are."""
        raise _read_only()

    async def rehearse(self) -> None:
        """Answers that generated records are all there are."""
        raise _read_only()


class NoDatabase:
    """Stands where the data of a profile would come from when no database is set."""

    def __init__(self, profile: DataProfile) -> None:
        self._profile = profile

    async def page(self, wanted: PageRequest) -> Page:  # noqa: ARG002 - the protocol's signature
        """Answers that there is no data."""
        raise self._problem()

    async def get(self, number: int) -> Record:  # noqa: ARG002
        """Answers that there is no data."""
        raise self._problem()

    async def create(self, draft: RecordDraft, key: str) -> Created:  # noqa: ARG002
        """Answers that there is nowhere to keep it."""
        raise self._problem()

    async def change(self, number: int, change: RecordChange, version: int | None) -> Record:  # noqa: ARG002
        """Answers that there is no data."""
        raise self._problem()

    async def rehearse(self) -> None:
        """Answers that there is nowhere to keep it."""
        raise self._problem()

    def _problem(self) -> ProblemError:
        return ProblemError(
            503,
            slug="no-database",
            title="This data profile has no database",
            detail=f"Data profile {self._profile!r} reads from a database, and none is set "
            "(AEGIS_DATABASE_URL). Only the profile 'mock' has data without one.",
        )


def source_for(profile: DataProfile, mock_rows: int) -> RecordSource:
    """The source of a data profile's records where no database is set."""
    return MockRecords(mock_rows) if profile == "mock" else NoDatabase(profile)


def record_id(number: int) -> str:
    """A record's id as the API shows it."""
    return f"rec_{number:08d}"


def missing(number: int) -> ProblemError:
    """The answer to whoever asks for a record that is not there."""
    return ProblemError(
        404, slug="no-record", title="No such record", detail=f"There is no {record_id(number)}."
    )


def _read_only() -> ProblemError:
    return ProblemError(
        503,
        slug="no-database",
        title="This data profile has no database",
        detail="Generated records can only be read; to create or change some, set a database "
        "(AEGIS_DATABASE_URL).",
    )


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def mock_record(number: int) -> Record:
    """Generates a record from nothing but its number."""
    digest = hashlib.blake2b(f"aegis-mock:{number}".encode(), digest_size=4).digest()
    first, second, state, minutes = digest
    made = _EPOCH + timedelta(hours=number, minutes=minutes % 60)
    return Record(
        number=number,
        name=f"{_FIRST[first % len(_FIRST)]}-{_SECOND[second % len(_SECOND)]}-{number}",
        status=_STATES[state % len(_STATES)],
        created_at=made,
        changed_at=made,
    )


def encode_cursor(after: int) -> str:
    """Makes the cursor of the page that starts after a record."""
    return base64.urlsafe_b64encode(f"r1:{after}".encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> int | None:
    """Reads a cursor; None when `encode_cursor` never made it."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    match = _CURSOR.fullmatch(text)
    if match is None or encode_cursor(int(match[1])) != cursor:
        return None
    return int(match[1])


def parse_page(limits: Sequence[str], cursors: Sequence[str]) -> PageRequest:
    """Reads the query parameters `limit` and `cursor`.

    Args:
        limits: Every value given for `limit`.
        cursors: Every value given for `cursor`.

    Raises:
        ProblemError: With status 400 and every parameter that is wrong.
    """
    limit: int | None = DEFAULT_LIMIT
    after: int | None = 0
    if limits:
        limit = int(limits[0]) if len(limits) == 1 and _LIMIT.fullmatch(limits[0]) else None
        limit = limit if limit is not None and 1 <= limit <= MAX_LIMIT else None
    if cursors:
        after = decode_cursor(cursors[0]) if len(cursors) == 1 else None
    errors = []
    if limit is None:
        errors.append(_wrong("limit", limits, f"must be one whole number from 1 to {MAX_LIMIT}"))
    if after is None:
        errors.append(_wrong("cursor", cursors, "must be one nextCursor of an earlier page"))
    if limit is None or after is None:
        raise ProblemError(
            400,
            slug="invalid-parameter",
            title="A query parameter is not valid",
            detail="; ".join(f"{error['name']} {error['reason']}" for error in errors),
            members={"errors": errors},
        )
    return PageRequest(limit=limit, after=after)


def _wrong(name: str, values: Sequence[str], reason: str) -> dict[str, str]:
    return {"name": name, "value": ",".join(values)[:_MAX_SHOWN], "reason": reason}
