"""Reads what is typed after `make TARGET`, so that a slip is said before anything is done.

Make itself takes any name for a variable and hands any value on: without this `make up node=3`
brings up one node, and `make down purge=0` purges.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Mapping

from lab import choices, settings
from lab.errors import EXIT_USAGE, LabError

_FLAG = "1"


def given(makeflags: str) -> dict[str, str]:
    """Return the variables of a command line of make's.

    Args:
        makeflags: MAKEFLAGS as make hands it to what it runs: flags, "--" and the variables, with a
            backslash before a character that is not to part them, and each dollar twice.
    """
    _, parted, rest = f" {makeflags}".partition(" -- ")
    words = re.findall(r"(?:\\.|[^\\\s])+", rest) if parted else []
    plain = [re.sub(r"\\(.)", r"\1", word).replace("$$", "$") for word in words]
    return {name: value for name, sign, value in (word.partition("=") for word in plain) if sign}


def check(variables: Mapping[str, str]) -> None:
    """Check that variables are known and can be used; an empty one counts as left out.

    What is written in capitals is the Makefile's own, and whoever sets it knows that.

    Args:
        variables: Name -> value.

    Raises:
        LabError: One is not; the message names it, its value and what is allowed.
    """
    for name, value in variables.items():
        if name.isupper():
            continue
        if name not in _KNOWN:
            near = difflib.get_close_matches(name, _KNOWN, n=1)
            raise LabError(
                what=f"{name}={value} is no variable of this Makefile",
                why=f"known are {', '.join(f'{it}=' for it in _KNOWN)}",
                next=f"{near[0]}={value}, if that was meant; `make` lists what each target takes"
                if near
                else "`make` lists what each target takes",
                code=EXIT_USAGE,
            )
        if value:
            _KNOWN[name](name, value)


def _free(_name: str, _value: str) -> None:
    """Take a value that another program reads."""


def _flag(name: str, value: str) -> None:
    if value != _FLAG:
        raise _cannot(name, value, f"it is {_FLAG} or left out", f"{name}={_FLAG}, or nothing")


def _workers(name: str, value: str) -> None:
    number = value.isascii() and value.isdigit() and int(value) >= 1
    if not number and value not in ("auto", "logical"):
        why = "it is a whole number of at least 1, auto (one a core) or logical (one a processor)"
        raise _cannot(name, value, why, f"{name}=2")


def _cannot(name: str, value: str, why: str, fix: str) -> LabError:
    return LabError(what=f"{name}={value} cannot be used", why=why, next=fix, code=EXIT_USAGE)


_KNOWN: Mapping[str, Callable[[str, str], object]] = {
    "args": _free,
    "before": _free,
    "e2e": _flag,
    "ingress": lambda name, value: choices.ingress(value, name),
    "name": _free,
    "nodes": lambda name, value: settings.node_count(value, f"{name}="),
    "plugins": lambda _, value: choices.plugins(value),
    "purge": _flag,
    "since": _free,
    "tools": lambda _, value: choices.tools(value),
    "workers": _workers,
}


def main() -> int:
    """Check this process's own, as make gave them, and return an exit code."""
    try:
        check(given(os.environ.get("MAKEFLAGS", "")))
    except LabError as error:
        sys.stderr.write(f"\n{error}\n")
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
