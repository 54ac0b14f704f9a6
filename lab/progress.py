"""Shows a person what the lab is doing: what, which of how many, how long, how far.

On a terminal a live line with a bar; elsewhere (CI, a file) one plain line a step and one
every quarter of a minute for a step that takes long.
"""

from __future__ import annotations

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
    """

    def __init__(self, count: int, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._count = count
        self._number = 0
        self._begin = time.monotonic()

    @property
    def console(self) -> Console:
        """The console that shows the steps."""
        return self._console

    @property
    def elapsed(self) -> float:
        """Seconds since the first step could begin."""
        return time.monotonic() - self._begin

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show one step while its block runs.

        Args:
            title: What it does, in words of a person: "build Kubernetes".

        Yields:
            The step, to say how far it is.
        """
        self._number += 1
        head = f"[{self._number}/{self._count}] {title}"
        begin = time.monotonic()
        step = Step(title)
        if self._console.is_terminal:
            with self._live(head, step):
                yield step
        else:
            step._report = self._plain(head, begin)
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

    def _plain(self, head: str, begin: float) -> object:
        last = begin

        def show(now: Step) -> None:
            nonlocal last
            if time.monotonic() - last < PLAIN_INTERVAL:
                return
            last = time.monotonic()
            far = f"{100 * now.done // now.total} %" if now.total else ""
            row = f"{head}  {far}  {now.note}  {last - begin:.0f} s so far"
            self._console.print(row, markup=False, soft_wrap=True)

        return show
