"""Markdown from what comes of resources, people and clusters: nothing in it is taken for markup."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from ops.plain_text import one_line, plain

_SPECIAL = re.compile(r"([\\`*_{}\[\]()+!|~>-])")
_WWW = re.compile(r"(?i)\b(www)\.")
_ACTIVE = re.compile(r"[\\`*_\[\]!~|@]")
_CUT = "\n\n_The rest is left out: the comment would be longer than is allowed._\n"


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


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, limit: int = 0) -> str:
    """Return a table; its cells are Markdown already.

    Args:
        columns: The heads of its columns.
        rows: Its rows.
        limit: How many characters its rows may have together; 0 for as many as there are.
    """
    head = [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns))]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    blank = " |" * (len(columns) - 1)
    return "\n".join([*head, *(first(lines, limit, "| _{} more_ |" + blank) if limit else lines)])


def first(lines: Sequence[str], limit: int, more: str) -> list[str]:
    """Return the first lines that fit, and one that says how many are left out.

    Args:
        lines: Markdown, each whole in itself.
        limit: How many characters they may have together.
        more: The line for those that are left out, `{}` for their number.
    """
    room = limit
    for number, line in enumerate(lines):
        room -= len(line) + 1
        if room < 0:
            return [*lines[:number], more.format(len(lines) - number)]
    return list(lines)


def folded(summary: str, body: str) -> str:
    """Return a part that opens on a click.

    Args:
        summary: What is seen before, any text. Markdown is not read there, HTML is.
        body: What is seen after, Markdown already.
    """
    head = _unlinked(html.escape(one_line(summary, 200)))
    return f"<details><summary>{head}</summary>\n\n{body}\n\n</details>"


def fitted(parts: Sequence[str], limit: int) -> str:
    """Join parts, the most important first, as far as they fit.

    Args:
        parts: Markdown, each whole in itself.
        limit: How many characters there may be.
    """
    kept = ""
    for part in parts:
        longer = f"{kept}\n\n{part}" if kept else part
        if len(longer) + len(_CUT) > limit:
            return kept + _CUT
        kept = longer
    return kept + "\n"


def _unaddressed(escaped: str) -> str:
    """Without what Markdown would make a link of by itself; it looks before it reads entities."""
    return _WWW.sub(r"\1&#46;", escaped).replace("://", "&#58;//")


def _unlinked(escaped: str) -> str:
    """Neither a mention, which would send somebody a message, nor a note on another issue.

    GitHub looks for both in the text that is seen, in which an entity is what it stands for.
    """
    return escaped.replace("#", "&#35;&#8203;").replace("@", "&#64;&#8203;")
