"""What a client may send, and how its mistakes are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.drafts import (
    MAX_BODY_BYTES,
    MAX_TAGS,
    Body,
    RecordChange,
    RecordDraft,
    parse_id,
    parse_key,
    parse_version,
    read_body,
)
from app.problems import ProblemError
from app.records import record_id


def read(model: type[Body], body: bytes, media_type: str = "application/json") -> Body:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 1000):
            yield body[start : start + 1000]

    return asyncio.run(read_body(model, media_type, pieces()))


def refused(model: type[Body], body: object, **more: str) -> ProblemError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ProblemError) as error:
        read(model, raw, **more)
    return error.value


class TestBodies:
    """A body is read whole, or every mistake in it is told."""

    def test_one_that_is_allowed_is_read(self) -> None:
        draft = read(
            RecordDraft,
            b'{"name": " a ", "customer": {"name": "b", "email": "A@B"}}',
            "application/json; charset=utf-8",
        )
        assert (draft.name, draft.status, draft.tags) == ("a", "active", ())
        assert draft.customer is not None
        assert draft.customer.email == "a@b"

    def test_a_change_names_what_it_changes(self) -> None:
        assert read(RecordChange, b'{"tags": []}').values() == {"tags": ()}

    @pytest.mark.parametrize(
        ("body", "names"),
        [
            ({}, ["name"]),
            ({"name": " "}, ["name"]),
            ({"name": "a\x00"}, ["name"]),
            ({"name": "a" * 201}, ["name"]),
            ({"name": 1, "status": "new", "more": 1}, ["name", "status", "more"]),
            ({"name": "a", "tags": ["a", "B"]}, ["tags.1"]),
            ({"name": "a", "tags": ["a"] * (MAX_TAGS + 1)}, ["tags"]),
            ({"name": "a", "customer": {"name": "b", "email": "c"}}, ["customer.email"]),
            ([], ["body"]),
            (b"{", ["body"]),
            (b"", ["body"]),
            (b"\xff", ["body"]),
        ],
    )
    def test_every_mistake_is_told_with_its_member(self, body: object, names: list[str]) -> None:
        problem = refused(RecordDraft, body)
        assert (problem.status, problem.slug) == (400, "invalid-body")
        errors = problem.members["errors"]
        assert isinstance(errors, list)
        assert [it["name"] for it in errors] == names
        assert all(it["reason"] for it in errors)

    @pytest.mark.parametrize("body", [{}, {"name": None}])
    def test_a_change_of_nothing_is_none(self, body: object) -> None:
        assert "at least one of name, status, tags" in str(refused(RecordChange, body).detail)

    def test_one_that_is_too_long_is_not_read_to_its_end(self) -> None:
        body = b'{"name": "' + b"a" * MAX_BODY_BYTES
        assert refused(RecordDraft, body).status == 413

    @pytest.mark.parametrize("media_type", ["", "text/plain", "application/jsonp"])
    def test_another_media_type_is_refused(self, media_type: str) -> None:
        assert refused(RecordDraft, {"name": "a"}, media_type=media_type).status == 415


class TestHeaders:
    """A key, a version and an id have one form."""

    @pytest.mark.parametrize("values", [[], ["a", "b"], [""], ["a b"], ["ä"], ["k" * 129]])
    def test_a_create_needs_one_key(self, values: list[str]) -> None:
        with pytest.raises(ProblemError, match="Send the header once") as error:
            parse_key(values)
        assert error.value.status == 400

    def test_a_key_is_any_visible_text(self) -> None:
        assert parse_key(["a-1/~"]) == "a-1/~"

    @pytest.mark.parametrize(("values", "version"), [([], None), (["*"], None), (['"7"'], 7)])
    def test_a_version_is_an_etag(self, values: list[str], version: int | None) -> None:
        assert parse_version(values) == version

    @pytest.mark.parametrize("values", [["7"], ['"0"'], ['W/"7"'], ['"7", "8"'], ['"7"'] * 2])
    def test_what_is_no_one_etag_is_refused(self, values: list[str]) -> None:
        with pytest.raises(ProblemError) as error:
            parse_version(values)
        assert error.value.status == 400

    @given(st.integers(min_value=1, max_value=10**17))
    def test_an_id_reads_back(self, number: int) -> None:
        assert parse_id(record_id(number)) == number

    @pytest.mark.parametrize("text", ["", "rec_", "rec_1", "rec_00000000", "rec_0000000x", "1"])
    def test_what_is_no_id_is_none(self, text: str) -> None:
        assert parse_id(text) is None
