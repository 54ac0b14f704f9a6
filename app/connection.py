"""One client connection: uvicorn's HTTP/1.1 protocol plus what a safe end of it needs.

uvicorn closes a connection that has no request in progress. A request may be on its way at that
moment: in the kernel's buffer, or half received. Closing then loses it, so this protocol knows the
difference. It also bounds the head of a request in size and time, which uvicorn leaves open.
"""

from __future__ import annotations

import asyncio
import select

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.problems import MEDIA_TYPE, ProblemError, encode, stopping

MAX_HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 20.0
# A connection this young most likely has its first request on the way.
_YOUNG_SECONDS = 1.0


class _HeadTooLargeError(Exception):
    """The request line and headers exceed `MAX_HEAD_BYTES`."""


class Connection(HttpToolsProtocol):
    """A client connection that can tell whether closing it would lose a request."""

    _head_bytes = 0
    _head_too_large = False
    _receiving = False
    _head_timer: asyncio.TimerHandle | None = None
    _made_at = 0.0

    # asyncio's callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Starts the clock: a client that never asks is closed like one that stopped asking."""
        super().connection_made(transport)
        self._made_at = self.loop.time()
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clocks."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_head_timer()

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection that was idle too long, unless its next request is here already."""
        if not self.has_unread_data():
            super().timeout_keep_alive_handler()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        """A request's first byte."""
        super().on_message_begin()
        self._receiving = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._give_up_on_head)

    def on_url(self, url: bytes) -> None:
        """A part of the request's target."""
        self._count_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of the request."""
        self._count_head(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The request's head is complete: it becomes a task now."""
        self._stop_head_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request's body is complete."""
        self._receiving = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers a request that is not HTTP as we accept it, and closes."""
        if self._head_too_large:
            self._refuse(ProblemError(431, detail=f"The limit is {MAX_HEAD_BYTES} bytes."))
        else:
            self._refuse(ProblemError(400, detail=msg))

    # what the server asks

    @property
    def busy(self) -> bool:
        """Whether a request is being received, answered or waiting behind another one."""
        answering = self.cycle is not None and not self.cycle.response_complete
        return self._receiving or answering or bool(self.pipeline)

    @property
    def idle(self) -> bool:
        """Whether closing loses nothing that can be known here."""
        expected = self.cycle is None and self.loop.time() - self._made_at < _YOUNG_SECONDS
        return not (self.busy or expected or self.has_unread_data())

    def has_unread_data(self) -> bool:
        """Whether bytes, or the client's end of stream, wait in the kernel's buffer."""
        if self.transport.is_closing():
            return False
        return is_readable(self.transport.get_extra_info("socket").fileno())

    def end(self) -> None:
        """Closes the connection; a client in the middle of sending a request is told why."""
        if self._receiving and not self.transport.is_closing():
            self._refuse(stopping())
        self.transport.close()

    # internals

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._head_too_large = True
            raise _HeadTooLargeError

    def _give_up_on_head(self) -> None:
        if not self.transport.is_closing():
            self._refuse(
                ProblemError(408, detail=f"No complete request within {HEAD_SECONDS:g} s.")
            )

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, problem: ProblemError) -> None:
        self._stop_head_timer()
        body = encode(problem)
        headers = [
            *self.server_state.default_headers,
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *((name.encode(), value.encode()) for name, value in problem.headers.items()),
        ]
        lines = [name + b": " + value + b"\r\n" for name, value in headers]
        self.transport.write(b"".join([STATUS_LINE[problem.status], *lines, b"\r\n", body]))
        self.transport.close()


def is_readable(file_descriptor: int) -> bool:
    """Whether reading (or, of a listening socket, accepting) would find something.

    Args:
        file_descriptor: The socket's; a closed socket has -1 and nothing to find.
    """
    if file_descriptor < 0:
        return False
    poll = select.poll()
    poll.register(file_descriptor, select.POLLIN)
    return bool(poll.poll(0))
