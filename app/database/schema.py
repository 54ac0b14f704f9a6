"""Which code works with which schema: the one rule, and the two who say what they are. Pure.

A database says its revision D and the least head N of code that works with it; code says its head
H, the newest revision it knows, and the least revision M that it works with. They fit when M <= D
and N <= H. Nothing else decides: no downgrade is ever run, so an older release is right as long as
no contract removed what it uses. `schema.json` beside the migrations is what an image says.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parents[1] / "migrations" / "schema.json"


@dataclass(frozen=True, kw_only=True)
class CodeSchema:
    """What code says of itself.

    Attributes:
        head: H, the newest revision it knows; revisions are numbered from 1.
        least: M, the least revision that it works with.
    """

    head: int
    least: int

    def as_json(self) -> dict[str, int]:
        """It as `/version` and the image's label say it."""
        return {"head": self.head, "least": self.least}


@dataclass(frozen=True, kw_only=True)
class DatabaseSchema:
    """What a database says of itself.

    Attributes:
        revision: D, the last revision applied; 0 when none was.
        least_head: N, the least head of code that works with it; 0 when any does.
    """

    revision: int
    least_head: int

    def as_json(self) -> dict[str, int]:
        """It as `/version` says it."""
        return {"revision": self.revision, "leastHead": self.least_head}


def misfit(code: CodeSchema, database: DatabaseSchema) -> str | None:
    """Return why code and a database do not fit, for a person; None when they do."""
    if database.revision < code.least:
        return (
            f"the database is at revision {database.revision}, and this code needs at least "
            f"{code.least}: migrations have to run first"
        )
    if code.head < database.least_head:
        return (
            f"the database works with code of revision {database.least_head} or later, and this "
            f"code is of {code.head}: what it uses was removed"
        )
    return None


@cache
def of_this_code() -> CodeSchema:
    """Return what this image says of itself.

    Raises:
        OSError: The image lacks the file.
    """
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return CodeSchema(head=int(found["head"]), least=int(found["least"]))
