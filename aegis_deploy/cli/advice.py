"""Commands that are advised name the stack that was worked on. Pure.

Whoever typed ``--stack`` may have selected another one, and types what the advice says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_COMMAND = re.compile(
    r"\baegis (?:deploy|rollback|history|show|diff|status|drift|recover|report|gate check"
    r"|config restore|migrate (?:contract|rehearse))\b(?!-)(?: \d+\b| --to \w+| --take-lock\b)*"
)
_NAMES = re.compile(r" --(?:stack|help)\b")
_CLAUSE = re.compile(r"[^;,`\n]*?(?=[;,`\n]|\baegis |$)")
_LONG, _SHORT = "--stack", "-s"


def named(text: str, stack: str | None) -> str:
    """Return an advice whose commands name a stack.

    Args:
        text: The advice.
        stack: The stack; None where it was not named when what failed was typed.
    """
    if stack is None:
        return text

    def name(found: re.Match[str]) -> str:
        rest = _CLAUSE.match(text, found.end())
        known = rest is not None and _NAMES.search(rest[0])
        return found[0] if known else f"{found[0]} {_LONG} {stack}"

    return _COMMAND.sub(name, text)


def stack_of(arguments: Sequence[str]) -> str | None:
    """Return the one stack that a command line names; None where it names none, or several.

    Args:
        arguments: The command line, without the program's name.
    """
    found = [
        value
        for place, word in enumerate(arguments)
        for value in [_value(word, arguments[place + 1 : place + 2])]
        if value
    ]
    return found[0] if len(found) == 1 else None


def _value(word: str, following: Sequence[str]) -> str:
    if word in (_LONG, _SHORT):
        return "".join(following)
    if word.startswith(f"{_LONG}="):
        return word.removeprefix(f"{_LONG}=")
    return word[2:] if word.startswith(_SHORT) and not word.startswith("--") else ""
