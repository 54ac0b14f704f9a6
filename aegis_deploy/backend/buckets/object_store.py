"""The place of a store's files, by key: one protocol for directories, S3, Google, Azure, Postgres.

Every one is opened with the URL that `pulumi login` takes, and finds its credentials where the CLI
finds them. The libraries that speak to them are extras, imported when such a store is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import SplitResult, parse_qs, urlsplit

from aegis_deploy.common.errors import AegisError

DISTRIBUTION = "aegis-deploy"
_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


@dataclass(frozen=True)
class ObjectEntry:
    """An object in a listing.

    Attributes:
        key: Its key, below the store's own root.
        modified: When it was written; only to be compared with its neighbours, and only where the
            listing named the beginning of its name.
    """

    key: str
    modified: float = 0.0

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.rpartition("/")[2]


class Bucket(Protocol):
    """Where objects are, by key. Reading never creates anything."""

    beat_seconds: float
    """How often a claim should beat here, given what writing one costs."""
    shell: str | None
    """What stands before ``cp`` and ``mv`` in a person's shell; None where nothing does it."""

    def require(self) -> None:
        """Make sure that it is there.

        Raises:
            AegisError: It cannot be reached.
        """

    def mend(self, start: str) -> None:
        """Take away what a writer that was killed left half-written beside objects.

        Args:
            start: What the objects' keys begin with.
        """

    def require_room(self, key: str) -> None:
        """See that there is room for what an update writes, as far as that can be seen.

        Args:
            key: The state's key.

        Raises:
            AegisError: There is not.
        """

    def list(self, start: str) -> list[ObjectEntry]:
        """The objects whose keys begin so and have no slash after that, in order."""

    def read(self, key: str, size: int | None = None) -> bytes:
        """An object's content, or its first bytes.

        Raises:
            FileNotFoundError: There is none.
        """

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:
        """The content of many, or why one of them cannot be read."""

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:
        """Replace an object, unless it is no longer what it was; False when it is not.

        Args:
            key: Its key.
            before: What it was; None means that there is none.
            after: What to write; None takes it away.
        """

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""

    def is_own(self, start: str) -> bool:
        """Whether only processes of this very kernel can have written what begins so."""

    def place(self, key: str) -> str:
        """Where an object is, for a person."""


@dataclass(frozen=True)
class Address:
    """A backend's URL, taken apart.

    Attributes:
        host: The bucket, the container, the database's host.
        prefix: What every key begins with; ends in a slash unless it is empty.
        options: The query, the last value of each.
    """

    host: str
    prefix: str
    options: Mapping[str, str]

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart the way the CLI does."""
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        return cls(
            host=parts.netloc.rpartition("@")[2],
            prefix=f"{prefix}/" if prefix else "",
            options={name: values[-1] for name, values in parse_qs(parts.query).items()},
        )

    def flag(self, *names: str) -> bool:
        """Whether one of these options is true, in the words Go takes for it."""
        return any(self.options.get(name, "") in _TRUE for name in names)


def swap(bucket: Bucket, key: str, before: bytes | None, after: bytes | None) -> bool:
    """Replace an object as `Bucket.swap` does, unless it is already what it was to become.

    The libraries repeat a request whose answer was lost. The first one may have been done, and then
    the second one is refused for the first one's sake
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
    """
    if bucket.swap(key, before, after):
        return True
    try:
        return bucket.read(key) == after
    except FileNotFoundError:
        return after is None


def need(module: str, extra: str) -> Any:  # noqa: ANN401 - whatever the library is
    """Import a library that only one kind of store needs.

    Raises:
        AegisError: It is not installed; the message names what to type.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise AegisError(
            what=f"this backend needs the library {module.partition('.')[0]}, which is missing",
            why=str(error),
            next=f'pip install "{DISTRIBUTION}[{extra}]"',
        ) from error


def unreachable(url: str, error: Exception) -> AegisError:
    """What to tell when a store does not answer, or does not let us in."""
    said = str(error).strip() or type(error).__name__
    return AegisError(
        what="the backend cannot be reached",
        why=f"{shown_url(url)}: {said}",
        next="see that PULUMI_BACKEND_URL names the backend, and that `pulumi stack ls` works",
    )


def shown_url(url: str) -> str:
    """A backend's URL without the password that may be in it."""
    parts = urlsplit(url)
    hidden = password_of(url)
    if hidden is None:
        return url
    return parts._replace(netloc=parts.netloc.replace(f":{hidden}@", ":****@")).geturl()


def password_of(url: str) -> str | None:
    """The password in a URL, as it is written there; None when there is none."""
    account, at, _ = _authority(url).rpartition("@")
    _, colon, hidden = account.partition(":")
    return hidden if at and colon and hidden else None


def _authority(url: str) -> str:
    parts: SplitResult = urlsplit(url)
    return parts.netloc
