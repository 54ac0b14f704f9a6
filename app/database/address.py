"""Where the database is and how the way there is secured. Pure, and silent about the password."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

Tls = Literal["verify-full", "none"]

_SCHEMES = ("postgresql", "postgres")
_OF_THE_SERVICE = ("ssl", "options", "connect_timeout", "application_name", "pass", "user", "host")
"""Parameters, or beginnings of their names, that the service sets itself."""
_CONNECT_SECONDS = 3
_STATEMENT_SECONDS = 5
_LOCK_SECONDS = 2
_IDLE_SECONDS = 10
_SILENT_SECONDS = 6


class AddressError(ValueError):
    """An address is not one of a database. Says what is wrong, never the address."""


def parse(address: str) -> URL:
    """Read a database's address, such as ``postgresql://user:password@host:5432/name``.

    Args:
        address: It.

    Returns:
        It, in the form that SQLAlchemy wants, with its driver.

    Raises:
        AddressError: It is none, or says what is not its own to say.
    """
    # A service without a database need not load what it would take.
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise AddressError("must be postgresql://user:password@host:port/name") from None
    if url.drivername not in _SCHEMES:
        raise AddressError(f"must begin with {_SCHEMES[0]}://, not another scheme")
    lacks = [name for name in ("username", "host", "database") if not getattr(url, name)]
    if lacks:
        raise AddressError(f"must be postgresql://user:password@host:port/name; {lacks[0]} lacks")
    taken = sorted(key for key in url.query if key.startswith(_OF_THE_SERVICE))
    if taken:
        raise AddressError(
            f"must not set {taken[0]}: TLS is AEGIS_DATABASE_TLS and AEGIS_DATABASE_CA, "
            "the rest is the service's own"
        )
    return url.set(drivername="postgresql+psycopg")


def connect_arguments(
    *,
    tls: Tls,
    authority: str | None,
    name: str,
    statement_seconds: int = _STATEMENT_SECONDS,
    lock_seconds: int = _LOCK_SECONDS,
) -> Mapping[str, str | int]:
    """Return what libpq is told beside the address.

    Everything ends by itself: a database that is cut off is noticed after some seconds, not when
    the kernel gives up after a quarter of an hour.

    Args:
        tls: Whether the server must prove who it is, or nothing is encrypted.
        authority: The file with the certificate authority's certificate; None for the system's.
        name: What the server's own views call the connection.
        statement_seconds: After how long the server ends a statement; 0 never.
        lock_seconds: How long a statement may wait for a lock.
    """
    seconds = {
        "statement_timeout": statement_seconds,
        "lock_timeout": lock_seconds,
        "idle_in_transaction_session_timeout": _IDLE_SECONDS,
    }
    options = " ".join(f"-c {key}={value * 1000}" for key, value in seconds.items())
    arguments: dict[str, str | int] = {
        "application_name": name[:63],
        "connect_timeout": _CONNECT_SECONDS,
        "keepalives_idle": _SILENT_SECONDS,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": _SILENT_SECONDS * 1000,
        "options": f"{options} -c timezone=UTC",
        "sslmode": "disable" if tls == "none" else tls,
    }
    if tls != "none":
        arguments["sslrootcert"] = authority or "system"
    return arguments
