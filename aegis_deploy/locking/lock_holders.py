"""Who works on a stack: told from who did, and died.

Two things say so. The CLI's own lock names a process and lasts for one operation. `aegis` adds a
claim (:mod:`locking.lease`) that lasts from the preview to the verdict of the gate, with a heart
that beats: it tells other machines that its holder lives, by changing, so that no two clocks need
agree.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING

from aegis_deploy.backend.protocol import Lock
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.process import Machine, RunningProcess, began_after
from aegis_deploy.history.verification_store import LONGEST

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

CLI = "pulumi"
_CLOCKS = timedelta(seconds=10)
"""How far the clock of a claim's holder and a service's may differ."""
PATIENCE = 4
"""After this many beats that did not come, a claim's holder is dead."""
DEPLOY, ROLLBACK, DRIFT_FIX, RECOVERY = "deploy", "rollback", "drift", "recover"
CONTRACT = "contract"
"""What a claim says that its holder is about; `locking.diagnosis` decides by it. A rollback has its
target before it changes anything; ``drift --fix`` patches before it has one; a contract changes
the database alone, and nothing that a state has."""


class Life(Enum):
    """Whether a lock's or a claim's holder is alive."""

    HELD = "held"
    ORPHANED = "orphaned"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What `aegis` writes down while it works on a stack.

    Attributes:
        id: Names the claim.
        who: User and host.
        boot: The boot of that host, and the space in which the process is counted there.
        pid: The process.
        ticks: When the process began, in ticks since the boot.
        since: When the work began, ISO 8601.
        message: What it is for.
        intent: What its holder is about, such as `ROLLBACK`.
        target: The number of the release a rollback restores.
        beat: Counts up as long as the holder lives.
        text: What was read; empty for a claim that was not.
    """

    id: str
    who: str
    boot: str
    pid: int
    ticks: int | None
    since: str
    message: str = ""
    intent: str = ""
    target: int | None = None
    beat: int = 0
    text: str = field(default="", repr=False, compare=False)

    @property
    def host(self) -> str:
        """The host of its holder."""
        return self.who.rpartition("@")[2]

    def encode(self) -> str:
        """The claim as text that fits into a tag, whose values may be 256 bytes long."""
        words = [self.id, self.who, self.boot, self.pid, self.ticks, self.since]
        words += [self.intent, self.target, self.beat]
        message = self.message
        while True:
            text = json.dumps([*words, message], separators=(",", ":"), ensure_ascii=False)
            if len(text.encode()) <= LONGEST or not message:
                return text
            message = message[:-1]

    @classmethod
    def decode(cls, text: str) -> Claim:
        """Read a claim; a damaged one names nobody, and its heart does not beat."""
        try:
            name, who, boot, pid, ticks, since, intent, target, beat, message = json.loads(text)
            return cls(
                id=str(name),
                who=str(who),
                boot=str(boot),
                pid=int(pid),
                ticks=None if ticks is None else int(ticks),
                since=str(since),
                intent=str(intent),
                target=None if target is None else int(target),
                beat=int(beat),
                message=str(message),
                text=text,
            )
        except (ValueError, TypeError):
            return cls(id=text, who="", boot="", pid=-1, ticks=None, since="", text=text)


@dataclass(frozen=True)
class Holder:
    """A claim on a stack, judged.

    Attributes:
        life: Whether it is held, orphaned, or cannot be told.
        who: User and host.
        since: Since when.
        message: What it is for, where that is known.
        why: What the judgement rests on.
        lock: The CLI's lock, when it is one.
        claim: The claim of `aegis`, when it is one.
        silent: Whether it is called dead for its silence alone.
    """

    life: Life
    who: str
    since: str
    message: str
    why: str
    lock: Lock | None = field(default=None, repr=False)
    claim: Claim | None = field(default=None, repr=False)
    silent: bool = False

    def __str__(self) -> str:
        """Say who, since when, what for."""
        text = f"{self.who or 'somebody'}, since {self.since or 'an unknown time'}"
        return f"{text}: {self.message}" if self.message else text


def judge_lock(lock: Lock, here: Machine, claim: Holder | None = None) -> Holder:
    """Say whether the CLI's lock is held.

    Args:
        lock: The lock.
        here: This machine.
        claim: The claim of `aegis` on the same stack, judged, if there is one.
    """
    life, why = _judge_lock(lock, here, claim)
    since = f"{lock.since:%Y-%m-%d %H:%M:%S %z}" if lock.since else ""
    message = claim.message if claim is not None else ""
    return Holder(life, lock.who, since, message, why, lock=lock)


def _judge_lock(lock: Lock, here: Machine, claim: Holder | None) -> tuple[Life, str]:
    if lock.fault:
        return Life.UNKNOWN, f"{lock.place} cannot be read: {lock.fault}"
    if lock.pid is None:
        return _judge_lease(lock, claim)
    if lock.own and here.sees_all and here.is_named(lock.host):
        return _judge_own(lock.pid, lock, here)
    if claim is not None and claim.claim is not None and claim.claim.host == lock.host:
        return _judge_claimed(lock.pid, lock, here, claim)
    return _judge_named(lock.pid, lock, here)


def _judge_named(pid: int, lock: Lock, here: Machine) -> tuple[Life, str]:
    """Judge a lock of which the host's name is all that is known."""
    if not here.is_named(lock.host):
        return Life.UNKNOWN, f"its process {pid} is on {lock.host}, not on {here.host}"
    # A container or another machine may have this one's name.
    process = here.find(pid)
    if process is not None and _is_cli(process) and not began_after(process, lock.since):
        return Life.HELD, f"its process {pid} ({process.name}) runs"
    return Life.UNKNOWN, f"process {pid} of a {lock.host} took it, which may not be this one"


def _judge_claimed(pid: int, lock: Lock, here: Machine, claim: Holder) -> tuple[Life, str]:
    """Judge the lock of a CLI that the claim's holder started."""
    if claim.silent:
        # A stopped CLI goes on where it stood, over whatever was done meanwhile.
        return Life.UNKNOWN, (
            f"{claim.why}, but process {pid} there has not given up its lock: "
            "it may only stand still"
        )
    if claim.life is Life.ORPHANED and claim.claim is not None and _is_counted(claim.claim, here):
        # It was one of the processes that are seen here, and so is its CLI, which may live.
        return _judge_process(here.find(pid), lock)
    return claim.life, claim.why


def _judge_own(pid: int, lock: Lock, here: Machine) -> tuple[Life, str]:
    """Judge a lock that one of the processes wrote that are seen from here."""
    within = (it for it in here.find_within(pid) if _is_cli(it))
    found = [here.find(pid), *within]
    judged = [_judge_process(it, lock) for it in found]
    living = [it for it in judged if it[0] is not Life.ORPHANED]
    return next(iter([*living, *judged]))


def _judge_lease(lock: Lock, claim: Holder | None) -> tuple[Life, str]:
    """Judge an update that a service has in progress, which says whose it is, but not more."""
    if claim is None or claim.claim is None or not _is_of(claim.claim, lock):
        return Life.UNKNOWN, f"{lock.place}; nothing says whether its process lives"
    if claim.silent:
        return Life.UNKNOWN, f"{claim.why}, but {lock.place} is not over: it may only stand still"
    return claim.life, claim.why


def _is_of(claim: Claim, lock: Lock) -> bool:
    """Whether an update is of a claim's holder: no other program may begin one meanwhile."""
    try:
        claimed = datetime.fromisoformat(claim.since)
    except ValueError:
        return False
    return lock.automated and lock.since is not None and lock.since >= claimed - _CLOCKS


def _judge_process(process: RunningProcess | None, lock: Lock) -> tuple[Life, str]:
    if process is None:
        return Life.ORPHANED, f"its process {lock.pid} is gone"
    if not began_after(process, lock.since):
        return Life.HELD, f"its process {lock.pid} ({process.name or 'alive'}) runs"
    if _is_cli(process):
        # A clock that was set forward makes the lock's own process look too young.
        return Life.UNKNOWN, f"process {lock.pid} is a {process.name}, yet younger than the lock"
    return Life.ORPHANED, f"its process id {lock.pid} now belongs to {process.name}"


def _is_cli(process: RunningProcess) -> bool:
    return process.name.startswith(CLI)


def _is_counted(claim: Claim, here: Machine) -> bool:
    """Whether the claim's process is one of those that are counted, and seen, here."""
    return bool(claim.boot) and claim.boot == here.boot[: len(claim.boot)]


def judge_claim(
    claim: Claim,
    here: Machine,
    again: Callable[[], Claim | None],
    sleep: Callable[[float], None] = time.sleep,
    beat_seconds: float = 5.0,
) -> Holder | None:
    """Say whether a claim's holder lives; None when it ended its work while being watched.

    Args:
        claim: The claim.
        here: This machine.
        again: Reads it once more.
        sleep: Waits.
        beat_seconds: How often it should beat.
    """

    def holder(life: Life, why: str, *, silent: bool = False) -> Holder:
        return Holder(life, claim.who, claim.since, claim.message, why, claim=claim, silent=silent)

    if _is_counted(claim, here):
        process = here.find(claim.pid)
        if process is None or None not in (process.ticks, claim.ticks):
            if process is not None and process.ticks == claim.ticks:
                return holder(Life.HELD, f"its process {claim.pid} runs")
            return holder(Life.ORPHANED, f"its process {claim.pid} is gone")
    for _ in range(PATIENCE):
        sleep(beat_seconds)
        now = again()
        if now is None or now.id != claim.id:
            return None
        if now.beat != claim.beat:
            return holder(Life.HELD, f"its heart beats on {claim.host}")
    silence = PATIENCE * beat_seconds
    why = f"its heart on {claim.host} has not beaten for {silence:.0f} s"
    return holder(Life.ORPHANED, why, silent=True)


def holders(
    session: Session, here: Machine | None = None, *, mine: str | None = None
) -> list[Holder]:
    """Everybody who has a lock or a claim on the stack, judged.

    A claim made on another machine is watched for some beats before it is called dead.

    Args:
        session: The stack.
        here: This machine.
        mine: The id of the claim of whoever asks, which does not count.
    """
    here = here or Machine.here()
    claim = read_claim(session)
    if claim is not None and claim.id == mine:
        claim = None
    judged = None
    if claim is not None:
        judged = judge_claim(
            claim, here, lambda: read_claim(session), beat_seconds=session.store.beat_seconds
        )
    found = [judge_lock(lock, here, judged) for lock in session.store.locks()]
    if judged is None:
        return found
    doubted = [it for it in found if it.life is Life.UNKNOWN]
    if judged.silent and doubted:
        # One holder, one judgement: the claim is no more certainly dead than its lock.
        judged = replace(judged, life=Life.UNKNOWN, why=doubted[0].why)
    return [*found, judged]


def clear(
    session: Session,
    *,
    take: bool = False,
    here: Machine | None = None,
    mine: str | None = None,
) -> list[Holder]:
    """Take away what the dead left, and return it.

    Args:
        session: The stack.
        take: Whether to take away also what cannot be told from a living one's.
        here: This machine.
        mine: The id of the claim of whoever asks, which stays.

    Raises:
        AegisError: Somebody alive holds the stack, or it cannot be told and may not be taken.
    """
    found = holders(session, here, mine=mine)
    refuse_living(session.name, found, take=take)
    for holder in found:
        if holder.lock is not None:
            session.store.release_lock(holder.lock)
        if holder.claim is not None:
            # Not when it has become somebody else's since it was judged.
            session.store.swap_claim(holder.claim.text, None)
    return found


def refuse_living(stack: str, found: Sequence[Holder], *, take: bool) -> None:
    """Refuse when one of the holders lives, or may live and is not to be taken from."""
    for holder in found:
        if holder.life is Life.HELD:
            raise AegisError(
                what=f"{stack} is being worked on",
                why=f"{holder}\n{holder.why}",
                next="wait until it has ended, then the same again; deploy, promote, rollback and "
                "drift --fix wait by themselves with --wait-lock 5m",
            )
    for holder in found:
        if holder.life is Life.UNKNOWN and not take:
            raise AegisError(
                what=f"{stack} may be being worked on",
                why=f"{holder}\n{holder.why}",
                next="make sure that it is not, then: aegis recover --take-lock",
            )


def read_claim(session: Session) -> Claim | None:
    """The claim on the stack; None when there is none."""
    raw = session.store.claim()
    return None if raw is None else Claim.decode(raw)
