"""What a database has to be before anything is asked of it."""

from __future__ import annotations

from typing import Any, cast

import pytest

from app.database.identity import UnfitError, read


class Older:
    """A connection to a server that is too old; it is asked for its version and no more."""

    def __init__(self, version: str) -> None:
        self.version = version

    def scalar(self, statement: object) -> str:
        assert str(statement) == "SHOW server_version_num"
        return self.version


@pytest.mark.parametrize(
    ("version", "said"), [("130022", "PostgreSQL 13"), ("90624", "PostgreSQL 9")]
)
def test_a_server_that_is_too_old_is_refused_before_its_tables_are_looked_at(
    version: str, said: str
) -> None:
    with pytest.raises(UnfitError, match=f"the server is {said}, and 14 is the least"):
        read(cast("Any", Older(version)), "aegis-api", production=False)
