"""Where a database is, and what may be said of an error."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data.connection import address_of, advice, key_of, said, worded


class TestAnAddress:
    """By a variable, a file, or without a password."""

    def test_is_read_from_a_variable_or_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = "postgresql://me:hunter4@db.example:5433/shop?sslmode=require"
        (tmp_path / "url").write_text(f"{url}\n")
        monkeypatch.setenv("WHERE", url)
        for given in ("env:WHERE", f"file:{tmp_path}/url"):
            found = address_of(given, "--from")
            assert found.shown == "shop on db.example:5433"
            assert "hunter4" not in repr(found)
            assert found.environment() == {
                "PGHOST": "db.example",
                "PGPORT": "5433",
                "PGUSER": "me",
                "PGPASSWORD": "hunter4",
                "PGDATABASE": "shop",
                "PGSSLMODE": "require",
            }

    @pytest.mark.parametrize(
        "given",
        [
            "postgresql://me:hunter4@db/shop",
            "host=db password=hunter4",
            "postgresql://db/shop?password=hunter4",
            "postgresql://me:hunter4@db:port:port/x",
            "host=db password='hunter4",
        ],
    )
    def test_with_a_password_in_an_argument_is_refused_and_not_shown(self, given: str) -> None:
        with pytest.raises(AegisError) as caught:
            address_of(given, "--from")
        assert caught.value.code is ExitCode.USAGE
        assert "hunter4" not in str(caught.value)
        assert "--from env:NAME" in caught.value.next

    def test_without_one_is_taken(self) -> None:
        assert address_of("postgresql://me@db/shop", "--from").shown == "shop on db"

    @pytest.mark.parametrize("given", ["env:AEGIS_NOT_THERE", "file:/not/there", "env:EMPTY"])
    def test_that_is_not_there_is_refused(
        self, given: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EMPTY", " \n")
        with pytest.raises(AegisError, match="names nothing that can be used"):
            address_of(given, "--from")


def test_a_key_is_never_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "the key\n")
    assert key_of("env:KEY") == b"the key"
    with pytest.raises(AegisError) as caught:
        key_of("hunter4-and-more")
    assert "hunter4" not in str(caught.value)


class TestWhatIsSaid:
    """Of an error of PostgreSQL's."""

    @pytest.mark.parametrize(
        ("kind", "shown"),
        [
            (psycopg.errors.UniqueViolation, False),
            (psycopg.errors.InvalidTextRepresentation, False),
            (psycopg.errors.RaiseException, False),
            (psycopg.errors.InternalError_, False),
            (psycopg.errors.InsufficientPrivilege, True),
            (psycopg.errors.DiskFull, True),
        ],
    )
    def test_holds_a_message_only_where_no_value_can_be_in_it(
        self, kind: type[psycopg.Error], shown: bool
    ) -> None:
        error = kind("x")
        text = said(error)
        assert (error.sqlstate or "") in text
        assert kind.__name__ in text or shown

    def test_of_bytes_that_are_no_text_holds_none_of_them(self) -> None:
        with pytest.raises(AegisError) as caught, worded("it failed", where="t"):
            b"secret \xff".decode()
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize(
        ("kind", "what"),
        [
            (psycopg.errors.DiskFull, "make room"),
            (psycopg.errors.OutOfMemory, "max_locks_per_transaction"),
            (psycopg.errors.AdminShutdown, "see that the server answers"),
            (psycopg.errors.SerializationFailure, "hot_standby_feedback"),
            (psycopg.OperationalError, "see that the server answers"),
            (psycopg.errors.CheckViolation, "mend that"),
        ],
    )
    def test_comes_with_what_to_do(self, kind: type[psycopg.Error], what: str) -> None:
        assert what in advice(kind("x"))
