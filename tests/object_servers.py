"""Stand-ins for Google Cloud Storage and Azure Blob Storage, on the loopback.

They speak as much of the two wire protocols as the makers' libraries for Python and the CLI's
library for Go use on a state: listing by prefix and delimiter, pages, ranges, uploads in one piece,
copies, and the conditions that a claim rests on. What they are not: nobody's credentials are
checked, there is one region, no versions, no uploads in parts. Microsoft's
emulator (Azurite 3.37) was asked once by hand what `test_buckets.py` asks of a claim, and answered
the same; the one for Google was compared with no other
(https://cloud.google.com/storage/docs/json_api/v1,
https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-rest-api).
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 3
"""So many objects are on a page: few, so that there are several."""


@dataclass(frozen=True)
class Stored:
    """An object.

    Attributes:
        content: What is in it.
        version: A number that no other writing has.
        written: When it was written, in seconds.
    """

    content: bytes
    version: int
    written: float


@dataclass
class ObjectServer:
    """What a server has, and what it is to do wrong.

    Attributes:
        objects: By bucket and key.
        lost: So many answers to writes are lost, though what was asked is done.
        broken: So many requests are answered with 503, and not done.
        asked: Every request: its method, what stands in the path, and the server's answer.
        credentials: How they were named in the requests' ``Authorization``.
    """

    url: str = ""
    objects: dict[tuple[str, str], Stored] = field(default_factory=dict)
    buckets: set[str] = field(default_factory=lambda: {"state", "other"})
    lost: int = 0
    broken: int = 0
    asked: list[str] = field(default_factory=list)
    credentials: set[str] = field(default_factory=set)
    _alone: threading.Lock = field(default_factory=threading.Lock)
    _version: int = 1_700_000_000_000_000

    def change(
        self,
        where: tuple[str, str],
        content: bytes | None,
        holds: Callable[[Stored | None], bool],
    ) -> tuple[bool, Stored | None]:
        """Write an object or delete it (None), if a condition holds.

        Returns:
            Whether it does; and what is there now, or what was there if it was deleted.
        """
        with self._alone:
            before = self.objects.get(where)
            if not holds(before):
                return False, before
            if content is None:
                return True, self.objects.pop(where, None)
            self._version += 1
            made = Stored(content, self._version, time.time())
            self.objects[where] = made
            return True, made

    def listed(
        self, bucket: str, prefix: str, delimiter: str, after: str, most: int
    ) -> tuple[list[tuple[str, Stored]], list[str], str]:
        """A page of a listing: objects, common prefixes, and the marker of the next page."""
        with self._alone:
            keys = sorted(key for there, key in self.objects if there == bucket)
            found: list[tuple[str, Stored]] = []
            below: list[str] = []
            for key in keys:
                if not key.startswith(prefix):
                    continue
                end = key.find(delimiter, len(prefix)) if delimiter else -1
                name = key if end < 0 else key[: end + 1]
                if name <= after or name in below:
                    continue
                if len(found) + len(below) == min(most, PAGE):
                    return found, below, max([key for key, _ in found] + below)
                if end >= 0:
                    below.append(name)
                else:
                    found.append((key, self.objects[bucket, key]))
            return found, below, ""


@dataclass(frozen=True)
class Said:
    """An answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: ClassVar[ObjectServer]

    def answer(self, path: str, query: dict[str, str], body: bytes) -> Said:
        """Answer a request."""
        raise NotImplementedError

    def _serve(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        query = {name: it[-1] for name, it in parse_qs(parts.query, keep_blank_values=True).items()}
        server, writes = self.server_of, self.command not in ("GET", "HEAD")
        server.credentials.add((self.headers.get("Authorization") or "none").partition(":")[0])
        if server.broken:
            server.broken -= 1
            said = Said(503)
        else:
            said = self.answer(parts.path, query, body)
        server.asked.append(f"{self.command} {unquote(parts.path)} {said.status}")
        if writes and server.lost:
            server.lost -= 1
            self.close_connection = True
            return
        self.send_response(said.status)
        for name, value in {"Content-Length": str(len(said.body)), **said.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said.body)

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        found = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def ranged(self, content: bytes, headers: Mapping[str, str]) -> Said:
        """Answer with an object's content, or the part of it that is asked for."""
        asked = self.headers.get("x-ms-range") or self.headers.get("Range") or ""
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        if span is None:
            return Said(200, content, headers)
        start, size = int(span[1]), len(content)
        end = min(int(span[2] or size - 1), size - 1)
        if start >= size:
            return Said(416, b"", {"Content-Range": f"bytes */{size}", **headers})
        told = {"Content-Range": f"bytes {start}-{end}/{size}", **headers}
        return Said(206, content[start : end + 1], told)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


class _Google(_Handler):
    def answer(self, path: str, query: dict[str, str], body: bytes) -> Said:
        found = re.fullmatch(
            r"(?P<way>/upload|/download)?/storage/v1/b/(?P<bucket>[^/]+)/o(?:/(?P<key>[^/]+))?"
            r"(?:/(?:rewriteTo|copyTo)/b/(?P<to>[^/]+)/o/(?P<new>[^/]+))?",
            path,
        )
        if found is None:
            # Where the library for Go reads content.
            bucket, _, key = unquote(path).lstrip("/").partition("/")
            return self._read(bucket, key, query)
        parts = {name: unquote(text or "") for name, text in found.groupdict().items()}
        bucket, key = parts["bucket"], parts["key"]
        if bucket not in self.server_of.buckets:
            return self._fault(404, "The specified bucket does not exist.")
        if parts["new"]:
            return self._copy((bucket, key), (parts["to"], parts["new"]), query)
        if self.command == "POST":
            return self._upload(bucket, query, body)
        return self._object((bucket, key), query) if key else self._list(bucket, query)

    def _object(self, where: tuple[str, str], query: Mapping[str, str]) -> Said:
        if self.command == "DELETE":
            return self._delete(where, query)
        if query.get("alt") == "media":
            return self._read(*where, query)
        there = self.server_of.objects.get(where)
        return self._fault(404, "No such object") if there is None else self._told(where[1], there)

    def _holds(self, query: Mapping[str, str]) -> Callable[[Stored | None], bool]:
        wanted = query.get("ifGenerationMatch")
        if wanted is None:
            return lambda _: True
        return lambda there: int(wanted) == (0 if there is None else there.version)

    def _upload(self, bucket: str, query: Mapping[str, str], body: bytes) -> Said:
        if query["uploadType"] != "multipart":
            return self._fault(501, "uploads in parts are not served")
        described, raw = _parts(body, self.headers["Content-Type"])
        name = query.get("name") or json.loads(described)["name"]
        done, there = self.server_of.change((bucket, name), raw, self._holds(query))
        if not done or there is None:
            return self._fault(412, "conditionNotMet")
        return self._told(name, there)

    def _copy(
        self, source: tuple[str, str], target: tuple[str, str], query: Mapping[str, str]
    ) -> Said:
        there = self.server_of.objects.get(source)
        if there is None:
            return self._fault(404, "No such object")
        _, made = self.server_of.change(target, there.content, self._holds(query))
        assert made is not None
        size = str(len(made.content))
        told = {"done": True, "objectSize": size, "totalBytesRewritten": size}
        return _json(200, {**told, "resource": self._resource(target[1], made)})

    def _delete(self, where: tuple[str, str], query: Mapping[str, str]) -> Said:
        if where not in self.server_of.objects:
            return self._fault(404, "No such object")
        done, _ = self.server_of.change(where, None, self._holds(query))
        return Said(204) if done else self._fault(412, "conditionNotMet")

    def _list(self, bucket: str, query: Mapping[str, str]) -> Said:
        found, below, token = self.server_of.listed(
            bucket,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            query.get("pageToken", ""),
            int(query.get("maxResults") or 1_000),
        )
        items = [self._resource(key, there) for key, there in found]
        told = {"kind": "storage#objects", "items": items, "prefixes": below}
        return _json(200, {**told, **({"nextPageToken": token} if token else {})})

    def _read(self, bucket: str, key: str, query: Mapping[str, str]) -> Said:
        there = self.server_of.objects.get((bucket, key))
        if there is None:
            return self._fault(404, "No such object")
        if not self._holds(query)(there):
            return self._fault(412, "conditionNotMet")
        md5 = base64.b64encode(hashlib.md5(there.content).digest()).decode()  # noqa: S324
        headers = {
            "Content-Type": "application/octet-stream",
            "Last-Modified": formatdate(there.written, usegmt=True),
            "X-Goog-Generation": str(there.version),
            "X-Goog-Metageneration": "1",
            "X-Goog-Hash": f"md5={md5}",
            "X-Goog-Stored-Content-Length": str(len(there.content)),
        }
        return self.ranged(there.content, headers)

    def _resource(self, key: str, there: Stored) -> dict[str, str]:
        when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(there.written))
        moment = f"{when}.{int(there.written % 1 * 1000):03}Z"
        return {
            "kind": "storage#object",
            "name": key,
            "bucket": "state",
            "generation": str(there.version),
            "metageneration": "1",
            "contentType": "application/octet-stream",
            "size": str(len(there.content)),
            "md5Hash": base64.b64encode(hashlib.md5(there.content).digest()).decode(),  # noqa: S324
            "etag": f"E{there.version}",
            "timeCreated": moment,
            "updated": moment,
        }

    def _told(self, key: str, there: Stored) -> Said:
        return _json(200, self._resource(key, there))

    def _fault(self, status: int, message: str) -> Said:
        return _json(status, {"error": {"code": status, "message": message, "errors": []}})


class _Azure(_Handler):
    def answer(self, path: str, query: dict[str, str], body: bytes) -> Said:
        _, account, container, *rest = [*unquote(path).split("/", 3), ""]
        key = rest[0] if rest else ""
        assert account == "acme"
        if container not in self.server_of.buckets:
            return self._fault(404, "ContainerNotFound")
        where = container, key
        if not key:
            return self._list(container, query)
        return self._put(where, query, body) if self.command == "PUT" else self._blob(where)

    def _blob(self, where: tuple[str, str]) -> Said:
        there = self.server_of.objects.get(where)
        if there is None:
            return self._fault(404, "BlobNotFound")
        if self.command == "DELETE":
            done, _ = self.server_of.change(where, None, self._holds())
            return Said(202) if done else self._fault(412, "ConditionNotMet")
        if not self._holds()(there):
            return self._fault(412, "ConditionNotMet")
        said = self.ranged(there.content, self._headers(there))
        return self._fault(416, "InvalidRange") if said.status == 416 else said

    def _holds(self) -> Callable[[Stored | None], bool]:
        match, none = self.headers.get("If-Match"), self.headers.get("If-None-Match")
        if match is not None:
            return lambda there: there is not None and match == _etag(there)
        return (lambda there: there is None) if none == "*" else (lambda _: True)

    def _put(self, where: tuple[str, str], query: Mapping[str, str], body: bytes) -> Said:
        if "comp" in query:
            return self._fault(501, "NotImplemented")
        source = self.headers.get("x-ms-copy-source")
        copied: dict[str, str] = {}
        if source is not None:
            _, _, container, key = unquote(urlsplit(source).path).split("/", 3)
            there = self.server_of.objects.get((container, key))
            if there is None:
                return self._fault(404, "BlobNotFound")
            body, copied = there.content, {"x-ms-copy-id": "1", "x-ms-copy-status": "success"}
        done, made = self.server_of.change(where, body, self._holds())
        if not done:
            taken = self.headers.get("If-None-Match") == "*"
            code = (409, "BlobAlreadyExists") if taken else (412, "ConditionNotMet")
            return self._fault(*code)
        assert made is not None
        return Said(202 if copied else 201, b"", {**self._headers(made), **copied})

    def _list(self, container: str, query: Mapping[str, str]) -> Said:
        found, below, marker = self.server_of.listed(
            container,
            query.get("prefix", ""),
            query.get("delimiter", ""),
            query.get("marker", ""),
            int(query.get("maxresults") or 5_000),
        )
        blobs = "".join(
            f"<Blob><Name>{escape(key)}</Name><Properties>"
            f"<Last-Modified>{formatdate(it.written, usegmt=True)}</Last-Modified>"
            f"<Etag>{_etag(it)}</Etag><Content-Length>{len(it.content)}</Content-Length>"
            "<BlobType>BlockBlob</BlobType></Properties></Blob>"
            for key, it in found
        )
        blobs += "".join(f"<BlobPrefix><Name>{escape(it)}</Name></BlobPrefix>" for it in below)
        # The library for Python asks for the next page with what is said here.
        echoed = "".join(
            f"<{name}>{escape(query[name.lower()])}</{name}>"
            for name in ("Prefix", "Marker", "MaxResults", "Delimiter")
            if name.lower() in query
        )
        text = (
            '<?xml version="1.0" encoding="utf-8"?>'
            f'<EnumerationResults ServiceEndpoint="{self.server_of.url}/acme" '
            f'ContainerName="{container}">{echoed}<Blobs>{blobs}</Blobs>'
            f"<NextMarker>{escape(marker)}</NextMarker></EnumerationResults>"
        )
        return Said(200, text.encode(), {"Content-Type": "application/xml"})

    def _headers(self, there: Stored) -> dict[str, str]:
        return {
            "ETag": _etag(there),
            "Last-Modified": formatdate(there.written, usegmt=True),
            "Content-Type": "application/octet-stream",
            "Content-MD5": base64.b64encode(hashlib.md5(there.content).digest()).decode(),  # noqa: S324
            "x-ms-blob-type": "BlockBlob",
            "x-ms-creation-time": formatdate(there.written, usegmt=True),
            "x-ms-version": "2021-12-02",
            "x-ms-request-id": "1",
        }

    def _fault(self, status: int, code: str) -> Said:
        said = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
        text = f'<?xml version="1.0" encoding="utf-8"?>{said}'
        told = {"x-ms-error-code": code, "Content-Type": "application/xml"}
        return Said(status, text.encode(), told)


def _etag(there: Stored) -> str:
    return f'"0x{there.version:X}"'


def _json(status: int, told: object) -> Said:
    return Said(status, json.dumps(told).encode(), {"Content-Type": "application/json"})


def _parts(body: bytes, kind: str) -> tuple[bytes, bytes]:
    """The two parts of a body, byte for byte: a parser of mail would change how they end."""
    found = re.search(r"boundary=[\"']?([^\"';]+)", kind)
    assert found is not None
    _, first, second, *_ = body.split(b"--" + found[1].encode())
    whole = [part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") for part in (first, second)]
    return whole[0], whole[1]


@contextmanager
def _serving(handler: type[_Handler]) -> Iterator[ObjectServer]:
    made = ObjectServer()
    bound = type("Handler", (handler,), {"server_of": made})
    with ThreadingHTTPServer(("127.0.0.1", 0), bound) as server:
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield made
        finally:
            server.shutdown()
            thread.join()


def google() -> AbstractContextManager[ObjectServer]:
    """Serve as Google Cloud Storage does."""
    return _serving(_Google)


def azure() -> AbstractContextManager[ObjectServer]:
    """Serve as Azure Blob Storage does, for the account ``acme``."""
    return _serving(_Azure)
