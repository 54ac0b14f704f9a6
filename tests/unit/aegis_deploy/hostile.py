"""Names, messages and logs that try to be markup, and how to look whether they are."""

from __future__ import annotations

import re

HOSTILE = (
    "<script>alert(1)</script>",
    "a|b\n| c | d |",
    "`code` and ``more`` ```\n# head",
    "[link](javascript:alert(1)) ![x](https://evil.example/y)",
    "@everyone, see #1 and www.evil.example",
    "</code></details></summary><img src=x onerror=y>",
    "\u202egnp.exe\x1b[31m",
    "<!-- aegis preview -->",
    "a\n```\n<b>out of the fence</b>",
)
MENTION = re.compile(r"(?<![\w/])@[A-Za-z0-9]|(?<![\w&])#\d")
"""What GitHub makes a mention or a reference of, in the text that is seen."""
_FENCE = re.compile(r"^(`{3,})text\n.*?\n\1$", re.MULTILINE | re.DOTALL)
_TAG = re.compile(r"</?([A-Za-z]\w*)|<(!--)")


def without_fences(text: str) -> tuple[str, int]:
    """Return a text without its blocks, and how many those were."""
    return _FENCE.subn("", text)


def without_code(text: str) -> str:
    """Return a text without its inline code, where GitHub looks for no mention."""
    return re.sub(r"<code>.*?</code>", "", text)


def tags(text: str) -> set[str]:
    """Return the names of the tags in a text, but for its own first comment."""
    return {found[0] or found[1] for found in _TAG.findall(text.partition("\n")[2])}


def rows_of(text: str) -> list[str]:
    """Return the rows of the tables in a text."""
    return [line for line in text.splitlines() if line.startswith("|")]
