"""A server on the loopback that plays the release sites, well or badly."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from lab import releases
from lab.image_archive import architecture
from lab.releases import Release
from lab.settings import LabSettings


class Site:
    """What it serves, and how.

    Attributes:
        files: Path -> what is there.
        manners: Path -> how it is served: a number for a status, "cut", "cut once", "stall",
            "drip", "silence" or "move".
        asked: What was asked for, in order: "GET /path".
        over: Set when the site closes; what stalls ends then.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.manners: dict[str, str] = {}
        self.asked: list[str] = []
        self.over = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def offer(self, settings: LabSettings, release: Release, archive: bytes) -> Release:
        """Serve a release, and return it as the lab has to know it.

        Args:
            settings: A lab whose sites are this one.
            release: The release; where its checksum is pinned, it becomes this archive's.
            archive: What its archive is.
        """
        self.files[self.path(settings, release)] = archive
        if release.pin is not None:
            pinned = {architecture(): hashlib.sha512(archive).hexdigest()}
            return Release(**{**vars(release), "pinned": pinned})
        row = f"{hashlib.sha256(archive).hexdigest()}  {release.file}\n"
        self.files[self.path(settings, release, release.published)] = row.encode()
        return release

    def path(self, settings: LabSettings, release: Release, file: str | None = None) -> str:
        """Return the path of a release's archive, or of another file of it."""
        return release.url(settings, file or release.archive).removeprefix(self.url)


def archive(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """Make a compressed archive.

    Args:
        members: Name -> what is in the file, or what else it is.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in members.items():
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            if isinstance(content, bytes):
                info.size, info.mode = len(content), 0o6755
                file.addfile(info, io.BytesIO(content))
            else:
                file.addfile(info)
    return buffer.getvalue()


def whole(release: Release) -> bytes:
    """Return an archive as a release's is: what is needed of it, and other things."""
    folder = {releases.PULUMI: "pulumi/", releases.KUBERNETES: "kubernetes/server/bin/"}
    programs = {
        f"{folder.get(release, '')}{name}": f"#!/bin/sh\necho {name}\n".encode()
        for name in release.needed
    }
    return archive({**programs, "LICENSE": b"as it is\n", "kubernetes/addons.tar": b"-" * 1000})


@contextmanager
def running() -> Iterator[Site]:
    """Run one."""
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def do_CONNECT(self) -> None:
            site.asked.append(f"CONNECT {self.path}")
            self.send_error(403)

        def _answer(self) -> None:
            site.asked.append(f"{self.command} {self.path}")
            manner = site.manners.get(self.path, "")
            if manner == "silence":
                site.over.wait(60)
                return
            if manner == "move":
                self.send_response(302)
                site.files[f"/moved{self.path}"] = site.files[self.path]
                self.send_header("Location", f"{site.url}/moved{self.path}")
                self.end_headers()
                return
            content = site.files.get(self.path)
            if manner.isdigit() or content is None:
                self.send_error(int(manner or 404))
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if manner == "cut once":
                site.manners.pop(self.path)
            if manner == "drip":
                self._drip(content)
            elif manner:
                self.wfile.write(content[: len(content) // 2])
                self.wfile.flush()
                site.over.wait(60 if manner == "stall" else 0)
            else:
                self.wfile.write(content)

        def _drip(self, content: bytes) -> None:
            for position in range(len(content)):
                if site.over.wait(0.05):
                    return
                self.wfile.write(content[position : position + 1])

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    site.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
