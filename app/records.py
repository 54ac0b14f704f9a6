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

from app.problems import ProblemError
from app.settings import DataProfile

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MOCK_RECORDS = 1000

_CURSOR = re.compile(r"r1:([1-9][0-9]{0,17})", re.ASCII)
_LIMIT = re.compile(r"[0-9]{1,9}", re.ASCII)
_MAX_SHOWN = 40
_EPOCH = datetime(2025, 1, 1, tzinfo=UTC)
_FIRST = ("amber", "brisk", "calm", "dusky", "early", "faint", "green", "hardy")
_SECOND = ("anchor", "bridge", "cedar", "delta", "ember", "forge", "grove", "harbor")
_STATES = ("active", "active", "active", "suspended", "closed")


@dataclass(frozen=True, kw_only=True)
class Record:
    """One record. `number` orders records and never changes."""

    number: int
    name: str
    status: str
    created_at: datetime

    def as_json(self) -> dict[str, object]:
        """The record as the API shows it."""
        return {
            "id": f"rec_{self.number:08d}",
            "name": self.name,
            "status": self.status,
            "createdAt": self.created_at.isoformat().replace("+00:00", "Z"),
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


class RecordSource(Protocol):
    """Where records come from."""

    async def page(self, wanted: PageRequest) -> Page:
        """Reads one page; raises `ProblemError` when there is nothing to read from."""


class MockRecords:
    """Generated records: the same on every replica and at every start."""

    def __init__(self, count: int = MOCK_RECORDS) -> None:
        self._count = count

    async def page(self, wanted: PageRequest) -> Page:
        """Reads one page."""
        last = min(wanted.after + wanted.limit, self._count)
        records = tuple(mock_record(number) for number in range(wanted.after + 1, last + 1))
        more = bool(records) and last < self._count
        return Page(records=records, next_cursor=encode_cursor(last) if more else None)


class NoDatabase:
    """Stands where the data of a profile would come from until the service has a database."""

    def __init__(self, profile: DataProfile) -> None:
        self._profile = profile

    async def page(self, wanted: PageRequest) -> Page:  # noqa: ARG002 - the protocol's signature
        """Answers that there is no data."""
        raise ProblemError(
            503,
            slug="no-database",
            title="This data profile has no database",
            detail=f"Data profile {self._profile!r} reads from a database, and this version of "
            "aegis-api cannot use one yet. Only the profile 'mock' has data.",
        )


def source_for(profile: DataProfile) -> RecordSource:
    """The source of a data profile's records."""
    return MockRecords() if profile == "mock" else NoDatabase(profile)


def mock_record(number: int) -> Record:
    """Generates a record from nothing but its number."""
    digest = hashlib.blake2b(f"aegis-mock:{number}".encode(), digest_size=4).digest()
    first, second, state, minutes = digest
    return Record(
        number=number,
        name=f"{_FIRST[first % len(_FIRST)]}-{_SECOND[second % len(_SECOND)]}-{number}",
        status=_STATES[state % len(_STATES)],
        created_at=_EPOCH + timedelta(hours=number, minutes=minutes % 60),
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
