"""A data set in S3, and in what speaks like it: objects whose keys begin alike.

Nothing of it touches a disk here, and memory is flat: a file goes up in parts and comes down in
ranges. An object is there whole or not at all, and the data set is none while its mark is there,
which goes last of all. Whoever begins puts a mark of its own in place of one that is there: a run
that was killed is taken over so, and one that still writes finds out before it can end.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, cast

from aegis_deploy.backend.buckets.cloud_bucket import Refusal
from aegis_deploy.backend.buckets.object_store import Address, swap
from aegis_deploy.backend.buckets.s3 import S3Bucket, code_of
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.data.data_set.storage import UNTOUCHED, Draft, Storage, another

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_MARK = "INCOMPLETE"
_PART = 8 << 20
"""The bytes of a part, and of a range. S3 takes 10,000 parts, so 80 GB are the most of a table."""
_AGAIN = 5
"""How often a range is asked for whose body broke off."""
_READS = "s3:ListBucket and s3:GetObject"
_WRITES = f"{_READS}, and to write s3:PutObject, s3:DeleteObject, "
_WRITES += "s3:AbortMultipartUpload, s3:ListBucketMultipartUploads"
_NO_BUCKET = "NoSuchBucket"
_REFUSED = frozenset(
    {"AccessDenied", "403", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch",
     "ExpiredToken", "InvalidToken"}
)  # fmt: skip
_NOBODY = frozenset({"NoCredentialsError", "PartialCredentialsError", "ProfileNotFound"})


class _Objects(S3Bucket):
    """A bucket whose objects are written and read in pieces."""

    def everything(self) -> list[str]:
        """The keys of all objects, from the prefix on."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._at.host, Prefix=self._at.prefix
            )
            keys = [it["Key"] for page in pages for it in page.get("Contents", ())]
        return [it.removeprefix(self._at.prefix) for it in keys]

    def clear(self, *, but: str) -> None:
        """Delete all objects but one, and what was begun of others."""
        for key in self.everything():
            if key != but:
                self.delete(key)
        with self._told():
            pages = self._client.get_paginator("list_multipart_uploads").paginate(
                Bucket=self._at.host, Prefix=self._at.prefix
            )
            begun = [it for page in pages for it in page.get("Uploads", ())]
        for it in begun:
            with suppress(FileNotFoundError), self._told(Refusal.ABSENT):
                self._client.abort_multipart_upload(
                    Bucket=self._at.host, Key=it["Key"], UploadId=it["UploadId"]
                )

    def tag(self, key: str) -> tuple[int, str]:
        """The size of an object, and what names exactly this version of it.

        Raises:
            FileNotFoundError: There is none.
        """
        with self._told(Refusal.ABSENT):
            found = self._client.head_object(**self._object(self._at.prefix + key))
        return int(found["ContentLength"]), str(found["ETag"])

    def part(self, key: str, tag: str, start: int, size: int) -> bytes:
        """A part of an object.

        Raises:
            FileExistsError: It is another one by now.
        """
        asked = {"Range": f"bytes={start}-{start + size - 1}", "IfMatch": tag}
        for again in reversed(range(_AGAIN)):
            with self._told(Refusal.ABSENT, Refusal.CHANGED):
                try:
                    answer = self._client.get_object(**self._object(self._at.prefix + key), **asked)
                    return bytes(answer["Body"].read())
                except self._errors.ClientError:
                    raise
                except self._errors.BotoCoreError:
                    # The library repeats a request, but no body that broke off.
                    if not again:
                        raise
        raise AssertionError  # pragma: no cover - the last time has returned or raised

    @contextmanager
    def upload(self, key: str) -> Iterator[IO[bytes]]:
        """Write an object in parts; it is there after the block, or not at all."""
        upload = _Upload(self, self._at.prefix + key)
        try:
            yield cast("IO[bytes]", upload)
            upload.finish()
        except BaseException:
            with suppress(Exception):
                upload.give_up()
            raise

    def ask(self, name: str, key: str, **more: Any) -> Any:  # noqa: ANN401 - boto3's answers
        """Ask one thing about an object, by its whole key."""
        encrypted = self._encryption if name in {"put_object", "create_multipart_upload"} else {}
        with self._told():
            return getattr(self._client, name)(**self._object(key), **encrypted, **more)

    def _unreachable(self, error: Exception) -> AegisError:
        code = code_of(error) if isinstance(error, self._errors.ClientError) else ""
        why = str(error).strip() or type(error).__name__
        if code == _NO_BUCKET:
            why, then = f"there is no bucket {self._at.host}", "correct the address, or make it"
        elif type(error).__name__ in _NOBODY:
            then = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the "
            then += "machine a role"
        elif code in _REFUSED:
            then = f"let who asks have {_WRITES}"
        else:
            then = "see that it answers, then run it again"
        return AegisError(
            what=f"{self.place('').rstrip('/')} cannot be used", why=why, state=UNTOUCHED, next=then
        )


class _Upload(io.RawIOBase):
    """An object that is being written; a small one goes up at once."""

    def __init__(self, bucket: _Objects, key: str) -> None:
        self._bucket, self._key = bucket, key
        self._pending = bytearray()
        self._id = ""
        self._parts: list[dict[str, object]] = []

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer) -> int:
        self._pending += data
        while len(self._pending) >= _PART:
            part, self._pending = self._pending[:_PART], self._pending[_PART:]
            self._send(part)
        return memoryview(data).nbytes

    def finish(self) -> None:
        if not self._parts:
            self._bucket.ask("put_object", self._key, Body=bytes(self._pending))
            return
        if self._pending:
            self._send(self._pending)
        self._bucket.ask(
            "complete_multipart_upload",
            self._key,
            UploadId=self._id,
            MultipartUpload={"Parts": self._parts},
        )

    def give_up(self) -> None:
        if self._id:
            self._bucket.ask("abort_multipart_upload", self._key, UploadId=self._id)

    def _send(self, part: bytearray) -> None:
        if not self._id:
            self._id = self._bucket.ask("create_multipart_upload", self._key)["UploadId"]
        number = len(self._parts) + 1
        answer = self._bucket.ask(
            "upload_part", self._key, UploadId=self._id, PartNumber=number, Body=bytes(part)
        )
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})


class _Download(io.RawIOBase):
    """An object that is read range by range, and only as long as it stays the same one."""

    def __init__(self, bucket: _Objects, key: str, size: int, tag: str) -> None:
        self._bucket, self._key, self._size, self._tag = bucket, key, size, tag
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, into: WriteableBuffer) -> int:
        room = memoryview(into).cast("B")
        wanted = min(len(room), self._size - self._at)
        if wanted <= 0:
            return 0
        part = self._bucket.part(self._key, self._tag, self._at, wanted)
        room[: len(part)] = part
        self._at += len(part)
        return len(part)

    def readall(self) -> bytes:
        # Its own way is in pieces of eight kilobytes.
        found = bytearray()
        while part := self.read(_PART):
            found += part
        return bytes(found)


class S3Prefix:
    """What begins alike in a bucket.

    Attributes:
        compared: The SHA-256 of each file that was compared with its checksum.
    """

    def __init__(self, bucket: _Objects) -> None:
        self.compared: dict[str, str] = {}
        self._bucket = bucket
        self._tags: dict[str, tuple[int, str]] = {}

    @classmethod
    def at(cls, url: str) -> S3Prefix:
        """Return it.

        Args:
            url: `s3://bucket/prefix`, with the options that a backend's address takes; who asks
                is found as the AWS tools find it.

        Raises:
            AegisError: It names no bucket, or the library is not installed.
        """
        if not Address.of(url).host:
            raise AegisError(
                what=f"{url} names no bucket",
                why="what stands after s3:// is the bucket",
                next="name it: s3://bucket/prefix",
                code=ExitCode.USAGE,
            )
        return cls(_Objects(url, os.environ))

    @property
    def shown(self) -> str:
        """Its address, without options."""
        return self._bucket.place("").rstrip("/")

    def below(self) -> list[Storage]:
        """What lies one step below it and is not unfinished; not all of that need be data sets.

        Raises:
            AegisError: It cannot be reached.
        """
        keys = self._bucket.everything()
        names = dict.fromkeys(it.partition("/")[0] for it in keys if "/" in it)
        url, query, options = self._bucket.url.partition("?")
        return [
            S3Prefix.at(f"{url.rstrip('/')}/{it}{query}{options}")
            for it in names
            if f"{it}/{_MARK}" not in keys
        ]

    def require_free(self) -> None:
        """Refuse it when something is there that is not a stopped run's.

        Raises:
            AegisError: Something is, or it cannot be reached.
        """
        there = self._bucket.everything()
        if there and _MARK not in there:
            raise AegisError(
                what=f"{self.shown} is not empty",
                why=f"there is {there[0]}; a data set is never written over",
                next="name a prefix that no object's key begins with",
            )

    @contextmanager
    def being_written(self) -> Iterator[Draft]:
        """Have a data set written: it is one when the block has ended, and none before.

        Raises:
            AegisError: Something is there, somebody else writes it, or it cannot be reached.
        """
        self.require_free()
        own, mark = (self._bucket, _MARK), f"{secrets.token_hex(16)}\n".encode()
        self._require("another run has just begun there", swap(*own, self._mark(), mark))
        try:
            self._bucket.clear(but=_MARK)
            written: dict[str, tuple[int, str]] = {}

            @contextmanager
            def create(name: str) -> Iterator[IO[bytes]]:
                with self._bucket.upload(name) as file:
                    yield file
                    self._require("another run began after this one", self._mark() == mark)
                written[name] = self._bucket.tag(name)

            yield Draft(create)
            same = all(self._bucket.tag(name) == tag for name, tag in written.items())
            self._require("another run wrote the same files", same)
            # Once the mark is gone it is a data set.
            self._require("another run began after this one", swap(*own, mark, None))
        except BaseException:
            with suppress(Exception):
                if self._mark() == mark:
                    self._bucket.clear(but=_MARK)
                    self._bucket.swap(_MARK, mark, None)
            raise

    def is_unfinished(self) -> bool:
        """Whether a run writes there, or was killed while it did.

        Raises:
            AegisError: It cannot be reached.
        """
        return self._mark() is not None

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file; from the first time on it has to stay the same.

        Args:
            name: Its name, from the data set on.

        Raises:
            OSError: There is none.
            AegisError: It cannot be reached, or is another one by now.
        """
        place = self._bucket.place(name)
        with self._there(place):
            try:
                asked = _Download(self._bucket, name, *self._tag(name))
                with io.BufferedReader(asked, _PART) as file:
                    yield file
            except FileExistsError:
                raise another(place, "object") from None

    def size(self, name: str) -> int:
        """Return how large a file is, in bytes; from then on it has to stay the same.

        Args:
            name: Its name, from the data set on.

        Raises:
            OSError: There is none.
            AegisError: It cannot be reached.
        """
        with self._there(self._bucket.place(name)):
            return self._tag(name)[0]

    def _tag(self, name: str) -> tuple[int, str]:
        if name not in self._tags:
            self._tags[name] = self._bucket.tag(name)
        return self._tags[name]

    @staticmethod
    @contextmanager
    def _there(place: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "there is no such object", place) from None

    def _mark(self) -> bytes | None:
        with suppress(FileNotFoundError):
            return self._bucket.read(_MARK)
        return None

    def _require(self, otherwise: str, alone: bool) -> None:
        if not alone:
            raise AegisError(
                what=f"{self.shown} is being written by another run",
                why=otherwise,
                state=UNTOUCHED,
                next="wait until that one is done, or name another prefix",
            )
