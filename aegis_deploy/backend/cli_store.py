"""What the CLI lists, for a store that cannot be read directly: 0.3 s a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aegis_deploy.backend.history_files import key_of, make_release
from aegis_deploy.model.release import Release
from aegis_deploy.pulumi_cli.engine import Engine


def renamed(
    engine: Engine, reference: str, limit: int | None, names: Sequence[str]
) -> list[Release]:
    """The history, with the keys that the names of its files give.

    Args:
        engine: The CLI.
        reference: The stack's name on its command line.
        limit: How many releases; all when None.
        names: The names of the history's files, oldest first.
    """
    size = len(names) if limit is None else limit
    arguments = ["stack", "history", "--json", "--stack", reference, "--page-size", str(size)]
    raw = list(engine.expect_json(*arguments) or [])
    newest = list(enumerate(names, start=1))[::-1]
    return [
        make_release(number, key_of(name), item)
        for (number, name), item in zip(newest, raw, strict=False)
    ]


def tags(engine: Engine, reference: str) -> Mapping[str, str]:
    """The stack's tags."""
    raw = engine.expect_json("stack", "tag", "ls", "--json", "--stack", reference)
    return {str(name): str(value) for name, value in raw.items()}
