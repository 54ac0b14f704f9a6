"""Waiting for an object to become what it should be: events in, a decision out.

Owns the loop (watches, deadline, cancellation, progress) and the shape of a decision; what each
kind needs to be ready is in the ``await_*`` modules, which see events only and ask no server.
"""

from __future__ import annotations

import abc
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.plugins.kubernetes.client import Api, ApiError, UnreachableError, Watch, resource_version
from lab.plugins.kubernetes.discovery import Discovery, UnknownKindError
from lab.plugins.kubernetes.objects import Object, items, name_of, namespace_of, text

DEFAULT_SECONDS = 600.0
_REPORT_SECONDS = 10.0
_RETRY_SECONDS = 1.0
ADDED, DELETED, LISTED = "ADDED", "DELETED", "LISTED"


@dataclass(frozen=True)
class Subject:
    """A set of objects to watch: a kind in a namespace, perhaps selected."""

    api_version: str
    kind: str
    namespace: str = ""
    field_selector: str = ""
    label_selector: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The query parameters that select the objects."""
        pairs = {"fieldSelector": self.field_selector, "labelSelector": self.label_selector}
        return {key: value for key, value in pairs.items() if value}


class Condition(abc.ABC):
    """What one object waits for. Fed with events, it says when it is met.

    Attributes:
        live: The object's last known state.
    """

    def __init__(self, live: Object) -> None:
        self.live = live

    def subjects(self) -> list[Subject]:
        """Return what to watch; the object itself unless more is needed."""
        return [self_subject(self.live)]

    @abc.abstractmethod
    def observe(self, event: str, obj: Object, now: float) -> None:
        """Take note of an event (``ADDED``, ``MODIFIED``, ``DELETED``) of any watched object.

        After the first listing of a subject comes ``LISTED`` with a ``count`` and no object.
        """

    @abc.abstractmethod
    def met(self, now: float) -> bool:
        """Say whether the wait is over."""

    def failed(self) -> bool:
        """Say whether it can never be met."""
        return False

    def wakes_at(self) -> float | None:
        """Return when ``met`` may change without any event."""
        return None

    def progress(self) -> str:
        """Return one line about what is still missing, "" for none."""
        return ""

    def warnings(self) -> list[str]:
        """Return what goes wrong at the moment, for the display."""
        return []

    def reasons(self) -> list[str]:
        """Return what was missing, for the error."""
        return []

    def is_mine(self, obj: Object) -> bool:
        """Say whether an event is about the object itself and not older than our write."""
        if obj.get("kind") != self.live.get("kind") or name_of(obj) != name_of(self.live):
            return False
        mine, seen = self.live.get("metadata") or {}, obj.get("metadata") or {}
        return (seen.get("generation") or 0) >= (mine.get("generation") or 0)


class WaitError(Exception):
    """A wait that ended without its condition.

    Attributes:
        live: The object's last known state.
        reasons: What was missing.
    """

    def __init__(self, message: str, live: Object, reasons: list[str]) -> None:
        super().__init__(message)
        self.live, self.reasons = live, reasons


class Cancellation:
    """One event that ends every wait at once."""

    def __init__(self) -> None:
        self._set = threading.Event()
        self._lock = threading.Lock()
        self._wakers: set[Callable[[], None]] = set()

    @property
    def cancelled(self) -> bool:
        """Whether the engine has asked to stop."""
        return self._set.is_set()

    def cancel(self) -> None:
        """End every wait."""
        self._set.set()
        with self._lock:
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def sleep(self, seconds: float) -> None:
        """Sleep, but not past a cancellation."""
        self._set.wait(seconds)

    def on_cancel(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call ``wake`` at cancellation; returns a function that takes it back."""
        with self._lock:
            self._wakers.add(wake)
        return lambda: self._wakers.discard(wake)


def self_subject(obj: Object) -> Subject:
    """Return the subject that is just this object."""
    return Subject(
        text(obj, "apiVersion"),
        text(obj, "kind"),
        namespace_of(obj),
        field_selector=f"metadata.name={name_of(obj)}",
    )


class _Feed:
    """Lists and watches subjects in threads, and queues what they report."""

    def __init__(self, api: Api, discovery: Discovery, subjects: list[Subject]) -> None:
        self.events: queue.SimpleQueue[tuple[str, Object] | None] = queue.SimpleQueue()
        self._api, self._discovery = api, discovery
        self._stopped = threading.Event()
        self._open: dict[Subject, Watch] = {}
        for subject in subjects:
            threading.Thread(target=self._follow, args=(subject,), daemon=True).start()

    def close(self) -> None:
        self._stopped.set()
        for watch in list(self._open.values()):
            watch.close()

    def _follow(self, subject: Subject) -> None:
        while not self._stopped.is_set():
            try:
                self._list_and_watch(subject)
            except ApiError as error:
                if error.expired:
                    continue
                if error.forbidden or error.not_found:
                    return  # its events only add to what the object itself tells
            except UnknownKindError:
                return
            except UnreachableError:
                pass  # the deadline ends a wait for a server that stays away
            self._stopped.wait(_RETRY_SECONDS)

    def _list_and_watch(self, subject: Subject) -> None:
        mapping = self._discovery.mapping(subject.api_version, subject.kind)
        path = mapping.collection(subject.namespace)
        version = ""
        while not self._stopped.is_set():
            if not version:
                listing = self._api.get(path, **subject.query)
                version = resource_version(listing)
                found = items(listing, "items")
                for obj in found:
                    self.events.put((ADDED, identified(obj, subject)))
                self.events.put((LISTED, {"listed": subject.kind, "count": len(found)}))
            watch = self._api.watch(
                path, resourceVersion=version, allowWatchBookmarks="true", **subject.query
            )
            self._open[subject] = watch
            for event, obj in watch:
                version = text(obj, "metadata", "resourceVersion") or version
                if event != "BOOKMARK":
                    self.events.put((event, obj))


def identified(obj: Object, subject: Subject) -> Object:
    """Return an item of a list with its kind, which lists leave out."""
    return {"apiVersion": subject.api_version, "kind": subject.kind, **obj}


@dataclass(frozen=True)
class Waiting:
    """How to wait: the server, the cancellation, and whom to tell.

    ``say`` takes a message and whether it is a warning.
    """

    api: Api
    discovery: Discovery
    cancellation: Cancellation
    say: Callable[[str, bool], None]


def wait_for(condition: Condition, waiting: Waiting, seconds: float) -> Object:
    """Wait until a condition is met.

    Args:
        condition: What to wait for.
        waiting: How to wait.
        seconds: The longest wait.

    Returns:
        The object's last state.

    Raises:
        WaitError: Cancelled, timed out, or the condition can never be met.
    """
    now = time.monotonic()
    if condition.met(now):
        return condition.live
    deadline, report_at, said = now + seconds, now + _REPORT_SECONDS, ""
    feed = _Feed(waiting.api, waiting.discovery, condition.subjects())
    forget = waiting.cancellation.on_cancel(lambda: feed.events.put(None))
    try:
        while not condition.met(now):
            if waiting.cancellation.cancelled:
                raise _ended(condition, "resource operation was cancelled for '{name}'")
            if condition.failed():
                raise _ended(condition, "resource '{name}' was created but failed to initialize")
            if now >= deadline:
                raise _ended(condition, "'{name}' timed out waiting to be Ready")
            if condition.progress() not in ("", said):
                said = condition.progress()
                waiting.say(said, False)
            if now >= report_at:
                report_at = now + _REPORT_SECONDS
                for warning in condition.warnings():
                    waiting.say(warning, True)
            _take_events(condition, feed, min(deadline, report_at), now)
            now = time.monotonic()
    finally:
        forget()
        feed.close()
    waiting.say("", False)
    return condition.live


def _take_events(condition: Condition, feed: _Feed, until: float, now: float) -> None:
    """Hand over the events there are, or wait for the next one or the time it takes."""
    wakes_at = condition.wakes_at()
    if wakes_at is not None:
        until = min(until, wakes_at)
    try:
        event = feed.events.get(timeout=max(0.0, until - now))
        while event is not None:
            condition.observe(event[0], event[1], time.monotonic())
            event = feed.events.get_nowait()
    except queue.Empty:
        return


def check_now(condition: Condition, waiting: Waiting) -> None:
    """Judge an object as it is, without waiting, as a refresh does.

    Raises:
        WaitError: The condition is not met.
    """
    for subject in condition.subjects():
        try:
            mapping = waiting.discovery.mapping(subject.api_version, subject.kind)
            listing = waiting.api.get(mapping.collection(subject.namespace), **subject.query)
        except (ApiError, UnknownKindError):
            continue
        for obj in items(listing, "items"):
            condition.observe(ADDED, identified(obj, subject), 0.0)
    if not condition.met(float("inf")):
        raise _ended(condition, "resource '{name}' was created but failed to initialize")


def _ended(condition: Condition, message: str) -> WaitError:
    return WaitError(
        message.format(name=name_of(condition.live)), condition.live, condition.reasons()
    )
