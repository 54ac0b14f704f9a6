"""S3, and what speaks like it, with the URL and the environment that the CLI takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from aegis_deploy.backend.object_store import (
    AT_ONCE,
    Address,
    ObjectEntry,
    need,
    read_each,
    unreachable,
)

_SETTLE_SECONDS = 2.0
_ABSENT = frozenset({"NoSuchKey", "404", "NotFound"})
_TAKEN = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
_UNKNOWN = frozenset({"NotImplemented", "501"})


@dataclass
class S3Bucket:
    """A bucket of S3.

    Attributes:
        url: Its address, ``s3://bucket/prefix?region=...``.
        environment: The environment the CLI runs with.
    """

    url: str
    environment: Mapping[str, str] = field(repr=False)
    beat_seconds: float = 10.0
    copy_command: str = "aws s3 cp {} {}"

    def __post_init__(self) -> None:
        self._boto3 = need("boto3", "s3")
        self._errors = need("botocore.exceptions", "s3")
        self._at = Address.of(self.url)

    def require(self) -> None:  # noqa: D102 - the protocol says it
        self._ask("list_objects_v2", Prefix=self._at.prefix, MaxKeys=1)

    def list(self, start: str) -> list[ObjectEntry]:  # noqa: D102
        found: list[ObjectEntry] = []
        more: dict[str, str] = {}
        while True:
            page = self._ask(
                "list_objects_v2", Prefix=self._at.prefix + start, Delimiter="/", **more
            )
            found.extend(
                ObjectEntry(
                    item["Key"].removeprefix(self._at.prefix), item["LastModified"].timestamp()
                )
                for item in page.get("Contents", ())
            )
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, key: str, size: int | None = None) -> bytes:  # noqa: D102
        part = {} if size is None else {"Range": f"bytes=0-{size - 1}"}
        try:
            answer = self._client.get_object(**self._object(key), **part)
            return bytes(answer["Body"].read())
        except self._errors.ClientError as error:
            if _code(error) in _ABSENT:
                raise FileNotFoundError(self.place(key)) from error
            raise unreachable(self.url, error) from error
        except self._errors.BotoCoreError as error:
            raise unreachable(self.url, error) from error

    def read_many(self, keys: Iterable[str]) -> Mapping[str, bytes | OSError]:  # noqa: D102
        return read_each(self.read, keys)

    def swap(self, key: str, before: bytes | None, after: bytes | None) -> bool:  # noqa: D102
        condition = {"IfNoneMatch": "*"}
        try:
            if before is not None:
                answer = self._client.get_object(**self._object(key))
                if answer["Body"].read() != before:
                    return False
                condition = {"IfMatch": answer["ETag"]}
            try:
                self._put(key, after, condition)
            except self._errors.ClientError as error:
                if _code(error) not in _UNKNOWN:
                    raise
                self._put(key, after, {})
                time.sleep(_SETTLE_SECONDS)
        except self._errors.ClientError as error:
            if _code(error) in _TAKEN | _ABSENT:
                return False
            raise unreachable(self.url, error) from error
        except self._errors.BotoCoreError as error:
            raise unreachable(self.url, error) from error
        # Servers that do not know the condition pass over it: whoever wrote last has it.
        return after is None or self.read(key) == after

    def _put(self, key: str, content: bytes | None, condition: Mapping[str, str]) -> None:
        if content is None:
            self._client.delete_object(**self._object(key), **condition)
        else:
            given = {**self._object(key), **condition, **self._encryption}
            self._client.put_object(Body=content, **given)

    def delete(self, key: str) -> None:  # noqa: D102
        self._ask("delete_object", Key=self._at.prefix + key)

    def place(self, key: str) -> str:  # noqa: D102
        return f"s3://{self._at.host}/{self._at.prefix}{key}"

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._at.host, "Key": self._at.prefix + key}

    def _ask(self, call: str, **arguments: Any) -> Any:  # noqa: ANN401 - what S3 answers
        try:
            return getattr(self._client, call)(Bucket=self._at.host, **arguments)
        except (self._errors.ClientError, self._errors.BotoCoreError) as error:
            raise unreachable(self.url, error) from error

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
        try:
            if options.get("role"):
                session = self._assumed(session, options["role"])
            return session.client("s3", **client_options(self._at, self.environment))
        except (self._errors.ClientError, self._errors.BotoCoreError) as error:
            raise unreachable(self.url, error) from error

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


def _code(error: Any) -> str:  # noqa: ANN401 - a ClientError
    return str(error.response.get("Error", {}).get("Code", ""))
