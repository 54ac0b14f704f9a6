"""Records: paging never repeats or skips, and a bad parameter is told apart from a good one."""

from __future__ import annotations

import asyncio
import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.problems import ProblemError
from app.records import (
    MAX_LIMIT,
    MockRecords,
    NoDatabase,
    Page,
    PageRequest,
    RecordSource,
    decode_cursor,
    encode_cursor,
    mock_record,
    parse_page,
    source_for,
)

NUMBERS = st.integers(min_value=1, max_value=10**18 - 1)


def read(source: RecordSource, wanted: PageRequest) -> Page:
    return asyncio.run(source.page(wanted))


def step(source: MockRecords, wanted: PageRequest) -> Page:
    """Reads a page of a source that never waits, without a loop (many examples)."""
    coroutine = source.page(wanted)
    try:
        coroutine.send(None)
    except StopIteration as finished:
        page = finished.value
        assert isinstance(page, Page)
        return page
    raise AssertionError("generated records wait for nothing")


class TestCursors:
    """A cursor is read only if it was made here."""

    @given(NUMBERS)
    def test_one_that_was_made_reads_back(self, number: int) -> None:
        assert decode_cursor(encode_cursor(number)) == number

    @given(st.text(max_size=40))
    def test_any_other_text_is_refused_and_never_an_error(self, text: str) -> None:
        number = decode_cursor(text)
        assert number is None or encode_cursor(number) == text

    @given(st.binary(max_size=30))
    def test_any_other_bytes_are_refused_and_never_an_error(self, raw: bytes) -> None:
        text = base64.urlsafe_b64encode(raw).decode().rstrip("=")
        number = decode_cursor(text)
        assert number is None or encode_cursor(number) == text

    @pytest.mark.parametrize("inner", ["r1:0", "r1:-1", "r1:01", "r1:1 ", "r2:1", "r1:", "r1:٣"])
    def test_forged_ones_are_refused(self, inner: str) -> None:
        assert decode_cursor(base64.urlsafe_b64encode(inner.encode()).decode().rstrip("=")) is None

    @pytest.mark.parametrize("cursor", ["", "=", encode_cursor(1) + "=", encode_cursor(1) + "A"])
    def test_altered_ones_are_refused(self, cursor: str) -> None:
        assert decode_cursor(cursor) is None


class TestPages:
    """Pages hold every record once."""

    @given(st.integers(0, 250), st.integers(1, MAX_LIMIT))
    def test_they_hold_every_record_once_and_in_order(self, count: int, limit: int) -> None:
        source, after, numbers = MockRecords(count), 0, []
        while True:
            page = step(source, PageRequest(limit=limit, after=after))
            assert len(page.records) <= limit
            numbers += [record.number for record in page.records]
            if page.next_cursor is None:
                break
            assert len(page.records) == limit
            after = decode_cursor(page.next_cursor) or 0
        assert numbers == list(range(1, count + 1))

    @given(NUMBERS)
    def test_one_after_the_end_is_empty_and_the_last(self, after: int) -> None:
        page = step(MockRecords(10), PageRequest(after=after + 10))
        assert page == Page(records=(), next_cursor=None)


class TestMockRecords:
    """Generated data."""

    def test_they_are_the_same_at_every_start(self) -> None:
        assert mock_record(7) == mock_record(7)
        assert mock_record(1).as_json() == {
            "id": "rec_00000001",
            "name": "green-anchor-1",
            "status": "active",
            "tags": [],
            "version": 1,
            "createdAt": "2025-01-01T01:26:00Z",
            "changedAt": "2025-01-01T01:26:00Z",
        }

    def test_they_are_the_source_of_the_mock_profile_only(self) -> None:
        assert isinstance(source_for("mock", 5), MockRecords)
        assert isinstance(source_for("sample", 5), NoDatabase)
        assert isinstance(source_for("real", 5), NoDatabase)

    def test_the_other_profiles_say_that_there_is_no_database(self) -> None:
        with pytest.raises(ProblemError) as caught:
            read(source_for("real", 5), PageRequest())
        assert caught.value.status == 503
        assert "database" in str(caught.value)


class TestParameters:
    """`limit` and `cursor` as clients send them."""

    def test_none_is_the_first_page(self) -> None:
        assert parse_page([], []) == PageRequest(limit=20, after=0)

    @given(st.integers(1, MAX_LIMIT), NUMBERS)
    def test_good_ones_are_read(self, limit: int, after: int) -> None:
        wanted = parse_page([str(limit)], [encode_cursor(after)])
        assert wanted == PageRequest(limit=limit, after=after)

    @given(st.integers().filter(lambda number: not 1 <= number <= MAX_LIMIT))
    def test_a_limit_out_of_range_is_refused(self, limit: int) -> None:
        with pytest.raises(ProblemError, match="limit must be one whole number from 1 to 100"):
            parse_page([str(limit)], [])

    @given(st.text(max_size=20))
    def test_any_text_is_a_limit_or_refused(self, text: str) -> None:
        try:
            assert 1 <= parse_page([text], []).limit <= MAX_LIMIT
        except ProblemError as problem:
            assert problem.status == 400

    @pytest.mark.parametrize("limits", [["x"], [""], ["٣"], ["1.5"], ["+1"], ["1", "2"]])
    def test_what_is_not_one_plain_number_is_refused(self, limits: list[str]) -> None:
        with pytest.raises(ProblemError, match="limit must be"):
            parse_page(limits, [])

    def test_every_wrong_one_is_told_at_once_and_cut_to_size(self) -> None:
        with pytest.raises(ProblemError) as caught:
            parse_page(["x" * 5000], ["not-a-cursor"])
        errors = caught.value.members["errors"]
        assert isinstance(errors, list)
        assert [error["name"] for error in errors] == ["limit", "cursor"]
        assert len(errors[0]["value"]) == 40
