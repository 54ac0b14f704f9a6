"""Rows: a masked, whole sample of one PostgreSQL database for another, and rows that are made up.

What it needs beside the rest of the package is the extra `data`; whoever has it not is told so
when a command of `aegis data` imports any of it.
"""

from importlib.util import find_spec

from aegis_deploy.common.errors import AegisError

_NEEDED = ("faker", "psycopg", "pydantic")

if _missing := [it for it in _NEEDED if find_spec(it) is None]:
    raise AegisError(
        what="aegis data needs libraries that are not installed",
        why=f"missing: {', '.join(_missing)}",
        next='pip install "aegis-deploy[data]"',
    )
