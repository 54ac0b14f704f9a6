"""Keeping timelines where every machine that uses the stack finds them, and finding them again.

No fault here ever stops a deploy: a timeline that cannot be kept is a warning. It is written when
an update ended well and at the end, so that one whose deployer died is there up to that point. No
secret of the stack's settings gets into one: what a container wrote may hold them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.release import MASK, Release
from aegis_deploy.model.timeline import Timeline
from aegis_deploy.report.recorder import name_of

if TYPE_CHECKING:
    from aegis_deploy.backend.artifacts import ArtifactStore
    from aegis_deploy.report.recorder import Recorder
    from aegis_deploy.stack.session import Session

MOST_KEPT = 100
"""So many timelines of a stack are kept, the newest."""
_SKEW = 1.0
"""The history knows whole seconds."""
_CANDIDATES = 3
_SHORTEST_SECRET = 4
"""What is shorter is in half of all words, and nothing would be left to read."""
_LONG = 250
_UNMASKED = "left out: the stack's secrets could not be read, so that none could be masked here"


@contextmanager
def kept(
    session: Session, recording: Recorder, command: str, warn: Callable[[str], None]
) -> Iterator[None]:
    """Record what happens in the block, and keep it when the block ends, however it does.

    Args:
        session: The stack.
        recording: What listens meanwhile.
        command: What is done.
        warn: Told when it cannot be kept.
    """
    recording.begin(command)
    try:
        yield
    except AegisError as error:
        recording.ended("\n".join(filter(None, (error.what, error.why, error.state))))
        raise
    except BaseException as error:
        recording.ended(f"stopped: {str(error) or type(error).__name__}")
        raise
    finally:
        save(session, recording, warn, finished=True)


def save(
    session: Session, recording: Recorder, warn: Callable[[str], None], *, finished: bool
) -> None:
    """Keep what was recorded so far, when there is anything; what fails is a warning.

    Args:
        session: The stack.
        recording: What was recorded.
        warn: Told when it cannot be kept.
        finished: Whether it has ended. Before that nothing is asked of anybody, so that nothing
            is held up: texts in which secrets could be are left out.
    """
    if not recording.changed:
        return
    timeline = recording.timeline(finished=finished)
    try:
        if recording.speaks:
            secrets = _secrets(session) if finished else None
            timeline = silenced(timeline) if secrets is None else masked(timeline, secrets)
        keep(session.store.timelines, recording.name, timeline)
    except Exception as error:  # Whatever a store's library raises.
        warn(f"the timeline for `aegis report` could not be kept: {error}")


def _secrets(session: Session) -> frozenset[str] | None:
    """The secrets of the stack's settings; None when nobody can tell them."""
    try:
        hidden = {key: it for key, it in session.settings().items() if it.secret}
        if not hidden:
            return frozenset()
        return secrets_of(list(session.decrypted(hidden).values()))
    except AegisError:
        return None


def keep(shelf: ArtifactStore, name: str, timeline: Timeline) -> None:
    """Write a timeline, and let go of the oldest when there are too many.

    Raises:
        OSError: It could not be written; so say AegisError and whatever a store's library raises.
    """
    from aegis_deploy.report.timeline_codec import encode

    shelf.write(name, encode(timeline))
    if timeline.finished:
        for old in shelf.names()[:-MOST_KEPT]:
            shelf.remove(old)


def find(shelf: ArtifactStore, release: Release) -> Timeline | None:
    """Find the timeline of the change that made a release; None when there is none.

    A stack is changed by one at a time, so the one that was under way with it is meant. Names say
    when recordings began, so that few are read.

    Raises:
        ValueError: Its file is damaged; OSError and AegisError: it could not be read.
    """
    from aegis_deploy.report.timeline_codec import decode

    began = release.started.timestamp()
    ended = (release.ended or release.started).timestamp()
    latest = name_of(ended + _SKEW)
    found: list[tuple[float, Timeline]] = []
    for name in [it for it in shelf.names() if it <= latest][-_CANDIDATES:]:
        timeline = decode(shelf.read(name))
        start = timeline.started.timestamp()
        both = min(start + timeline.seconds, ended + _SKEW) - max(start, began)
        if both >= 0:
            found.append((both, timeline))
    return max(found, key=lambda it: it[0])[1] if found else None


def secrets_of(values: Collection[object]) -> frozenset[str]:
    """Return the texts by which secrets can be recognised: themselves, their lines, their base64.

    Args:
        values: The secrets, texts or groups of them.
    """
    found: set[str] = set()
    for value in values:
        if isinstance(value, dict):
            found |= secrets_of(list(value.values()))
        elif isinstance(value, (list, tuple)):
            found |= secrets_of(value)
        elif value is not None and not isinstance(value, bool):
            text = str(value)
            found |= {text, base64.b64encode(text.encode()).decode(), *text.splitlines()}
    return frozenset(it for it in found if len(it.strip()) >= _SHORTEST_SECRET)


def masked(timeline: Timeline, secrets: Collection[str]) -> Timeline:
    """Return a timeline in which none of some texts stands."""
    ordered = sorted(secrets, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in ordered:
            text = text.replace(secret, MASK)
        # A long line was cut off, perhaps in the middle of one.
        return _without_beginning(text, ordered) if len(text) >= _LONG else text

    return _texts_through(timeline, hide) if ordered else timeline


def _without_beginning(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        for size in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
            if text.endswith(secret[:size]):
                return text[:-size] + MASK
    return text


def _texts_through(timeline: Timeline, change: Callable[[str], str]) -> Timeline:
    return replace(
        timeline,
        outcome=change(timeline.outcome),
        judgements=tuple(
            replace(
                it,
                reason=change(it.reason),
                evidence=tuple(map(change, it.evidence)),
                notes=tuple(map(change, it.notes)),
                serving=change(it.serving),
            )
            for it in timeline.judgements
        ),
    )


def silenced(timeline: Timeline) -> Timeline:
    """Return a timeline without the texts in which secrets could be."""
    return replace(
        timeline,
        outcome=_UNMASKED if timeline.outcome else "",
        judgements=tuple(
            replace(it, evidence=(_UNMASKED,) if it.evidence else ()) for it in timeline.judgements
        ),
    )
