"""Azure Blob Storage, with the URL and the environment that the CLI takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aegis_deploy.backend.buckets.cloud_bucket import CloudBucket, Refusal
from aegis_deploy.backend.buckets.object_store import Address, ObjectEntry, need
from aegis_deploy.common.errors import AegisError

_EXTRA = "azblob"
_DOMAIN = "blob.core.windows.net"
_LOCAL = ("127.0.0.1", "localhost")


@dataclass
class AzblobBucket(CloudBucket):
    """A container of Azure Blob Storage: ``azblob://container/prefix?storage_account=...``."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._blobs = need("azure.storage.blob", _EXTRA)
        self._errors = need("azure.core.exceptions", _EXTRA)

    def _listed(self, start: str, *, first: bool = False) -> Iterator[ObjectEntry]:
        if first:
            listed = self._container.list_blobs(name_starts_with=start, results_per_page=1)
        else:
            listed = self._container.walk_blobs(name_starts_with=start, delimiter="/")
        for item in listed:
            if isinstance(item, self._blobs.BlobProperties):
                yield ObjectEntry(item.name, item.last_modified.timestamp())

    def _content(self, key: str, size: int | None) -> bytes:
        part = {} if size is None else {"offset": 0, "length": size}
        return bytes(self._container.download_blob(key, **part).readall())

    def _versioned(self, key: str) -> tuple[bytes, str]:
        found = self._container.download_blob(key)
        return bytes(found.readall()), found.properties.etag

    def _put(self, key: str, content: bytes, version: str | None) -> None:
        blob, same = self._container.get_blob_client(key), self._only(version)
        blob.upload_blob(content, overwrite=version is not None, **same)

    def _remove(self, key: str, version: str | None) -> None:
        self._container.get_blob_client(key).delete_blob(**self._only(version))

    def _only(self, version: str | None) -> dict[str, Any]:
        """What holds a request to this version of an object; None means any."""
        if version is None:
            return {}
        match = need("azure.core", _EXTRA).MatchConditions.IfNotModified
        return {"etag": version, "match_condition": match}

    def _meaning(self, error: Exception) -> Refusal | None:
        if isinstance(error, self._errors.ResourceNotFoundError):
            return Refusal.ABSENT
        if isinstance(
            error, (self._errors.ResourceExistsError, self._errors.ResourceModifiedError)
        ):
            return Refusal.CHANGED
        return Refusal.FAILED if isinstance(error, self._errors.AzureError) else None

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
