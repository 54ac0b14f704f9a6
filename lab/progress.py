"""Shows a person what the lab is doing: what, which of how many, how long, how far.

On a terminal a live line with a bar; elsewhere (CI, a file) one plain line a step and one
every quarter of a minute for a step that takes long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

PLAIN_INTERVAL = 15.0
"""Seconds between two plain lines of one step."""


@dataclass
class Step:
    """One step under way.

    Attributes:
        title: What it does.
        note: What it is at now.
        done: How much of it is done.
        total: How much there is; None when that cannot be known.
    """

    title: str
    note: str = ""
    done: int = 0
    total: int | None = None
    _report: object = None

    def update(self, *, done: int | None = None, total: int | None = None, note: str = "") -> None:
        """Say how far the step is.

        Args:
            done: How much of it is done; None leaves it.
            total: How much there is; None leaves it.
            note: What it is at now.
        """
        self.done = self.done if done is None else done
        self.total = self.total if total is None else total
        self.note = note or self.note
        if callable(self._report):
            self._report(self)


class Steps:
    """Numbers the steps of one command and shows them.

    Args:
        count: How many steps there will be.
        console: Where they are shown; standard error by default, so that standard output
            stays free for what a script reads.

    Attributes:
        count: The same; more may turn out to be needed on the way.
        number: That of the step that is shown, or was last.
    """

    def __init__(self, count: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self.count = count
        self.number = 0
        self._begin = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the first step could begin."""
        return time.monotonic() - self._begin

    def say(self, line: str) -> None:
        """Show a line between two steps."""
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str, *, prints: bool = False) -> Iterator[Step]:
        """Show one step while its block runs.

        Args:
            title: What it does, in words of a person: "build Kubernetes".
            prints: Another program prints during the step; nothing live is shown then.

        Yields:
            The step, to say how far it is.
        """
        self.number += 1
        head = f"[{self.number}/{self.count}] {title}"
        begin = time.monotonic()
        step = Step(title)
        if prints:
            self._console.print(head, markup=False, soft_wrap=True)
            yield step
        else:
            with self._live(head, step) if self._console.is_terminal else self._plain(head, step):
                yield step
        seconds = time.monotonic() - begin
        note = f"  {step.note}" if step.note else ""
        self._console.print(f"{head}{note}  {seconds:.1f} s", markup=False, soft_wrap=True)

    @contextmanager
    def _live(self, head: str, step: Step) -> Iterator[None]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            task: TaskID = progress.add_task(head, total=None, note="")

            def show(now: Step) -> None:
                progress.update(task, completed=now.done, total=now.total, note=now.note)

            step._report = show
            yield

    @contextmanager
    def _plain(self, head: str, step: Step) -> Iterator[None]:
        begin, over = time.monotonic(), threading.Event()

        def tell() -> None:
            while not over.wait(PLAIN_INTERVAL):
                far = f"{100 * step.done // step.total} %" if step.total else ""
                row = f"{head}  {far}  {step.note}  {time.monotonic() - begin:.0f} s so far"
                self._console.print(row, markup=False, soft_wrap=True)

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            over.set()
            teller.join()
