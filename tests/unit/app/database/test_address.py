"""What PostgreSQL is told of a connection."""

from __future__ import annotations

import pytest

from app.database.address import AddressError, connect_arguments, parse


def test_an_address_gets_the_service_s_driver_and_keeps_the_rest() -> None:
    url = parse("postgres://aegis:p%40ss@db.example.org:6432/shop?target_session_attrs=read-write")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port) == (
        "aegis",
        "p@ss",
        "db.example.org",
        6432,
    )
    assert dict(url.query) == {"target_session_attrs": "read-write"}


def test_what_is_wrong_is_told_without_the_password() -> None:
    with pytest.raises(AddressError) as wrong:
        parse("postgresql://aegis:s3cret@db/shop?sslrootcert=/tmp/ca")
    assert "sslrootcert" in str(wrong.value)
    assert "s3cret" not in str(wrong.value)


@pytest.mark.parametrize(
    ("tls", "authority", "mode", "root"),
    [
        ("verify-full", "/ca.pem", "verify-full", "/ca.pem"),
        ("verify-full", None, "verify-full", "system"),
        ("none", None, "disable", None),
    ],
)
def test_the_server_proves_who_it_is_unless_it_is_said_not_to(
    tls: str, authority: str | None, mode: str, root: str | None
) -> None:
    told = connect_arguments(tls=tls, authority=authority, name="x")  # type: ignore[arg-type]
    assert (told["sslmode"], told.get("sslrootcert")) == (mode, root)


def test_everything_that_could_wait_for_ever_ends_by_itself() -> None:
    told = connect_arguments(
        tls="none", authority=None, name="n" * 80, statement_seconds=7, lock_seconds=1
    )
    assert {"connect_timeout", "tcp_user_timeout", "keepalives_idle"} <= set(told)
    options = str(told["options"])
    assert "-c statement_timeout=7000 -c lock_timeout=1000" in options
    assert "-c idle_in_transaction_session_timeout=" in options
    assert len(str(told["application_name"])) == 63
