"""The one way to squawk (https://squawkhq.com), which says what SQL would do to whoever serves.

It is a tool of who develops, and often not there: whoever asks says so and goes on.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_SERVER = "14.0"
"""The oldest PostgreSQL that the service works with (docs/database.md)."""
TIMEOUTS = "require-timeout-settings"
"""The rule about what a connection may have set, which the SQL does not show."""
_FOUND = 1
_SECONDS = 30
_TASTE = (
    "ban-char-field",
    "prefer-bigint-over-int",
    "prefer-bigint-over-smallint",
    "prefer-identity",
    "prefer-text-field",
    "prefer-timestamp-tz",
)
"""Which type a column should have: no release that runs is harmed by the other one."""
_OF_THE_RELEASE_BEFORE = (
    "ban-alter-row-level-security",
    "ban-disable-trigger",
    "ban-drop-index",
    "ban-drop-policy",
    "ban-new-write-restriction",
    "ban-replace-view-function",
    "ban-revoke",
)
"""What squawk looks at only when it is asked to: it may take from the release before what it uses,
as an expand must not."""
_TAKES_AWAY = "ban-drop-"
"""Squawk's rules that begin so are about what a contract is for; but for this one."""
_NEVER = "ban-drop-database"
_OF_A_NEW_COLUMN = "A new column constraint"
"""What `ban-new-write-restriction` begins with when it is about a column that the release before
does not know, and so never writes: that one without a default is refused by another rule."""
_OWN_WAIVER = "squawk-ignore"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that squawk has against a statement.

    Attributes:
        rule: Its rule's name.
        why: What is wrong, in its words.
        line: The line of the SQL, from 0.
        statement: That line.
    """

    rule: str
    why: str
    line: int
    statement: str


def findings(
    sql: str, *, expand: bool, name: str, without: Collection[str] = ()
) -> Iterator[Finding]:
    """Say what squawk has against a revision's SQL, but for what its kind is for.

    Args:
        sql: The SQL.
        expand: Whether the release before has to work after it; a contract may take away.
        name: What its file is called.
        without: Rules that are not asked.

    Raises:
        OSError: Squawk is not there.
        RuntimeError: It did not do its work.
    """
    # It would be a waiver that nobody reviews as one.
    sql = sql.replace(_OWN_WAIVER, "")
    try:
        ran = subprocess.run(
            [
                _executable(),
                f"--pg-version={OLDEST_SERVER}",
                "--reporter=json",
                # Not one that lies about in some directory above.
                "--config=/dev/null",
                f"--exclude={','.join((*_TASTE, *without))}",
                *([f"--include={','.join(_OF_THE_RELEASE_BEFORE)}"] if expand else []),
                f"--stdin-filepath={name}",
            ],
            input=sql,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"squawk: no end after {_SECONDS} s") from error
    if ran.returncode not in (0, _FOUND):
        raise RuntimeError(f"squawk: exit {ran.returncode}: {ran.stderr.strip()}")
    lines = sql.splitlines()
    for it in json.loads(ran.stdout):
        rule, why, line = str(it["rule_name"]), str(it["message"]), int(it["line"])
        allowed = not expand and rule.startswith(_TAKES_AWAY) and rule != _NEVER
        if not allowed and not why.startswith(_OF_A_NEW_COLUMN):
            yield Finding(rule=rule, why=why, line=line, statement=lines[line].strip())


def _executable() -> str:
    """Where it is: beside this interpreter, for the package has it, or wherever the system looks.

    Raises:
        FileNotFoundError: Nowhere.
    """
    beside = Path(sysconfig.get_path("scripts")) / "squawk"
    found = str(beside) if beside.exists() else shutil.which("squawk")
    if found is None:
        raise FileNotFoundError("squawk is not installed here")
    return found
