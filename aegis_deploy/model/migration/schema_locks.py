"""Which locks PostgreSQL takes for a statement, as far as its kind tells. Pure.

From PostgreSQL's own pages: 13.3 Explicit Locking
(https://www.postgresql.org/docs/current/explicit-locking.html), ALTER TABLE, CREATE TABLE,
DROP INDEX and CREATE TRIGGER. A rehearsal sees the locks themselves (docs/schema.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MODES = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""The modes of table locks, the weakest first."""
_READS, _WRITES, _GENTLE, _SHARE, _ROWS, _EXCLUSIVE, _ALL = MODES[0], *MODES[2:]
_NAME = r'(?:ONLY\s+)?(?P<table>(?:"[^"]+"|[\w$]+)(?:\.(?:"[^"]+"|[\w$]+))*)'
_THERE = r"(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
_REFERENCES = re.compile(rf"\bREFERENCES\s+{_NAME}", re.IGNORECASE)
_KINDS = (
    (rf"DROP\s+TABLE\s+{_THERE}{_NAME}", _ALL),
    (rf"TRUNCATE\s+(?:TABLE\s+)?{_NAME}", _ALL),
    (rf"DROP\s+(?:TRIGGER|RULE|POLICY)\s+{_THERE}\S+\s+ON\s+{_NAME}", _ALL),
    (rf"(?:CREATE|ALTER)\s+POLICY\s+\S+\s+ON\s+{_NAME}", _ALL),
    (rf"CREATE\s+(?:OR\s+REPLACE\s+)?RULE\b.*?\bTO\s+{_NAME}", _ALL),
    (rf"CREATE\s+(?:OR\s+REPLACE\s+)?(?:CONSTRAINT\s+)?TRIGGER\b.*?\bON\s+{_NAME}", _ROWS),
    (rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\b.*?\bON\s+{_NAME}", _GENTLE),
    (rf"CREATE\s+(?:UNIQUE\s+)?INDEX\b.*?\bON\s+{_NAME}", _SHARE),
    (rf"REINDEX\s+TABLE\s+CONCURRENTLY\s+{_NAME}", _GENTLE),
    (rf"REINDEX\s+TABLE\s+{_NAME}", _SHARE),
    (rf"(?:CLUSTER|VACUUM\s*(?:\(.*?\bFULL\b.*?\)|FULL))\s+{_NAME}", _ALL),
    (rf"(?:VACUUM|ANALYZE)\s+(?:\(.*?\)\s+)?{_NAME}", _GENTLE),
    (rf"REFRESH\s+MATERIALIZED\s+VIEW\s+CONCURRENTLY\s+{_NAME}", _EXCLUSIVE),
    (rf"(?:REFRESH|DROP)\s+MATERIALIZED\s+VIEW\s+{_THERE}{_NAME}", _ALL),
    (rf"(?:DROP|ALTER)\s+VIEW\s+{_THERE}{_NAME}", _ALL),
    (rf"COMMENT\s+ON\s+TABLE\s+{_NAME}", _GENTLE),
    (rf"(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM|MERGE\s+INTO)\s+{_NAME}", _WRITES),
)
_OF_AN_INDEX = (
    (rf"DROP\s+INDEX\s+CONCURRENTLY\s+{_THERE}{_NAME}", _GENTLE),
    (rf"DROP\s+INDEX\s+{_THERE}{_NAME}", _ALL),
)
"""What names an index alone locks the table that it is of, which the statement does not name."""
_GENTLE_ACTIONS = re.compile(
    r"VALIDATE\s+CONSTRAINT|ALTER\s+(COLUMN\s+)?\S+\s+(SET\s+STATISTICS|SET\s*\(|RESET\s*\()|"
    r"CLUSTER\s+ON|SET\s+WITHOUT\s+CLUSTER|ATTACH\s+PARTITION|DETACH\s+PARTITION\b.*\bCONCURRENTLY|"
    r"(SET|RESET)\s*\(\s*(fillfactor|autovacuum|toast\.|parallel_workers)",
    re.IGNORECASE | re.DOTALL,
)
_ROWS_ACTIONS = re.compile(
    r"ADD\s+(CONSTRAINT\s+\S+\s+)?FOREIGN\s+KEY|(ENABLE|DISABLE)\s+TRIGGER", re.IGNORECASE
)
_ALTER = re.compile(rf"ALTER\s+TABLE\s+{_THERE}{_NAME}\s*(?:\*\s*)?", re.IGNORECASE)
_CREATE = re.compile(
    rf"CREATE\s+(?:UNLOGGED\s+|TEMP\s+|TEMPORARY\s+)?(?:TABLE|MATERIALIZED\s+VIEW)\s+{_THERE}{_NAME}",
    re.IGNORECASE,
)
_LOCK = re.compile(
    rf"LOCK\s+(?:TABLE\s+)?{_NAME}(?:\s+IN\s+(?P<mode>[A-Z ]+?)\s+MODE)?", re.IGNORECASE
)
_QUOTED = re.compile(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|--[^\n]*", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock that a statement takes on a table that was there before.

    Attributes:
        mode: Its mode, as PostgreSQL's pages call it.
        table: The table; what names an index alone locks that index's.
    """

    mode: str
    table: str

    @property
    def waits(self) -> str:
        """Who waits as long as it is held."""
        if self.mode == _ALL:
            return "reads and writes wait"
        return "writes wait" if MODES.index(self.mode) >= MODES.index(_SHARE) else "nobody waits"

    def __str__(self) -> str:
        """Say it to a person."""
        return f"{self.mode} on {self.table}: {self.waits}"


def of_sql(sql: Sequence[str]) -> tuple[Lock, ...]:
    """Return the locks that a revision's statements take, the strongest of each table.

    Of tables that it makes itself it takes them, too, and nobody else knows them yet.

    Args:
        sql: Its statements, in lines.
    """
    new: set[str] = set()
    strongest: dict[str, str] = {}
    text = _QUOTED.sub(lambda it: " " * len(it[0]), "\n".join(sql))
    for statement in filter(None, map(str.strip, text.split(";"))):
        made = _CREATE.match(statement)
        if made is not None:
            new.add(_plain(made["table"]))
        for table, mode in _of_statement(statement):
            if _plain(table) in new:
                continue
            known = strongest.get(_plain(table), MODES[0])
            strongest[_plain(table)] = max(known, mode, key=MODES.index)
    return tuple(Lock(mode=mode, table=table) for table, mode in strongest.items())


def _of_statement(statement: str) -> Iterator[tuple[str, str]]:
    for found in _REFERENCES.finditer(statement):
        if _CREATE.match(statement) or _ALTER.match(statement):
            yield found["table"], _ROWS
    altered = _ALTER.match(statement)
    if altered is not None:
        yield altered["table"], _of_actions(statement[altered.end() :])
        return
    locked = _LOCK.match(statement)
    if locked is not None:
        mode = " ".join((locked["mode"] or _ALL).upper().split())
        yield locked["table"], mode if mode in MODES else _ALL
        return
    for pattern, mode in _OF_AN_INDEX:
        if index := re.match(pattern, statement, re.IGNORECASE):
            yield f"the table of index {_plain(index['table'])}", mode
            return
    for pattern, mode in _KINDS:
        if kind := re.match(pattern, statement, re.IGNORECASE | re.DOTALL):
            yield kind["table"], mode
            return


def _of_actions(text: str) -> str:
    """The lock of an ALTER TABLE: the strongest of its actions'."""
    modes = []
    # A comma inside parentheses parts no actions.
    for action in re.split(r",(?![^()]*\))", text):
        if _GENTLE_ACTIONS.match(action.strip()):
            modes.append(_GENTLE)
        else:
            modes.append(_ROWS if _ROWS_ACTIONS.match(action.strip()) else _ALL)
    return max(modes, key=MODES.index)


def _plain(name: str) -> str:
    """A table's name without quotes, in the case that the server has it."""
    parts = re.findall(r'"([^"]+)"|([^".]+)', name)
    return ".".join(quoted or plain.lower() for quoted, plain in parts)
