"""Markdown from what comes of resources, people and clusters: nothing in it is taken for markup."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from aegis_deploy.common.sanitize import one_line, plain

_SPECIAL = re.compile(r"([\\`*_{}\[\]()+!|~>-])")
_WWW = re.compile(r"(?i)\b(www)\.")
_ACTIVE = re.compile(r"[\\`*_\[\]!~|@]")
_CUT = "\n\n_The rest is left out: the comment would be longer than is allowed._\n"
_Thing = TypeVar("_Thing")


def text(raw: object, *, limit: int = 200) -> str:
    """Return a text as one line that renders as itself.

    Args:
        raw: The text.
        limit: How many characters of it are shown.
    """
    escaped = _SPECIAL.sub(r"\\\1", html.escape(one_line(raw, limit), quote=False))
    return _unaddressed(_unlinked(escaped))


def code(raw: object, *, limit: int = 200) -> str:
    """Return a text as inline code."""
    # Markdown is read inside an element too: an image there would be fetched.
    escaped = _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", html.escape(one_line(raw, limit)))
    return f"<code>{_unaddressed(escaped)}</code>"


def block(raw: str, *, lines: int = 40) -> str:
    """Return a text as a block that is shown as it is, its last lines when there are many."""
    kept = plain(raw).splitlines()[-lines:]
    body = "\n".join(kept)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", body)), default=0))
    return f"{fence}text\n{body}\n{fence}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown already.

    Args:
        columns: The heads of its columns.
        rows: Its rows.
    """
    return "\n".join([*_head(columns), *map(_row, rows)])


def short_table(
    columns: Sequence[str],
    things: Sequence[_Thing],
    cells: Callable[[_Thing], Sequence[str]],
    limit: int,
) -> str:
    """Return a table of the first things that fit, and how many are left out.

    Args:
        columns: The heads of its columns.
        things: What its rows are about.
        cells: Makes a thing's row, Markdown; not asked for what is left out.
        limit: How many characters its rows may have together.
    """
    more = "| _{} more_ |" + " |" * (len(columns) - 1)
    shown = first(things, lambda thing: _row(cells(thing)), limit, more)
    return "\n".join([*_head(columns), *shown])


def first(
    things: Sequence[_Thing], word: Callable[[_Thing], str], limit: int, more: str
) -> list[str]:
    """Return the lines of the first things that fit, and one that says how many are left out.

    Args:
        things: What there is to tell; it may be thousands.
        word: Words a thing, Markdown that is whole in itself; not asked for what is left out.
        limit: How many characters the lines may have together.
        more: The line for those that are left out, `{}` for their number.
    """
    room = limit
    lines: list[str] = []
    for thing in things:
        line = word(thing)
        room -= len(line) + 1
        if room < 0:
            return [*lines, more.format(len(things) - len(lines))]
        lines.append(line)
    return lines


def folded(summary: str, body: str) -> str:
    """Return a part that opens on a click.

    Args:
        summary: What is seen before, any text. Markdown is not read there, HTML is.
        body: What is seen after, Markdown already.
    """
    head = _unlinked(html.escape(one_line(summary, 200)))
    return f"<details><summary>{head}</summary>\n\n{body}\n\n</details>"


def fitted(parts: Iterable[str], limit: int) -> str:
    """Join parts, the most important first, as far as they fit.

    Args:
        parts: Markdown, each whole in itself; those after the first that does not fit are not
            asked for.
        limit: How many characters there may be.
    """
    kept = ""
    for part in parts:
        longer = f"{kept}\n\n{part}" if kept else part
        if len(longer) + len(_CUT) > limit:
            return kept + _CUT
        kept = longer
    return kept + "\n"


def _head(columns: Sequence[str]) -> list[str]:
    return [_row(columns), _row(["---"] * len(columns))]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _unaddressed(escaped: str) -> str:
    """Without what Markdown would make a link of by itself; it looks before it reads entities."""
    return _WWW.sub(r"\1&#46;", escaped).replace("://", "&#58;//")


def _unlinked(escaped: str) -> str:
    """Neither a mention, which would send somebody a message, nor a note on another issue.

    GitHub looks for both in the text that is seen, in which an entity is what it stands for.
    """
    return escaped.replace("#", "&#35;&#8203;").replace("@", "&#64;&#8203;")
