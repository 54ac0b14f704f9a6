"""Whether the service's migrations may run beside the release that serves: `make check` asks.

The SQL of each revision, as its runner sends it, is held against squawk (https://squawkhq.com): an
expand that blocks, renames, takes away or refuses what the release before writes; a contract that
blocks, though taking away is what it is for. Rules of its own are here only for what squawk does
not look at. What is wanted all the same is waived in the revision, where a reviewer sees it:

    waived = {"ban-drop-index": "nothing looks records up by their name since revision 7"}

It is beside the tests, since it proves something of the service and is no part of it: nothing of
it, nor squawk, is in the image.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory

from aegis_deploy.operations import squawk
from app.database.address import connect_arguments
from app.migrate import LIMITS
from app.migrations.history import HistoryError, Kind, Revision
from app.migrations.rendering import render
from app.migrations.runner import revisions

MIGRATIONS = Path(__file__).parents[1] / "app" / "migrations"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a revision must not do, or not say.

    Attributes:
        revision: Its number; 0 where it is about all of them.
        rule: The rule's name, by which it can be waived.
        why: What is wrong.
        statement: The statement's first line.
    """

    revision: int
    rule: str
    why: str
    statement: str = ""

    def __str__(self) -> str:
        """Say it in a line, and the statement in another."""
        which = f"revision {self.revision}" if self.revision else "the revisions"
        return f"{which}: {self.rule}: {self.why}" + (
            f"\n    {self.statement}" if self.statement else ""
        )


@dataclass(frozen=True, kw_only=True)
class _OwnRule:
    """A rule for what squawk does not look at.

    Attributes:
        pattern: How the statements begin that it refuses.
        why: What is wrong with them.
        kinds: The kinds of revision that it is for.
    """

    pattern: str
    why: str
    kinds: tuple[Kind, ...] = ("expand", "contract")


_OWN = {
    "takes-a-table": _OwnRule(
        pattern=r"(TRUNCATE|CLUSTER|LOCK|VACUUM\b[^;]*\bFULL)\b",
        why="nobody reads or writes the table meanwhile",
    ),
    "drops-a-trigger": _OwnRule(
        pattern=r"DROP\s+(EVENT\s+)?TRIGGER\b",
        why="the release before relies on what it does",
        kinds=("expand",),
    ),
    "own-timeout": _OwnRule(
        pattern=r"SET\s+((SESSION|LOCAL)\s+)?(lock|statement)_timeout\b|SELECT\b[^;]*\bset_config\b",
        why="it takes the place of the time limits that every statement of a migration has",
    ),
    "hidden-statement": _OwnRule(
        pattern=r"DO\b", why="nobody looks into its text: write the statements one by one"
    ),
}
NOT_RENDERED, NEEDLESS, NO_REASON = "not-rendered", "needless-waiver", "waiver-without-reason"
NO_LINE = "no-line"


def lint(
    directory: Path = MIGRATIONS, limits: Mapping[str, int] | None = LIMITS
) -> tuple[Finding, ...]:
    """Say what of the revisions in a directory is not to be merged.

    Args:
        directory: What Alembic calls the script location.
        limits: What the runner's connection is told of time; None for one that is told nothing.

    Raises:
        OSError: Squawk is not there.
        RuntimeError: It did not do its work.
    """
    try:
        line = revisions(directory)
    except HistoryError as error:
        return (Finding(revision=0, rule=NO_LINE, why=str(error)),)
    modules = {int(it.revision): it.module for it in ScriptDirectory(directory).walk_revisions()}
    found: list[Finding] = []
    for revision in line:
        waived = getattr(modules[revision.number], "waived", {})
        found += _after_waivers(revision, tuple(_faults(directory, revision, limits)), waived)
    return tuple(found)


def _faults(
    directory: Path, revision: Revision, limits: Mapping[str, int] | None
) -> Iterator[Finding]:
    sql, lacks = render(directory, revision.number)
    # Else what was begun and not rendered to its end would be refused for that.
    sql += "\nCOMMIT;\n" if lacks else ""
    if lacks:
        yield Finding(
            revision=revision.number,
            rule=NOT_RENDERED,
            why=f"it asks a database what to do, so that nobody can look at it before: {lacks}",
        )
    yield from _of_squawk(_timed(limits) + sql, revision)
    for rule, own in _OWN.items():
        if revision.kind not in own.kinds:
            continue
        for match in re.finditer(
            rf"(?:^|;)\s*({own.pattern})", _without_texts(sql), re.IGNORECASE | re.MULTILINE
        ):
            statement = sql[match.start(1) :].partition("\n")[0]
            yield Finding(revision=revision.number, rule=rule, why=own.why, statement=statement)


def _without_texts(sql: str) -> str:
    """Blank what is quoted, in which nothing is a statement; all else stays in its place."""
    quoted = r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$"
    return re.sub(quoted, lambda it: " " * len(it[0]), sql, flags=re.DOTALL)


def _timed(limits: Mapping[str, int] | None) -> str:
    """What a connection's options come to, as statements: they hold before any other is sent."""
    if limits is None:
        return ""
    told = connect_arguments(tls="none", authority=None, name="lint", **limits)["options"]
    settings = re.findall(r"-c (\w+)=(\S+)", str(told))
    return "".join(f"SET {name} = '{value}';\n" for name, value in settings if value != "0")


def _of_squawk(sql: str, revision: Revision) -> Iterator[Finding]:
    against = squawk.findings(
        sql, expand=revision.kind == "expand", name=f"{revision.number:04d}.sql"
    )
    for it in against:
        yield Finding(revision=revision.number, rule=it.rule, why=it.why, statement=it.statement)


def _after_waivers(
    revision: Revision, faults: Sequence[Finding], waived: object
) -> Iterator[Finding]:
    """Leave out what is waived; a waiver gives its reason, and goes with what it waived."""
    occur = {it.rule for it in faults}
    if not isinstance(waived, Mapping):
        yield Finding(
            revision=revision.number, rule=NO_REASON, why="waived is to be {rule: reason}"
        )
        waived = {}
    for rule, reason in waived.items():
        if rule not in occur:
            yield Finding(
                revision=revision.number, rule=NEEDLESS, why=f"{rule} does not occur: remove it"
            )
        elif not str(reason or "").strip():
            yield Finding(
                revision=revision.number, rule=NO_REASON, why=f"{rule} is waived; say why"
            )
    yield from (it for it in faults if it.rule not in waived)


def main() -> int:
    """Lint the service's migrations; return 1 when something is found."""
    found = lint()
    for it in found:
        print(it, file=sys.stderr)  # noqa: T201 - its output is for people
    if found:
        print(  # noqa: T201
            "rules: https://squawkhq.com/docs/rules and docs/database.md, which says how one is "
            "waived",
            file=sys.stderr,
        )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
