"""For how long somebody who is listened to was heard, and for how long not. Pure.

A connection that was cut says so; one whose other end stands still, or went away with its machine,
says nothing at all. So whoever is to be heard is asked again and again, and only the time between
answers that followed each other closely counts as time in which anything was known.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SILENCE_SECONDS = 3.0
"""Answers that are further apart leave a gap in which nothing is known."""


@dataclass
class Liveness:
    """One that is listened to.

    Attributes:
        began: When listening began, on a clock that only goes forward.
        last: When it was heard last.
        heard: Seconds in which it was heard without a gap.
        silent: Seconds of the gaps there were.
        gaps: When each of them began and ended.
    """

    began: float
    last: float = field(init=False)
    heard: float = field(default=0.0, init=False)
    silent: float = field(default=0.0, init=False)
    gaps: list[tuple[float, float]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.last = self.began

    def hear(self, now: float, *, whole: bool = True) -> None:
        """Take note of an answer.

        Args:
            now: The time.
            whole: Whether everything of interest is known again; time before that is a gap.
        """
        passed = now - self.last
        if whole and passed <= SILENCE_SECONDS:
            self.heard += passed
        else:
            self.silent += passed
            self.gaps.append((self.last, now))
        self.last = now

    def silence(self, now: float) -> float:
        """Return for how long it has not been heard; 0 while nothing is unusual."""
        passed = now - self.last
        return passed if passed > SILENCE_SECONDS else 0.0

    def covers(self, begin: float, end: float) -> bool:
        """Return whether it was heard during the whole of a time."""
        if end > self.last:
            return False
        return not any(begin < until and end > since for since, until in self.gaps)
