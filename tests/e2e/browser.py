"""Headless Chromium, driven over its own protocol through a pipe; no driver is installed for it.

https://chromedevtools.github.io/devtools-protocol/ - messages are JSON, ended by a zero byte, on
file descriptors 3 (to the browser) and 4 (from it). A driver such as Playwright's would add 50 MB
to every environment that `make venv` makes, for the handful of messages below.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_SECONDS = 300.0
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)


@dataclass
class View:
    """A page as it was shown.

    Attributes:
        requests: Every address that was asked for, the page's own first.
        complaints: What the console was told: errors, warnings, exceptions.
        width: How wide the window is.
        content_width: How wide the page is; wider than the window means that it scrolls sideways.
        values: What the expressions asked for came to.
        picture: The whole page as PNG.
    """

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    width: int = 0
    content_width: int = 0
    values: dict[str, Any] = field(default_factory=dict)
    picture: bytes = field(default=b"", repr=False)


@dataclass
class Browser:
    """A running Chromium.

    Attributes:
        into: The pipe to it.
        out: The pipe from it.
    """

    into: int
    out: int
    _buffer: bytes = b""
    _count: int = 0
    _events: list[dict[str, Any]] = field(default_factory=list)

    def look(
        self, page: Path, *, width: int, dark: bool = False, ask: dict[str, str] | None = None
    ) -> View:
        """Open a page in a tab of its own and look at it.

        Args:
            page: The file.
            width: The window's width; up to 600 it is a phone's.
            dark: Whether the person prefers dark colours.
            ask: Expressions to evaluate in it, by name.
        """
        self._events.clear()
        target = self._send("Target.createTarget", url="about:blank")["targetId"]
        session = self._send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._send(f"{domain}.enable", session)
        phone = width <= 600
        screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": phone}
        self._send("Emulation.setDeviceMetricsOverride", session, **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._send("Emulation.setEmulatedMedia", session, features=[scheme])
        self._send("Page.navigate", session, url=page.as_uri())
        self._until("Page.loadEventFired")
        values = {
            name: self._evaluate(session, expression) for name, expression in (ask or {}).items()
        }
        content = self._evaluate(session, "document.documentElement.scrollWidth")
        shot = self._send("Page.captureScreenshot", session, captureBeyondViewport=True)
        self._send("Target.closeTarget", targetId=target)
        return View(
            requests=[
                event["params"]["request"]["url"]
                for event in self._events
                if event["method"] == "Network.requestWillBeSent"
            ],
            complaints=[line for event in self._events if (line := _complaint(event))],
            width=width,
            content_width=content,
            values=values,
            picture=base64.b64decode(shot["data"]),
        )

    def _evaluate(self, session: str, expression: str) -> Any:
        found = self._send("Runtime.evaluate", session, expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def _send(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self.into, json.dumps(message).encode() + b"\0")
        number = self._count
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self._events.append(answer)

    def _until(self, method: str) -> None:
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self.out], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"chromium said nothing for {_SECONDS:g} s"
            more = os.read(self.out, 1 << 16)
            assert more, "chromium has ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def browser(room: Path) -> Iterator[Browser]:
    """Start Chromium, and end it after the block.

    Args:
        room: An empty directory for its profile and its log.
    """
    program = shutil.which("chromium")
    assert program is not None, "chromium is not installed; `make test` installs it"
    theirs_in, into = os.pipe()
    out, theirs_out = os.pipe()
    log = (room / "chromium.log").open("wb")
    # The two descriptors are not ours to choose otherwise: a shell puts them in their places.
    wired = f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}'
    process = subprocess.Popen(
        ["bash", "-c", wired, "chromium", program, *_FLAGS, f"--user-data-dir={room / 'profile'}"],
        pass_fds=(theirs_in, theirs_out),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, "HOME": str(room)},
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(into, out)
    finally:
        os.close(into)
        os.close(out)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        log.close()


def _complaint(event: dict[str, Any]) -> str:
    """What the console was told in an event; empty when it was told nothing bad."""
    parameters = event.get("params") or {}
    if event.get("method") == "Runtime.exceptionThrown":
        return str(parameters["exceptionDetails"].get("text"))
    if event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] != "info":
        return str(parameters["entry"]["text"])
    if event.get("method") == "Runtime.consoleAPICalled" and parameters["type"] in (
        "error",
        "warning",
        "assert",
    ):
        return str(parameters["args"])
    return ""
