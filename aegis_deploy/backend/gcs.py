"""Google Cloud Storage, with the URL and the environment that the CLI takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aegis_deploy.backend.object_store import Address, ObjectEntry, need, read_each, unreachable

_EXTRA = "gs"
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass
class GsBucket:
    """A bucket of Google Cloud Storage.

    Attributes:
        url: Its address, ``gs://bucket/prefix``.
        environment: The environment the CLI runs with.
    """

    url: str
    environment: Mapping[str, str] = field(repr=False)
    beat_seconds: float = 10.0
    copy_command: str = "gcloud storage cp {} {}"

    def __post_init__(self) -> None:
        self._storage = need("google.cloud.storage", _EXTRA)
        self._errors = need("google.api_core.exceptions", _EXTRA)
        self._auth = need("google.auth.exceptions", _EXTRA)
        self._failures = (
            self._errors.GoogleAPIError,
            self._auth.GoogleAuthError,
            need("requests", _EXTRA).RequestException,
        )
        self._at = Address.of(self.url)

    def require(self) -> None:  # noqa: D102 - the protocol says it
        try:
            next(iter(self._client.list_blobs(self._at.host, max_results=1)), None)
        except self._failures as error:
            raise unreachable(self.url, error) from error

    def list(self, start: str) -> list[ObjectEntry]:  # noqa: D102
        try:
            listed = self._client.list_blobs(
                self._at.host, prefix=self._at.prefix + start, delimiter="/"
            )
            return [
                ObjectEntry(
                    blob.name.removeprefix(self._at.prefix),
                    blob.updated.timestamp() if blob.updated else 0.0,
                )
                for blob in listed
            ]
        except self._failures as error:
            raise unreachable(self.url, error) from error

    def read(self, key: str, size: int | None = None) -> bytes:  # noqa: D102
        try:
            end = None if size is None else size - 1
            return bytes(self._blob(key).download_as_bytes(end=end))
        except self._errors.NotFound as error:
            raise FileNotFoundError(self.place(key)) from error
        except self._failures as error:
            raise unreachable(self.url, error) from error

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:  # noqa: D102
        return read_each(self.read, keys)

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        blob, generation = self._blob(key), 0
        try:
            if before is not None:
                blob.reload()
                generation = blob.generation
                if blob.download_as_bytes(if_generation_match=generation) != before:
                    return False
            if after is None:
                blob.delete(if_generation_match=generation)
            else:
                blob.upload_from_string(after, if_generation_match=generation)
        except (self._errors.PreconditionFailed, self._errors.NotFound):
            return False
        except self._failures as error:
            raise unreachable(self.url, error) from error
        return True

    def delete(self, key: str) -> None:  # noqa: D102
        try:
            self._blob(key).delete()
        except self._errors.NotFound:
            return
        except self._failures as error:
            raise unreachable(self.url, error) from error

    def place(self, key: str) -> str:  # noqa: D102
        return f"gs://{self._at.host}/{self._at.prefix}{key}"

    def _blob(self, key: str) -> Any:  # noqa: ANN401 - the library has no types
        return self._client.bucket(self._at.host).blob(self._at.prefix + key)

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - the library has no types
        try:
            credentials = self._credentials()
        except (self._auth.GoogleAuthError, ValueError) as error:
            raise unreachable(self.url, error) from error
        emulator = self.environment.get("STORAGE_EMULATOR_HOST", "")
        if emulator and "://" not in emulator:
            emulator = f"http://{emulator}"  # As the CLI's library takes it; ours wants all of it.
        return self._storage.Client(
            client_options={"api_endpoint": emulator} if emulator else None,
            # A bucket's name says which project it is of; the library wants one all the same.
            project=self.environment.get("GOOGLE_CLOUD_PROJECT") or "-",
            credentials=credentials,
        )

    def _credentials(self) -> Any:  # noqa: ANN401 - the library has no types
        """The credentials, looked for where the CLI looks, in its order."""
        anonymous = self._at.flag("anonymous") or self._at.options.get("access_id") == "-"
        if anonymous or self.environment.get("STORAGE_EMULATOR_HOST"):
            return need("google.auth.credentials", _EXTRA).AnonymousCredentials()
        given = self.environment.get("GOOGLE_CREDENTIALS")
        auth = need("google.auth", _EXTRA)
        if given:
            return auth.load_credentials_from_dict(json.loads(given), scopes=[_SCOPE])[0]
        token = self.environment.get("GOOGLE_OAUTH_ACCESS_TOKEN")
        if token:
            return need("google.oauth2.credentials", _EXTRA).Credentials(token)
        return auth.default(scopes=[_SCOPE])[0]
