"""S3, and what speaks like it, with the URL and the environment that the CLI takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aegis_deploy.backend.buckets.cloud_bucket import AT_ONCE, CloudBucket, Refusal
from aegis_deploy.backend.buckets.object_store import Address, ObjectEntry, need

_SETTLE_SECONDS = 2.0
_ABSENT = frozenset({"NoSuchKey", "NoSuchUpload", "404", "NotFound"})
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNKNOWN = frozenset({"NotImplemented", "501"})


@dataclass
class S3Bucket(CloudBucket):
    """A bucket of S3: ``s3://bucket/prefix?region=...``."""

    shell: str | None = "aws s3 "

    def __post_init__(self) -> None:
        super().__post_init__()
        self._boto3 = need("boto3", "s3")
        self._errors = need("botocore.exceptions", "s3")

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        done = super().swap(key, before, after)
        # Servers that do not know the condition pass over it: whoever wrote last has it.
        with suppress(FileNotFoundError):
            return done and (after is None or self.read(key) == after)
        return False

    def _listed(self, start: str, *, first: bool = False) -> Iterator[ObjectEntry]:
        asked: dict[str, Any] = {"MaxKeys": 1} if first else {"Delimiter": "/"}
        while True:
            page = self._client.list_objects_v2(Bucket=self._at.host, Prefix=start, **asked)
            for item in page.get("Contents", ()):
                yield ObjectEntry(item["Key"], item["LastModified"].timestamp())
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _content(self, key: str, size: int | None) -> bytes:
        part = {} if size is None else {"Range": f"bytes=0-{size - 1}"}
        return bytes(self._client.get_object(**self._object(key), **part)["Body"].read())

    def _versioned(self, key: str) -> tuple[bytes, str]:
        answer = self._client.get_object(**self._object(key))
        return bytes(answer["Body"].read()), answer["ETag"]

    def _put(self, key: str, content: bytes, version: str | None) -> None:
        given = {**self._object(key), **self._encryption, "Body": content}
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": version}
        self._if_it_can(self._client.put_object, given, condition)

    def _remove(self, key: str, version: str | None) -> None:
        condition = {} if version is None else {"IfMatch": version}
        self._if_it_can(self._client.delete_object, self._object(key), condition)

    def _if_it_can(
        self, call: Callable[..., object], given: Mapping[str, Any], condition: Mapping[str, str]
    ) -> None:
        """Ask with a condition; without it where the server says that it knows none."""
        try:
            call(**given, **condition)
        except self._errors.ClientError as error:
            if not condition or code_of(error) not in _UNKNOWN:
                raise
            call(**given)
            time.sleep(_SETTLE_SECONDS)

    def _meaning(self, error: Exception) -> Refusal | None:
        if isinstance(error, self._errors.ClientError):
            code = code_of(error)
            if code in _ABSENT:
                return Refusal.ABSENT
            return Refusal.CHANGED if code in _TAKEN else Refusal.FAILED
        return Refusal.FAILED if isinstance(error, self._errors.BotoCoreError) else None

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._at.host, "Key": key}

    @property
    def _encryption(self) -> dict[str, str]:
        names = {"ssetype": "ServerSideEncryption", "kmskeyid": "SSEKMSKeyId"}
        options = self._at.options
        return {name: options[key] for key, name in names.items() if options.get(key)}

    @cached_property
    def _client(self) -> Any:  # noqa: ANN401 - boto3 makes its classes as it goes
        options = self._at.options
        session = self._boto3.session.Session(
            region_name=options.get("region") or None, profile_name=options.get("profile") or None
        )
        if options.get("role"):
            session = self._assumed(session, options["role"])
        return session.client("s3", **client_options(self._at, self.environment))

    def _assumed(self, session: Any, role: str) -> Any:  # noqa: ANN401
        answer = session.client("sts").assume_role(RoleArn=role, RoleSessionName="aegis")
        found = answer["Credentials"]
        return self._boto3.session.Session(
            aws_access_key_id=found["AccessKeyId"],
            aws_secret_access_key=found["SecretAccessKey"],
            aws_session_token=found["SessionToken"],
            region_name=session.region_name,
        )


def client_options(at: Address, environment: Mapping[str, str]) -> dict[str, Any]:
    """What an S3 client is made with, from the options in a backend's URL.

    The names of before the CLI's second AWS library are understood, too: ``disableSSL``, an
    endpoint without a scheme.
    """
    config = need("botocore.config", "s3").Config
    plain = at.flag("disableSSL", "disable_https")
    endpoint = at.options.get("endpoint") or None
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if plain else 'https'}://{endpoint}"
    said: dict[str, Any] = {"max_pool_connections": AT_ONCE, "s3": {}}
    if at.flag("use_path_style", "s3ForcePathStyle"):
        said["s3"]["addressing_style"] = "path"
    if at.flag("accelerate"):
        said["s3"]["use_accelerate_endpoint"] = True
    if at.flag("dualstack"):
        said["use_dualstack_endpoint"] = True
    if at.flag("fips"):
        said["use_fips_endpoint"] = True
    if at.flag("anonymous"):
        said["signature_version"] = need("botocore", "s3").UNSIGNED
    # Other makers' servers refuse the checksums that AWS wants, unless somebody asks for them.
    given = environment.get("AWS_REQUEST_CHECKSUM_CALCULATION")
    checksum = at.options.get("request_checksum_calculation")
    checksum = checksum or ("when_required" if endpoint and not given else None)
    if checksum:
        said["request_checksum_calculation"] = checksum
    if at.options.get("response_checksum_validation"):
        said["response_checksum_validation"] = at.options["response_checksum_validation"]
    return {"endpoint_url": endpoint, "use_ssl": not plain, "config": config(**said)}


def code_of(error: Any) -> str:  # noqa: ANN401 - a ClientError
    """The code that a server gave an error.

    Args:
        error: It.
    """
    return str(error.response.get("Error", {}).get("Code", ""))
