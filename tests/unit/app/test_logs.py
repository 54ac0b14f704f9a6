"""Structured logs: every line is one JSON object, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
import warnings

from app import logs


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class TestJson:
    """The form of a line."""

    def test_a_line_has_time_level_logger_message_and_extras(self) -> None:
        stream = io.StringIO()
        logs.configure("info", stream)
        logging.getLogger("aegis.test").info("hello %s", "you", extra={"count": 3})
        (line,) = lines(stream)
        assert str(line.pop("time")).endswith("+00:00")
        assert line == {
            "level": "info",
            "logger": "aegis.test",
            "message": "hello you",
            "count": 3,
        }

    def test_a_message_with_line_breaks_stays_one_line(self) -> None:
        stream = io.StringIO()
        logs.configure("info", stream)
        logging.getLogger("aegis.test").info('one\ntwo "three"')
        assert lines(stream)[0]["message"] == 'one\ntwo "three"'

    def test_an_exception_stays_one_line(self) -> None:
        stream = io.StringIO()
        logs.configure("info", stream)
        try:
            int("bad")
        except ValueError:
            logging.getLogger("aegis.test").exception("failed", stack_info=True)
        (line,) = lines(stream)
        assert "ValueError: invalid literal" in str(line["exception"])
        assert "stack" in line

    def test_uvicorns_lines_and_warnings_have_the_same_form(self) -> None:
        stream = io.StringIO()
        logs.configure("info", stream)
        logging.getLogger("uvicorn.error").info("up", extra={"color_message": "\x1b[1mup"})
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old", DeprecationWarning, stacklevel=1)
        first, second = lines(stream)
        assert (first["logger"], first["message"]) == ("uvicorn.error", "up")
        assert "color_message" not in first
        assert second["logger"] == "py.warnings"

    def test_lower_levels_are_left_out(self) -> None:
        stream = io.StringIO()
        logs.configure("warning", stream)
        logging.getLogger("aegis.test").info("no")
        logging.getLogger("aegis.test").warning("yes")
        assert [line["message"] for line in lines(stream)] == ["yes"]
