"""A history that is read as far as somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import overload

from aegis_deploy.history.annotate import NEAR, settled
from aegis_deploy.model.release import Release

_FIRST = 4 * NEAR
_MORE = 4


class Reading(Sequence[Release]):
    """Releases, newest first, with their marks; whoever goes through them reads more and more.

    A release is handed out once everything that could change its marks has been read, so that it
    is the same as in a history read whole.
    """

    def __init__(
        self,
        count: int,
        read: Callable[[int, int], list[Release]],
        mark: Callable[[Sequence[Release]], list[Release]],
    ) -> None:
        """Read nothing yet.

        Args:
            count: How many releases there are; they are numbered from 1.
            read: Reads some: the newest one's number, and how many.
            mark: Adds the marks, as far as the releases given tell.
        """
        self._count, self._read, self._mark = count, read, mark
        self._head: list[Release] = []
        self._settled: list[Release] = []
        self._alone: dict[int, Release] = {}

    def __len__(self) -> int:
        """How many releases there are."""
        return self._count

    @overload
    def __getitem__(self, place: int) -> Release: ...
    @overload
    def __getitem__(self, place: slice) -> list[Release]: ...
    def __getitem__(self, place: int | slice) -> Release | list[Release]:
        """Return the release at a place, 0 being the newest."""
        if isinstance(place, slice):
            return [self[it] for it in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        while place == len(self._settled):
            self._read_on()
        if place < len(self._settled):
            return self._settled[place]
        if place not in self._alone:
            self._alone[place] = self._read_alone(place)
        return self._alone[place]

    def _read_on(self) -> None:
        """Read the next ones, more of them each time."""
        have = len(self._head)
        wanted = max(_FIRST, have * _MORE)
        more = self._read(self._count - have, wanted - have)
        self._head += more
        if not more:
            self._count = have  # Somebody has pruned the history meanwhile.
        marked = self._mark(self._head)
        whole = len(self._head) >= self._count
        self._settled = marked if whole else marked[: settled(self._head)]

    def _read_alone(self, place: int) -> Release:
        """Read one from the middle, and around it what its marks depend on."""
        around = _FIRST
        while True:
            start, stop = max(0, place - around), min(self._count, place + around)
            found, here = self._read(self._count - start, stop - start), place - start
            older = stop == self._count or settled(found) > here
            if older and (start == 0 or _is_apart(found[:here])):
                current = next((it.number for it in self if it.deploys), None)
                marked = self._mark(found)[here]
                return replace(marked, current=marked.number == current)
            around *= _MORE


def _is_apart(newer: Sequence[Release]) -> bool:
    """Whether none of the releases that came right after one repeats it."""
    last = next((it for it in reversed(newer) if it.deploys), None)
    return last is not None and not last.unchanged
