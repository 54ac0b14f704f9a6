"""What a client sends to create or change a record, and how its mistakes are told.

Every mistake of a body is told at once, with the member's name and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from app.problems import ProblemError

MAX_BODY_BYTES = 64 * 1024
MAX_TAGS = 20
_KEY = re.compile(r"[!-~]{1,128}", re.ASCII)
_ID = re.compile(r"rec_([0-9]{8,18})", re.ASCII)
_VERSION = re.compile(r'"([1-9][0-9]{0,8})"', re.ASCII)
_MEDIA_TYPE = "application/json"

Status = Literal["active", "suspended", "closed"]
# NUL is a character of JSON and none of PostgreSQL's text.
_Text = StringConstraints(
    strip_whitespace=True, min_length=1, max_length=200, pattern=r"^[^\x00]*$"
)
Line = Annotated[str, _Text]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
Tags = Annotated[tuple[Tag, ...], Field(max_length=MAX_TAGS)]
Email = Annotated[
    str, StringConstraints(max_length=254, to_lower=True, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")
]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class AddressDraft(_Given):
    """Where a customer is."""

    line: Line
    city: Line
    postal_code: Line


class CustomerDraft(_Given):
    """Whose a record is; a customer is known by the e-mail address."""

    name: Line
    email: Email
    phone: Line | None = None
    address: AddressDraft | None = None


class RecordDraft(_Given):
    """A record to be created."""

    name: Line
    status: Status = "active"
    tags: Tags = ()
    customer: CustomerDraft | None = None


class RecordChange(_Given):
    """What is to be changed of a record; what is not named stays."""

    name: Line | None = None
    status: Status | None = None
    tags: Tags | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> RecordChange:
        if not self.values():
            raise ValueError("must name at least one of name, status, tags, and none with null")
        return self

    def values(self) -> dict[str, Any]:
        """Return what it names."""
        return {
            name: getattr(self, name)
            for name in self.model_fields_set
            if getattr(self, name) is not None
        }


Body = TypeVar("Body", RecordDraft, RecordChange)


async def read_body(model: type[Body], media_type: str, stream: AsyncIterable[bytes]) -> Body:
    """Read a request's body.

    Args:
        model: What it has to be.
        media_type: What the request says it is.
        stream: It, in pieces.

    Raises:
        ProblemError: 415 for another media type, 413 for one too long, 400 for one that is no JSON
            or says what is not allowed.
    """
    if media_type.partition(";")[0].strip().lower() != _MEDIA_TYPE:
        raise ProblemError(415, detail=f"The body has to be {_MEDIA_TYPE}.")
    body = bytearray()
    async for piece in stream:
        body += piece
        if len(body) > MAX_BODY_BYTES:
            raise ProblemError(413, detail=f"The limit is {MAX_BODY_BYTES} bytes.")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        found = [_told(it) for it in error.errors(include_url=False, include_input=False)]
    raise ProblemError(
        400,
        slug="invalid-body",
        title="The body is not valid",
        detail="; ".join(f"{it['name']} {it['reason']}" for it in found),
        members={"errors": found},
    )


def parse_id(text: str) -> int | None:
    """Read a record's id; None when none was ever of that form."""
    found = _ID.fullmatch(text)
    return int(found[1]) if found is not None and int(found[1]) > 0 else None


def parse_key(values: Sequence[str]) -> str:
    """Read the header `Idempotency-Key`.

    It is required: a client that is cut off cannot know whether its create was kept, and asks
    again.

    Args:
        values: Every value given for it.

    Raises:
        ProblemError: 400; it lacks, is there twice, or is not of its form.
    """
    if len(values) == 1 and _KEY.fullmatch(values[0]):
        return values[0]
    raise ProblemError(
        400,
        slug="idempotency-key",
        title="A create needs one Idempotency-Key",
        detail="Send the header once, with 1 to 128 visible ASCII characters of your choice, the "
        "same each time you ask for the same create.",
    )


def parse_version(values: Sequence[str]) -> int | None:
    """Read the header `If-Match`, the `ETag` of what a client has read; None when it is not given.

    Raises:
        ProblemError: 400; it is no one version.
    """
    if not values or list(values) == ["*"]:
        return None
    found = _VERSION.fullmatch(values[0]) if len(values) == 1 else None
    if found is None:
        raise ProblemError(400, slug="if-match", detail='If-Match has to be one ETag, such as "3".')
    return int(found[1])


def _told(error: Mapping[str, Any]) -> dict[str, str]:
    where = ".".join(map(str, error["loc"]))
    said = error["msg"].removeprefix("Value error, ")
    return {"name": where or "body", "reason": said[:1].lower() + said[1:]}
