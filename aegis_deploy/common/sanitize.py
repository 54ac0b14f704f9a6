"""Text of clusters, people and programs, made safe to be shown: it can neither move nor hide.

What colours or moves a terminal is taken out, and every other character that is not seen but acts
(controls, marks that turn the direction of writing, joiners of no width) is shown by its number.
Escaping for HTML or Markdown is the business of whoever writes that.
"""

from __future__ import annotations

import re
import unicodedata

_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, the cursor
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|$)"  # OSC and its like: titles, links
    r"|\x1b[ -/]*[0-~]"  # the short ones
    r"|\x9b[0-?]*[ -/]*[@-~]",
    re.DOTALL,
)
"""ECMA-48's control sequences."""
_UNSURE = re.compile(r"[^ -~\n\t]")
"""What has to be looked at; most texts have none of it, and may be megabytes of a log."""
_ACTING = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode's categories of what acts or stands for nothing."""


def plain(raw: object) -> str:
    """Return a text in which every character that acts is taken out or shown by its number."""
    text = _SEQUENCE.sub("", str(raw)).replace("\r\n", "\n")
    return _UNSURE.sub(lambda found: _shown(found[0]), text)


def one_line(raw: object, limit: int = 200) -> str:
    """Return a text as one plain line, cut where it is longer than a limit."""
    # Not the whole of a text of megabytes: what is cut off need not be looked at.
    line = " ".join(plain(str(raw)[: 8 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _ACTING:
        return character
    return f"\\u{{{ord(character):x}}}"
