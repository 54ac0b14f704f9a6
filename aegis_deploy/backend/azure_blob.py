"""Azure Blob Storage, with the URL and the environment that the CLI takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aegis_deploy.backend.object_store import Address, ObjectEntry, need, read_each, unreachable
from aegis_deploy.common.errors import AegisError

_EXTRA = "azblob"
_DOMAIN = "blob.core.windows.net"
_LOCAL = ("127.0.0.1", "localhost")


@dataclass
class AzblobBucket:
    """A container of Azure Blob Storage.

    Attributes:
        url: Its address, ``azblob://container/prefix?storage_account=...``.
        environment: The environment the CLI runs with.
    """

    url: str
    environment: Mapping[str, str] = field(repr=False)
    beat_seconds: float = 10.0
    copy_command: str = ""

    def __post_init__(self) -> None:
        self._blobs = need("azure.storage.blob", _EXTRA)
        self._errors = need("azure.core.exceptions", _EXTRA)
        self._at = Address.of(self.url)

    def require(self) -> None:  # noqa: D102 - the protocol says it
        try:
            next(iter(self._container.list_blobs(results_per_page=1)), None)
        except self._errors.AzureError as error:
            raise unreachable(self.url, error) from error

    def list(self, start: str) -> list[ObjectEntry]:  # noqa: D102
        try:
            listed = self._container.walk_blobs(
                name_starts_with=self._at.prefix + start, delimiter="/"
            )
            return [
                ObjectEntry(item.name.removeprefix(self._at.prefix), item.last_modified.timestamp())
                for item in listed
                if isinstance(item, self._blobs.BlobProperties)
            ]
        except self._errors.AzureError as error:
            raise unreachable(self.url, error) from error

    def read(self, key: str, size: int | None = None) -> bytes:  # noqa: D102
        try:
            part = {} if size is None else {"offset": 0, "length": size}
            found = self._container.download_blob(self._at.prefix + key, **part)
            return bytes(found.readall())
        except self._errors.ResourceNotFoundError as error:
            raise FileNotFoundError(self.place(key)) from error
        except self._errors.AzureError as error:
            raise unreachable(self.url, error) from error

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:  # noqa: D102
        return read_each(self.read, keys)

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        blob = self._container.get_blob_client(self._at.prefix + key)
        try:
            same: dict[str, Any] = {}
            if before is not None:
                found = blob.download_blob()
                if found.readall() != before:
                    return False
                match = need("azure.core", _EXTRA).MatchConditions.IfNotModified
                same = {"etag": found.properties.etag, "match_condition": match}
            if after is None:
                blob.delete_blob(**same)
            else:
                blob.upload_blob(after, overwrite=before is not None, **same)
        except (
            self._errors.ResourceExistsError,
            self._errors.ResourceModifiedError,
            self._errors.ResourceNotFoundError,
        ):
            return False
        except self._errors.AzureError as error:
            raise unreachable(self.url, error) from error
        return True

    def delete(self, key: str) -> None:  # noqa: D102
        try:
            self._container.delete_blob(self._at.prefix + key)
        except self._errors.ResourceNotFoundError:
            return
        except self._errors.AzureError as error:
            raise unreachable(self.url, error) from error

    def place(self, key: str) -> str:  # noqa: D102
        return f"azblob://{self._at.host}/{self._at.prefix}{key}"

    @cached_property
    def _container(self) -> Any:  # noqa: ANN401 - the library's classes are not needed before
        client, said = self._blobs.ContainerClient, self.environment
        account, key = said.get("AZURE_STORAGE_ACCOUNT"), said.get("AZURE_STORAGE_KEY")
        sas = said.get("AZURE_STORAGE_SAS_TOKEN")
        whole = _connection_string(said)
        if account and key:
            credential: Any = {"account_name": account, "account_key": key}
        elif sas:
            credential = sas
        elif whole:
            return client.from_connection_string(whole, self._at.host)
        else:
            credential = need("azure.identity", _EXTRA).DefaultAzureCredential()
        return client(service_url(self._at, said), self._at.host, credential=credential)


def service_url(at: Address, environment: Mapping[str, str]) -> str:
    """Where an account's blobs are, from the backend's URL and the environment.

    Raises:
        AegisError: Neither names the account.
    """
    options = at.options
    account = options.get("storage_account") or environment.get("AZURE_STORAGE_ACCOUNT")
    if not account:
        raise AegisError(
            what="the backend cannot be reached",
            why="neither its URL nor the environment names the storage account",
            next="set AZURE_STORAGE_ACCOUNT, or put ?storage_account=... into the URL",
        )
    domain = options.get("domain") or environment.get("AZURE_STORAGE_DOMAIN") or _DOMAIN
    protocol = options.get("protocol") or environment.get("AZURE_STORAGE_PROTOCOL") or "https"
    told = {
        "emulated": environment.get("AZURE_STORAGE_IS_LOCAL_EMULATOR", ""),
        "cdn": environment.get("AZURE_STORAGE_IS_CDN", ""),
        **{"emulated" if k == "localemu" else k: v for k, v in options.items()},
    }
    said = Address(at.host, at.prefix, told)
    if domain.startswith(_LOCAL) or said.flag("emulated"):
        return f"{protocol}://{domain}/{account}"
    return f"{protocol}://{domain}" if said.flag("cdn") else f"{protocol}://{account}.{domain}"


def _connection_string(environment: Mapping[str, str]) -> str | None:
    names = ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING")
    return next((environment[name] for name in names if environment.get(name)), None)
