"""Google Cloud Storage, with the URL and the environment that the CLI takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aegis_deploy.backend.buckets.cloud_bucket import CloudBucket, Refusal
from aegis_deploy.backend.buckets.object_store import ObjectEntry, need, unreachable

_EXTRA = "gs"
_NONE = 0
"""The generation of an object that is not there."""
_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"


@dataclass
class GsBucket(CloudBucket):
    """A bucket of Google Cloud Storage: ``gs://bucket/prefix``."""

    shell: str | None = "gcloud storage "

    def __post_init__(self) -> None:
        super().__post_init__()
        self._storage = need("google.cloud.storage", _EXTRA)
        self._errors = need("google.api_core.exceptions", _EXTRA)
        self._auth = need("google.auth.exceptions", _EXTRA)
        self._failures = (
            self._errors.GoogleAPIError,
            self._auth.GoogleAuthError,
            need("requests", _EXTRA).RequestException,
        )

    def _listed(self, start: str, *, first: bool = False) -> Iterator[ObjectEntry]:
        asked: dict[str, Any] = {"max_results": 1} if first else {"delimiter": "/"}
        for blob in self._client.list_blobs(self._at.host, prefix=start, **asked):
            yield ObjectEntry(blob.name, blob.updated.timestamp() if blob.updated else 0.0)

    def _content(self, key: str, size: int | None) -> bytes:
        end = None if size is None else size - 1
        return bytes(self._blob(key).download_as_bytes(end=end))

    def _versioned(self, key: str) -> tuple[bytes, int]:
        blob = self._blob(key)
        blob.reload()
        generation = blob.generation
        return bytes(blob.download_as_bytes(if_generation_match=generation)), generation

    def _put(self, key: str, content: bytes, version: int | None) -> None:
        self._blob(key).upload_from_string(content, if_generation_match=version or _NONE)

    def _remove(self, key: str, version: int | None) -> None:
        self._blob(key).delete(if_generation_match=version)

    def _meaning(self, error: Exception) -> Refusal | None:
        if isinstance(error, self._errors.NotFound):
            return Refusal.ABSENT
        if isinstance(error, self._errors.PreconditionFailed):
            return Refusal.CHANGED
        return Refusal.FAILED if isinstance(error, self._failures) else None

    def _blob(self, key: str) -> Any:  # noqa: ANN401 - the library has no types
        return self._client.bucket(self._at.host).blob(key)

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
