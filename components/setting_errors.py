"""What is said about settings that are wrong: what, why, and what to type."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import pulumi

from components.setting_keys import ENVIRONMENTS, Key

_LONGEST_SHOWN = 80


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with the settings.

    Attributes:
        subject: What it is about: a setting's or a variable's name.
        value: What was found, as it may be shown; None when nothing was.
        why: Why it does not do, and what would.
        fix: What to type, or where to write what.
    """

    subject: str
    value: str | None
    why: str
    fix: str

    def __str__(self) -> str:
        found = "" if self.value is None else f" = {_shown(self.value)}"
        return f"  {self.subject}{found}\n    why:   {self.why}\n    next:  {self.fix}"


class SettingsError(pulumi.RunError):
    """The settings are wrong; nothing was registered.

    A ``pulumi.RunError``, so that the engine shows the message and no traceback.

    Attributes:
        stack: The stack they belong to.
        problems: Everything that is wrong.
    """

    def __init__(self, stack: str, problems: Collection[Problem]) -> None:
        self.stack = stack
        self.problems = tuple(problems)
        count = len(self.problems)
        what = "1 setting is" if count == 1 else f"{count} settings are"
        head = f"{what} wrong for stack {stack}; nothing was changed"
        super().__init__("\n".join([head, *map(str, self.problems)]))


def unknown_stack(name: str) -> Problem:
    """The stack is none of the environments."""
    near = get_close_matches(name.lower(), ENVIRONMENTS, n=1, cutoff=0.4)
    best = near[0] if near else ENVIRONMENTS[0]
    return Problem(
        subject="stack",
        value=name,
        why=f"allowed: {', '.join(ENVIRONMENTS)}; the stack's name is its environment",
        fix=f"pulumi stack select --create {best}",
    )


def unknown_key(name: str, known: Collection[str], stack: str) -> Problem:
    """A key of our namespace that no setting has.

    Its value is not shown: it may be a secret under a misspelt name.
    """
    by_lower_case = {key.lower(): key for key in known}
    near = get_close_matches(name.lower(), by_lower_case, n=1, cutoff=0.6)
    hint = f"; the nearest is {by_lower_case[near[0]]}" if near else ""
    return Problem(
        subject=name,
        value=None,
        why=f"is not a setting{hint}",
        fix=f"pulumi config rm --stack {stack} {name}",
    )


def not_read(name: str, read: Collection[str], stack: str) -> Problem:
    """A key of the Kubernetes provider that would silently have no effect."""
    return Problem(
        subject=name,
        value=None,
        why=f"has no effect here; of the provider's settings only {', '.join(read)} have",
        fix=f"pulumi config rm --stack {stack} {name}",
    )


def wrong_value(
    key: Key[Any],
    stack: str,
    text: str | None,
    why: str,
    *,
    variable: str | None = None,
    allowed: str | None = None,
    better: str | None = None,
    fix: str | None = None,
) -> Problem:
    """A setting's value is missing, is not one, or does not go with another.

    Args:
        key: The setting.
        stack: The stack it belongs to.
        text: What was found; None when nothing was.
        why: Why it does not do, worded to follow the value.
        variable: The environment variable it came from, when it did.
        allowed: What would do, where that is narrower than what the setting always allows.
        better: A value that would do, where the setting's example would not.
        fix: What to do, where that is not setting this setting.
    """
    value = better or key.example_for(stack)
    if variable is not None:
        command = f"export {variable}={value}"
    else:
        secret = "--secret " if key.secret else ""
        command = f"pulumi config set --stack {stack} {secret}{key.full_name} {value}"
        if key.everywhere:
            command += "\n           or for every stack: the same under config in Pulumi.yaml"
        if key.variable is not None and text is None:
            command += f"\n           or for this shell: export {key.variable}={value}"
    return Problem(
        subject=variable or key.full_name,
        value="(a secret)" if key.secret and text is not None else text,
        why=f"{why}; allowed: {allowed or key.allowed}",
        fix=fix or command,
    )


def _shown(value: str) -> str:
    if value == "(a secret)":
        return value
    shown = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}..."
    return repr(shown)
