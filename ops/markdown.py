"""Markdown from what comes of resources, people and clusters: nothing in it is taken for markup."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from ops.plain_text import one_line, plain

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~>-])")
_ACTIVE = re.compile(r"[\\`*_\[\]!~|@]")
_CUT = "\n\n_The rest is left out: the comment would be longer than is allowed._\n"


def text(raw: object, *, limit: int = 200) -> str:
    """Return a text as one line that renders as itself.

    Args:
        raw: The text.
        limit: How many characters of it are shown.
    """
    escaped = _SPECIAL.sub(r"\\\1", html.escape(one_line(raw, limit), quote=False))
    # A mention would send somebody a message, a bare address would become a link.
    return escaped.replace("@", "&#64;").replace("://", ":&#8203;//")


def code(raw: object, *, limit: int = 200) -> str:
    """Return a text as inline code."""
    # Markdown is read inside an element too: an image there would be fetched.
    escaped = _ACTIVE.sub(lambda found: f"&#{ord(found[0])};", html.escape(one_line(raw, limit)))
    return f"<code>{escaped.replace('://', '&#58;//')}</code>"


def block(raw: str, *, lines: int = 40) -> str:
    """Return a text as a block that is shown as it is, its last lines when there are many."""
    kept = plain(raw).splitlines()[-lines:]
    body = "\n".join(kept)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", body)), default=0))
    return f"{fence}text\n{body}\n{fence}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its cells are Markdown already."""
    lines = [tuple(columns), tuple("---" for _ in columns), *(tuple(row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folded(summary: str, body: str) -> str:
    """Return a part that opens on a click; both are Markdown already."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


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
