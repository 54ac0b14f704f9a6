"""GitHub's expressions, as far as our workflows use them; anything else is an error.

https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

Lookup = Callable[[str], Any]
"""Gives a name's value: `github.ref`, `needs.*.result`, `always()`."""

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<sign>&&|\|\||==|!=|[()!,])|(?P<name>[\w.*-]+))"
)


def evaluate(expression: str, lookup: Lookup) -> Any:
    """Return what an expression is.

    Args:
        expression: The expression, without its braces.
        lookup: Gives the values of names; raises for one that nobody knows.
    """
    reader = _Reader(_tokens(expression), lookup)
    value = reader.either()
    assert not reader.tokens, f"{expression}: {reader.tokens[0]} is not understood"
    return value


def asks_for_status(expression: str) -> bool:
    """Whether a condition says itself what it makes of the jobs or steps before it."""
    return any(f"{name}()" in expression for name in ("always", "cancelled", "failure", "success"))


def _tokens(expression: str) -> list[str]:
    found, at = [], 0
    while expression[at:].strip():
        token = _TOKEN.match(expression, at)
        assert token is not None, f"{expression[at:]} is not understood"
        found.append(token[0].strip())
        at = token.end()
    return found


class _Reader:
    """Reads tokens from the left; `&&` and `||` give one of their values, as on GitHub."""

    def __init__(self, tokens: Sequence[str], lookup: Lookup) -> None:
        self.tokens = list(tokens)
        self._lookup = lookup

    def either(self) -> Any:
        value = self._both()
        while self._skip("||"):
            other = self._both()
            value = value or other
        return value

    def _both(self) -> Any:
        value = self._comparison()
        while self._skip("&&"):
            other = self._comparison()
            value = other if value else value
        return value

    def _comparison(self) -> Any:
        value = self._plain()
        if self._skip("=="):
            return value == self._plain()
        if self._skip("!="):
            return value != self._plain()
        return value

    def _plain(self) -> Any:
        token = self.tokens.pop(0)
        if token == "!":
            return not self._plain()
        if token == "(":
            value = self.either()
            assert self._skip(")")
            return value
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if self._skip("("):
            return self._call(token)
        return self._lookup(token)

    def _call(self, name: str) -> Any:
        given = []
        while not self._skip(")"):
            given.append(self.either())
            self._skip(",")
        if name == "contains":
            within, wanted = given
            return wanted in within
        assert not given, f"{name} is not understood"
        return self._lookup(f"{name}()")

    def _skip(self, token: str) -> bool:
        if self.tokens and self.tokens[0] == token:
            self.tokens.pop(0)
            return True
        return False
