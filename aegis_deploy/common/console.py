"""What `aegis` writes: live progress on a terminal, plain lines elsewhere, or one JSON document.

Results go to standard output; progress, warnings and errors go to standard error, so that
``--json`` leaves exactly one document on standard output, whatever happens. This is the only
place where an :class:`common.errors.AegisError` is printed. Texts come from logs, clusters and
people: what would act on a terminal is taken out. Whoever reads may go at any time, which ends
nothing that is being done.
"""

from __future__ import annotations

import io
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO, cast

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.sanitize import plain

if TYPE_CHECKING:
    from rich.status import Status

_PLAIN_SECONDS = 5.0
"""How often a status that changes all the time is written where nobody can overwrite it."""
_QUIET_SECONDS, _QUIETER_SECONDS = 10.0, 30.0
"""After so long without a word it is said what is waited for, and then so often."""
_LOOK_SECONDS = 1.0
_WIDTH = 20


def bar(done: int, total: int) -> str:
    """Draw how far something is.

    Args:
        done: How much of it is done.
        total: How much there is.
    """
    filled = _WIDTH * min(done, total) // total if total else _WIDTH
    return f"[{'#' * filled}{'.' * (_WIDTH - filled)}]"


class Output:
    """One command's output.

    Attributes:
        json: Whether the result is one JSON document.
    """

    def __init__(
        self,
        *,
        results: TextIO | None = None,
        messages: TextIO | None = None,
        answers: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.json = False
        self._results = results or sys.stdout
        self._messages = messages or sys.stderr
        self._answers = answers or sys.stdin
        self._clock = clock
        self._status: Status | None = None
        self._said = ""
        self._said_at = float("-inf")
        self._heard_at = self._clock()
        self._printed = False

    @property
    def live(self) -> bool:
        """Whether somebody watches who can be shown a line that changes."""
        return self._messages.isatty()

    def say(self, text: str) -> None:
        """Tell what happens, in a line that stays."""
        self._heard_at = self._clock()
        if self._status is None:
            self._tell(text)
            return
        from rich.text import Text

        # Past the console it would be appended to the line that changes.
        with self._readable():
            self._status.console.print(Text(plain(text)), soft_wrap=True)

    def warn(self, text: str) -> None:
        """Tell what somebody should know who did not ask."""
        first, *rest = text.splitlines() or [""]
        self.say("\n".join([f"warning: {first}", *(f"  {line}" for line in rest)]))

    def status(self, text: str) -> None:
        """Tell how things are just now: overwritten on a terminal, now and then elsewhere."""
        if self._status is not None:
            from rich.markup import escape

            if text != self._said:
                self._said, self._heard_at = text, self._clock()
            self._status.update(escape(plain(text)))
            return
        due = self._clock() - self._said_at >= _PLAIN_SECONDS
        if due and text != self._said:
            self._said, self._said_at = text, self._clock()
            self.say(f"  {text}")

    @contextmanager
    def progress(self, text: str, doing: Callable[[], str] | None = None) -> Iterator[None]:
        """Show that something is under way while the block runs.

        Where nothing is said for a while, it is said that it still is, and what is waited for.

        Args:
            text: What is under way, until :meth:`status` says more.
            doing: Says what of it has begun and not ended; empty where that is not known.
        """
        self._said = ""
        if not self.live:
            self.say(text)
            with self._reminding(text, doing):
                yield
            return
        from rich.console import Console
        from rich.markup import escape

        with Console(file=self._messages).status(escape(plain(text))) as status:
            self._status = status
            try:
                with self._reminding(text, doing):
                    yield
            finally:
                self._status = None

    @contextmanager
    def _reminding(self, text: str, doing: Callable[[], str] | None) -> Iterator[None]:
        """Say from time to time what is waited for in the block, when nothing else is said."""
        over, began, quiet = threading.Event(), self._clock(), _QUIET_SECONDS
        self._heard_at = began

        def remind() -> None:
            nonlocal quiet
            while not over.wait(_LOOK_SECONDS):
                if self._clock() - self._heard_at < quiet:
                    continue
                quiet = _QUIETER_SECONDS
                waits = "; ".join(filter(None, (doing() if doing else "", self._said)))
                seconds = round(self._clock() - began)
                self.say(f"  still {text}, for {seconds} s" + (f": {waits}" if waits else ""))

        thread = threading.Thread(target=remind, name="remind", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def show(self, text: str) -> None:
        """Show a result to a person; with ``--json`` nothing is shown."""
        if not self.json:
            self._print(plain(text))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show a table to a person, aligned, one row a line."""
        lines = [tuple(columns), *(tuple(row) for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.show("  ".join(cells).rstrip())

    def document(self, data: object) -> None:
        """Give the result to a program: with ``--json``, the one document.

        Args:
            data: What `json.dumps` takes; other values are written as their text.
        """
        if self.json and not self._printed:
            self._printed = True
            self._print(json.dumps(data, indent=2, default=str))

    def confirm(self, question: str) -> bool:
        """Ask a person.

        Raises:
            AegisError: Nobody is there to answer.
        """
        if self.json or not self._answers.isatty():
            raise AegisError(
                what="nobody is there to confirm",
                why="standard input is no terminal, or the output is JSON",
                next="add --yes to go on without a question",
            )
        self._tell(f"{question} [y/N] ", end="")
        return self._answers.readline().strip().lower() in {"y", "yes"}

    def fail(self, error: AegisError) -> int:
        """Print what went wrong and return the exit code."""
        self.document(
            {
                "error": {
                    "what": error.what,
                    "why": error.why,
                    "state": error.state,
                    "next": error.next,
                    "code": error.code.value,
                    "outcome": error.code.name.lower(),
                },
                **error.details,
            }
        )
        text = str(error)
        if error.code is ExitCode.NOT_ROLLED_BACK:
            rule = "!" * 72
            text = f"{rule}\n{text}\n{rule}"
        if self.live:
            from rich.console import Console
            from rich.text import Text

            with self._readable():
                shown = Text(plain(text), style="red")
                Console(file=self._messages).print(shown, soft_wrap=True)
        else:
            self.say(text)
        return error.code.value

    def _print(self, text: str) -> None:
        """Write a result."""
        try:
            print(text, file=self._results, flush=True)
        except (OSError, ValueError) as error:
            self._results = _nowhere(self._results)
            if not isinstance(error, BrokenPipeError):
                self.warn(f"what was found cannot be written: {error}")

    def _tell(self, text: str, end: str = "\n") -> None:
        """Write a message."""
        with self._readable():
            print(plain(text), end=end, file=self._messages, flush=True)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Write messages in the block; from when nobody can read them on, into nothing."""
        try:
            yield
        except (OSError, ValueError):
            self._messages = _nowhere(self._messages)


class _Nowhere(io.TextIOBase):
    """A stream that nobody reads."""

    def write(self, text: str, /) -> int:
        return len(text)


def _nowhere(stream: TextIO) -> TextIO:
    """Lead a stream into nothing, and return one that leads there."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        # What is buffered is written when the process ends, and would fail once more.
        os.dup2(nothing, stream.fileno())
    except (OSError, ValueError):
        pass  # It has no descriptor, or none any more.
    finally:
        os.close(nothing)
    return cast("TextIO", _Nowhere())
