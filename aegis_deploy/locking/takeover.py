"""Whose turn it is on a stack: the claim, what it was taken over from, and what it leaves.

Owns the life of one claim from the side of whoever works: it is taken, what a dead deployer left
is put in order under it, and it is given up, unless something was begun that `locking.state_repair`
has to go on with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aegis_deploy.backend import own_record
from aegis_deploy.common import temp_dir
from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import NOTHING, AegisError, ExitCode
from aegis_deploy.locking import diagnosis, lease, state_repair
from aegis_deploy.locking.lock_holders import DEPLOY, RECOVERY
from aegis_deploy.model.events import Event, Outcome
from aegis_deploy.model.release import Release

if TYPE_CHECKING:
    from aegis_deploy.locking.watchdog import Watchdog
    from aegis_deploy.stack.session import Session

Run = Callable[[Callable[[Event], None]], Outcome]
"""An update: given what to tell its events to, it runs to its end and says what it came to."""


class Takeover:
    """One deployer's turn on one stack.

    Args:
        session: The stack, open.
        out: Where progress goes.

    Attributes:
        cut_short: Whether an update before this work ended unrecorded, so that what is deployed
            is not what the history's last release deployed.
        aimed: The release that a rollback which died was to restore.
        unjudged: Whether something was deployed that the gate has yet to judge.
    """

    def __init__(self, session: Session, out: Output) -> None:
        self.session = session
        self.out = out
        self.cut_short = False
        self.aimed: int | None = None
        self.unjudged = False
        self._unfinished = self._changed = False
        self._claim: lease.Claimed | None = None
        self._guard: Watchdog | None = None

    @contextmanager
    def claimed(self, intent: str, message: str, wait_seconds: float) -> Iterator[None]:
        """Put in order what a dead deployer left, and keep others away while the block runs.

        Args:
            intent: ``deploy``, ``rollback``, ``drift`` or ``contract``.
            message: What to tell others.
            wait_seconds: How long to wait for others.

        Raises:
            AegisError: Somebody else works on the stack.
        """
        self.session.tags()  # Without the marks nothing is begun: no release would be verified.
        self.session.store.require_room()
        with self._claimed(intent, message, wait_seconds) as claim:
            try:
                self._take_over(claim)
                yield
            except BaseException as error:
                # Either nothing was begun yet that would replace what the dead one left half-done,
                # or what was begun still waits for its verdict; the claim is how `recover` knows.
                waits = self._unfinished or self.unjudged
                claim.leaves = waits or claim.claim.intent == RECOVERY
                if isinstance(error, AegisError):
                    self._word(error)
                raise

    @contextmanager
    def recovering(
        self, message: str, *, take: bool = False, wait_seconds: float = 0.0
    ) -> Iterator[lease.Claimed]:
        """Follow whoever died at work on the stack, and keep others away while the block runs.

        A block that fails leaves the claim, so that the next one knows that there is work left.

        Args:
            message: What to tell others.
            take: Whether to follow also one who cannot be told from a living one.
            wait_seconds: How long to wait for those who live.

        Raises:
            AegisError: Somebody alive works on the stack.
        """
        with self._claimed(RECOVERY, message, wait_seconds, take=take) as claim:
            claim.leaves = True
            try:
                yield claim
            except AegisError as error:
                self._word(error)
                if error.state == NOTHING:  # What was left of the dead one's may be settled by now.
                    error.state = "nothing that runs was changed"
                raise
            claim.leaves = False

    @contextmanager
    def guarded(self, wanted: bool) -> Iterator[None]:
        """Have another process put the stack in order should this one die in the block."""
        if not wanted or self._claim is None:
            yield
            return
        from aegis_deploy.locking.watchdog import guarding

        with guarding(self.session, self._claim, self.out) as self._guard:
            yield
        self._guard = None

    def becomes(self, intent: str, target: Release) -> None:
        """Say that the work has become another; what `locking.state_repair` would go on with."""
        if self._claim is not None:
            with suppress(AegisError, OSError):  # It only helps whoever has to recover.
                self._claim.becomes(intent, target.number)

    def deploys(self) -> None:
        """Say of a recovery that from now on an update is what the next one would judge."""
        if self._claim is not None and self._claim.claim.intent == RECOVERY:
            self._claim.becomes(DEPLOY)

    def begins(self) -> None:
        """Tell the guard, when there is one, that an update begins; go no further if overtaken."""
        if self._guard is not None:
            self._guard.begins()
        self.require()

    def require(self) -> None:
        """Go no further when somebody took the stack over while this process stood still.

        Raises:
            AegisError: Somebody did.
        """
        if self._claim is not None:
            self._claim.require()

    def settle(self) -> None:
        """Settle what an update left that was killed, or that did not hear what became of a step.

        Raises:
            AegisError: The cluster, or the backend, could not be asked.
        """
        # Nobody else's update could begin meanwhile: whose lock cannot be told is that CLI's.
        mine = None if self._claim is None else self._claim.id
        state_repair.tidy(self.session, take=True, mine=mine)

    def noting(self, run: Run) -> Run:
        """Note whether an update ends, so that one that does not leaves the claim to `recover`."""

        def noted(on_event: Callable[[Event], None]) -> Outcome:
            self._unfinished = True
            try:
                outcome = run(on_event)
            except AegisError:
                self._unfinished = False
                raise
            self._unfinished = outcome.killed
            self._changed = self._changed or outcome.succeeded or outcome.touched
            return outcome

        return noted

    def _word(self, error: AegisError) -> None:
        """Have an error that knows of no change say what this work had changed before it."""
        if self._unfinished:
            _after(error, "the update was cut short and nothing is undone; what serves, serves on")
        elif self._changed:
            _after(error, "an update had changed what runs, and nothing is undone; it serves on")

    def _take_over(self, claim: lease.Claimed) -> None:
        """Put in order what whoever had the claim before left."""
        unrecorded = diagnosis.is_unrecorded(self.session)  # A refresh would hide it.
        settled = state_repair.tidy(self.session, mine=claim.id, over=claim.over)
        if claim.over and not settled:
            state_repair.refresh(self.session)
        left = settled.interrupted or any(it.lock for it in claim.over)
        self.cut_short = unrecorded or left
        self.aimed = claim.claim.target if claim.over else None
        for line in settled.ended:
            self.out.say(line)
        if claim.over or settled:
            self.out.warn("an earlier update was cut short; its leftovers were settled")

    @contextmanager
    def _claimed(
        self, intent: str, message: str, wait_seconds: float, *, take: bool = False
    ) -> Iterator[lease.Claimed]:
        temp_dir.sweep()
        self.session.store.adopt()
        with lease.claimed(
            self.session,
            intent=intent,
            message=message,
            wait_seconds=wait_seconds,
            take=take,
            own=None if self._claim is None else self._claim.id,
            on_wait=lambda holder: self.out.say(f"waiting for {holder}"),
        ) as claim:
            self._claim = claim
            claim.on_lost = self.session.stop
            self._order(claim)
            yield claim

    def _order(self, claim: lease.Claimed) -> None:
        """Put what whoever had the claim before recorded in its place, before any more is."""
        for holder in claim.over:
            if holder.claim is not None:
                # What cannot be read is told by whoever needs it.
                with suppress(AegisError, OSError):
                    own_record.put_last(self.session.store, holder.claim.since)


def _after(error: AegisError, state: str) -> None:
    """Say of an error that came up after an update what became of that."""
    if error.state == NOTHING:
        error.state = state
        if "aegis recover" not in error.next:
            error.next = "\n".join(filter(None, (error.next, "once that is mended: aegis recover")))
        error.code, error.again = ExitCode.NOT_ROLLED_BACK, True
