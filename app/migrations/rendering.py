"""The SQL of a revision as a run would send it: for whoever looks before anything runs."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

from alembic import command
from alembic.config import Config

_AROUND = (
    "BEGIN;",
    "COMMIT;",
    "-- Running upgrade",
    "UPDATE alembic_version",
    "INSERT INTO alembic_version",
)


def render(directory: Path, number: int) -> tuple[str, str]:
    """Return the SQL of one revision, and why it is not all of it; empty when it is.

    Args:
        directory: Where the revisions are.
        number: The revision's.
    """
    written = StringIO()
    config = Config(output_buffer=written)
    config.set_main_option("script_location", str(directory))
    config.attributes |= {"connection": None, "on_apply": ()}
    before = f"{number - 1:04d}" if number > 1 else "base"
    try:
        command.upgrade(config, f"{before}:{number:04d}", sql=True)
    except Exception as error:  # A revision is any code, and may ask a database.
        return written.getvalue(), f"{type(error).__name__}: {error}"
    return written.getvalue(), ""


def statements(sql: str) -> tuple[str, ...]:
    """Return the lines of a revision's SQL that are its own, not what Alembic puts around them."""
    lines = (it.rstrip() for it in sql.splitlines())
    return tuple(it for it in lines if it and not it.startswith(_AROUND))
