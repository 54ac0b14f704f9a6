"""The service's PostgreSQL, given by its address or the stack's own: how its pods reach it."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from aegis_deploy.model.database.dataset import database_of, short
from aegis_deploy.model.database.schema import CodeSchema
from components.labels import POSTGRES

SCHEMES = ("postgresql", "postgres")
USUAL_PORT = 5432
URL = "AEGIS_DATABASE_URL"
PASSWORD_KEY = "password"  # noqa: S105 - its name in the Secret of the stack's own server
CA_FILE = "ca.pem"
CA_KEY = "DATABASE_CA_PEM"
"""The authority's certificate in the ConfigMap, which is no setting of the service's."""
CA_DIRECTORY = "/etc/aegis/database"
_OWN_ROLE, _OWN_NAME = "aegis", "aegis"
_OF_THE_SERVICE = ("ssl", "options", "connect_timeout", "application_name", "pass", "user", "host")


def parse_schema(text: str) -> CodeSchema:
    """Read ``12/9``: the newest revision that an image's code knows, and the least it works with.

    A third, as in ``12/9/7``, is the newest that cannot be gone back past.

    Raises:
        ValueError: It is not that; the message is worded to follow the value.
    """
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})(?:/([0-9]{1,9}))?", text)
    if found is None:
        raise ValueError("is not two or three whole numbers with a slash between them")
    head, least, irreversible = int(found[1]), int(found[2]), int(found[3] or 0)
    if max(least, irreversible) > head:
        raise ValueError("says that the code needs a revision that it does not know")
    return CodeSchema(head=head, least=least, irreversible=irreversible)


@dataclass(frozen=True, kw_only=True)
class Database:
    """A PostgreSQL, outside the stack or its own.

    Attributes:
        address: Its address, with the password; of the stack's own without it, which nobody knows
            before it is made.
        authority: The certificate of the authority that signed its own, PEM; None for the system's.
        schema: Which databases the release's code works with.
        server: Its pods, by the label that selects them, and its Secret, where it is the stack's
            own; None means that it is outside.
        dataset: The data set that it is of; None where it is of none.
    """

    address: str = field(repr=False)
    authority: str | None = field(default=None, repr=False)
    schema: CodeSchema
    server: str | None = None
    dataset: str | None = None

    @property
    def host(self) -> str:
        """What it is called in the network."""
        return urlsplit(self.address).hostname or ""

    @property
    def user(self) -> str:
        """The service's role."""
        return urlsplit(self.address).username or ""

    @property
    def home(self) -> str:
        """What the server's first database is called, which is of no data set."""
        return urlsplit(self.address).path.strip("/")

    @property
    def name(self) -> str:
        """What it is called on its server."""
        return self.home if self.dataset is None else database_of(self.home, self.dataset)

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.address).port or USUAL_PORT

    @property
    def secret(self) -> str | None:
        """The Secret that has the address of the stack's own; None where it is outside."""
        if self.server is None or self.dataset is None:
            return self.server
        return f"{self.server}-{short(self.dataset)}"

    @property
    def place(self) -> str:
        """Which one it is: its host and its name, without the account."""
        parts = urlsplit(self.address)
        return f"{parts.hostname}:{self.port}/{self.name}"

    def plain_environment(self) -> dict[str, str]:
        """What anybody may read of its settings."""
        if self.server is not None:
            return {"AEGIS_DATABASE_TLS": "none"}
        if self.authority is None:
            return {}
        return {"AEGIS_DATABASE_CA": f"{CA_DIRECTORY}/{CA_FILE}", CA_KEY: self.authority}

    def secret_environment(self) -> dict[str, str]:
        """What nobody may read of them, as far as it is known; see :meth:`own_secret`."""
        return {} if self.server is not None else {URL: self.address}

    def own_secret(self, password: str) -> dict[str, str]:
        """What the stack's own Secret has for the service.

        Args:
            password: The password of the service's role, fit for an address.
        """
        account, at, rest = self.address.partition("@")
        return {URL: f"{account}:{password}{at}{rest}"}

    def address_with(self, password: str, role: str | None = None) -> str:
        """The database's address with a password in it.

        Args:
            password: It, fit for an address, or what stands for it.
            role: As whom; None: as the service.
        """
        return f"postgresql://{role or self.user}:{password}@{self.host}:{self.port}/{self.name}"


def own_database(schema: CodeSchema, dataset: str | None = None) -> Database:
    """The database in the stack's own namespace.

    Args:
        schema: Which databases the release's code works with.
        dataset: The data set that it is of; None for the server's first database.
    """
    address = f"postgresql://{_OWN_ROLE}@{POSTGRES}:{USUAL_PORT}/{_OWN_NAME}"
    return Database(address=address, schema=schema, server=POSTGRES, dataset=dataset)


def parse_address(text: str) -> str:
    """Read a database's address; return it.

    Raises:
        ValueError: It is none; the message is worded to follow a value that is not shown.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("is an address whose port is no number") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("is not an address that begins with postgresql://")
    if not parts.username or not parts.hostname or not parts.path.strip("/") or port == 0:
        raise ValueError("is an address without a user, a host or a database's name")
    taken = [it for it in parts.query.split("&") if it.startswith(_OF_THE_SERVICE)]
    if taken:
        name = taken[0].partition("=")[0]
        raise ValueError(f"sets {name}, which the service sets itself")
    return text


def read_authority(path: Path) -> str:
    """Read a certificate in PEM.

    Args:
        path: Its file.

    Raises:
        ValueError: It cannot be read, or is none; the message is worded to follow the path.
    """
    try:
        text = path.read_text(encoding="ascii")
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):  # The former is an OSError.
        raise ValueError("is not a certificate in PEM") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return text
