"""Reading a stack's settings one by one, and keeping what is wrong with them until all are read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import pulumi

from components.setting_errors import Problem, wrong_value
from components.setting_keys import PROJECT, Key

T = TypeVar("T")


class Reader:
    """Reads values one by one and keeps what is wrong with them.

    Args:
        environment: The stack's name.
        environ: The process's environment.

    Attributes:
        problems: What is wrong so far.
    """

    def __init__(self, environment: str, environ: Mapping[str, str]) -> None:
        self.environment = environment
        self.environ = environ
        self.problems: list[Problem] = []
        self._config = pulumi.Config(PROJECT)
        self._wrong: set[str] = set()

    def optional(self, key: Key[T]) -> T | None:
        """A setting's value, its default, or None; a wrong one is noted and counts as missing."""
        text = self._config.get(key.name)
        variable = None
        if text is None and key.variable and self.environ.get(key.variable):
            text, variable = self.environ[key.variable], key.variable
        if text is None:
            if key.required:
                self._note(key, wrong_value(key, self.environment, None, "is not set"))
            return key.default
        if key.secret and not pulumi.runtime.is_config_secret(key.full_name):
            self._note(key, wrong_value(key, self.environment, text, "is stored in plain text"))
            return key.default
        try:
            return key.parse(text)
        except ValueError as error:
            self._note(key, wrong_value(key, self.environment, text, str(error), variable=variable))
            return key.default

    def value(self, key: Key[T]) -> T:
        """A setting's value; a wrong or missing one is noted and something fitting stands in.

        What stands in is never used: the reader's problems are raised before anything is made.
        """
        value = self.optional(key)
        return key.parse(key.example_for(self.environment)) if value is None else value

    def right(self, *read: Key[Any]) -> bool:
        """Whether these settings, read before, have nothing wrong with them.

        Asked before one value is held against another: what stands in must not be blamed.
        """
        return not any(key.name in self._wrong for key in read)

    def refuse(
        self,
        key: Key[T],
        value: object,
        why: str,
        *,
        allowed: str | None = None,
        better: str | None = None,
        fix: str | None = None,
    ) -> None:
        """Note that a value, right by itself, does not go with another."""
        problem = wrong_value(
            key, self.environment, str(value), why, allowed=allowed, better=better, fix=fix
        )
        self._note(key, problem)

    def _note(self, key: Key[T], problem: Problem) -> None:
        self._wrong.add(key.name)
        self.problems.append(problem)
