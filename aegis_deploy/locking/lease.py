"""Claiming a stack: one works on it at a time, and who died is followed by one other only.

A claim is taken and taken over in one step, so of several who find the same dead deployer one
goes on and the others wait for that one. Whoever lost a claim, because it was stopped for so long
that it passed for dead, is told so before it touches anything again.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.process import Machine, user
from aegis_deploy.locking.lock_holders import (
    RECOVERY,
    Claim,
    Holder,
    Life,
    holders,
    read_claim,
    refuse_living,
)

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

_LOOK_SECONDS = 1.0


@dataclass
class Claimed:
    """A claim that is held, its heart beating.

    Attributes:
        session: The stack.
        claim: What is written down.
        over: Whom it was taken over from: the dead, with the CLI's locks they left.
        on_lost: Called once, from the heart, when somebody else has the claim.
        leaves: Whether the claim stays when the work ends, for whoever goes on with it.
    """

    session: Session
    claim: Claim
    over: tuple[Holder, ...] = ()
    on_lost: Callable[[], None] | None = None
    leaves: bool = False
    clock: Callable[[], float] = time.monotonic
    _lost: bool = False
    _seen_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _over: threading.Event = field(default_factory=threading.Event, repr=False)

    def __post_init__(self) -> None:
        """Count from now on."""
        self._seen_at = self.clock()

    @property
    def id(self) -> str:
        """What names the claim."""
        return self.claim.id

    def becomes(self, intent: str, target: int | None = None) -> None:
        """Say that the work has become another, such as the rollback of a failed deploy.

        Raises:
            AegisError: The claim is somebody else's by now.
        """
        with self._lock:
            self._write(replace(self.claim, intent=intent, target=target))
        self.require()

    def require(self) -> None:
        """Make sure that the claim is held still. Asks the store only when a beat was missed.

        Raises:
            AegisError: It is somebody else's by now.
        """
        with self._lock:
            late = self.clock() - self._seen_at > 2 * self.session.store.beat_seconds
            if late and not self._over.is_set():
                self._write(replace(self.claim, beat=self.claim.beat + 1))
            if not self._lost:
                return
            found = read_claim(self.session)
        now = f"{found.who}, since {found.since}: {found.message}" if found else "nobody any more"
        raise AegisError(
            what=f"{self.session.name} was taken over while this process stood still",
            why=f"its lease of {self.claim.since} was held for a dead one's; it is now of {now}",
            state="whoever took it over brings the stack in order; nothing more is done here",
            next="aegis status",
            code=ExitCode.NOT_ROLLED_BACK,
        )

    def beat(self) -> None:
        """Beat until the work is over; a beat that cannot be written is skipped."""
        told = False
        while not self._over.wait(self.session.store.beat_seconds):
            # Whatever it is: a heart that stands still passes for dead.
            with suppress(Exception), self._lock:
                self._write(replace(self.claim, beat=self.claim.beat + 1))
            if self._lost and not told and self.on_lost is not None:
                told = True
                self.on_lost()

    def end(self) -> None:
        """Stop the heart, and give the claim up unless somebody took it."""
        self._over.set()
        with self._lock:
            if not self._lost and not self.leaves:
                # One that cannot be given up is a dead one's as soon as this process has ended.
                with suppress(AegisError, OSError):
                    self._swap(None)

    def _write(self, claim: Claim) -> None:
        if self._over.is_set() or self._lost:
            return
        if self._swap(claim):
            self.claim, self._seen_at = claim, self.clock()
        else:
            self._lost = True

    def _swap(self, after: Claim | None) -> bool:
        """Replace what is written down; False when it is somebody else's.

        What is there need not be what was written last: the answer to a write may have been lost.
        """
        store, text = self.session.store, None if after is None else after.encode()
        if store.swap_claim(self.claim.encode(), text):
            return True
        found = read_claim(self.session)
        if found is None or found.id != self.claim.id:
            return False
        return found.text == text or store.swap_claim(found.text, text)


@contextmanager
def claimed(
    session: Session,
    *,
    intent: str,
    message: str = "",
    target: int | None = None,
    wait_seconds: float = 0,
    take: bool = False,
    own: str | None = None,
    on_wait: Callable[[Holder], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Claimed]:
    """Claim the stack for everything in the block, after whoever died at work on it.

    The locks of the dead are taken away; what they had begun is the caller's to settle, and the
    claim's intent is to recover, then, until it becomes another.

    Args:
        session: The stack.
        intent: ``deploy``, ``rollback`` or ``drift``; what `recover` goes on with.
        message: What to tell others.
        target: The release a rollback restores.
        wait_seconds: How long to wait for others.
        take: Whether to follow also one who cannot be told from a living one.
        own: The id of a claim that the caller left earlier, which is its to take.
        on_wait: Told for whom it waits, once for each.
        clock: A clock.
        sleep: Waits.

    Raises:
        AegisError: Somebody else holds it still.
    """
    mine = _make(Machine.here(), intent=intent, message=message, target=target)
    deadline, told = clock() + wait_seconds, ""
    while True:
        found = holders(session, mine=own)
        waits_for = [it for it in found if not _can_be_followed(it, take=take)]
        if not waits_for:
            if found:
                mine = replace(mine, intent=RECOVERY, target=_aim(found))
            if _take(session, found, mine, own):
                break
        if clock() >= deadline:
            refuse_living(session.name, found, take=take)
        elif waits_for and str(waits_for[0]) != told and on_wait is not None:
            told = str(waits_for[0])
            on_wait(waits_for[0])
        sleep(_LOOK_SECONDS)
    held = Claimed(session, mine, tuple(found))
    for holder in found:
        # Now: a lock from another machine could not be judged again without that one's claim.
        if holder.lock is not None:
            session.store.release_lock(holder.lock)
    heart = threading.Thread(target=held.beat, name="claim", daemon=True)
    heart.start()
    try:
        yield held
    finally:
        held.end()
        heart.join()


def _aim(found: Sequence[Holder]) -> int | None:
    """The release that whoever died was restoring: it stays the aim of whoever goes on."""
    return next((it.claim.target for it in found if it.claim is not None), None)


def _can_be_followed(holder: Holder, *, take: bool) -> bool:
    return holder.life is Life.ORPHANED or (take and holder.life is Life.UNKNOWN)


def _take(session: Session, found: Sequence[Holder], mine: Claim, own: str | None) -> bool:
    """Take the claim, from the dead one who has it, in a way that only one succeeds at."""
    dead = next((it.claim.text for it in found if it.claim is not None), None)
    if dead is None and own is not None:
        left = read_claim(session)
        dead = left.text if left is not None and left.id == own else None
    if session.store.swap_claim(dead, mine.encode()):
        return True
    # The answer may have been lost.
    written = read_claim(session)
    return written is not None and written.id == mine.id


def _make(here: Machine, *, intent: str, message: str, target: int | None) -> Claim:
    process = here.find(os.getpid())
    return Claim(
        id=uuid.uuid4().hex[:12],
        who=f"{user()}@{here.host}",
        boot=here.boot[:13],
        pid=os.getpid(),
        ticks=None if process is None else process.ticks,
        since=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        message=" ".join(message.split()),
        intent=intent,
        target=target,
    )
