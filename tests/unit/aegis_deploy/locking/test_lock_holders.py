"""Telling who holds a stack from who did and died."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.backend.protocol import Lock
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.process import Machine
from aegis_deploy.history.verification_store import LONGEST
from aegis_deploy.locking.lease import claimed
from aegis_deploy.locking.lock_holders import (
    RECOVERY,
    Claim,
    Holder,
    Life,
    clear,
    holders,
    judge_claim,
    judge_lock,
    read_claim,
    refuse_living,
)
from tests.unit.aegis_deploy.made_backend import MadeBackend

BOOT = datetime(2026, 1, 1, tzinfo=UTC)
TAKEN = BOOT + timedelta(hours=1)
PID = 4711
FIRST_SPACE = "4026531836"
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    return MadeBackend(tmp_path)


def machine(
    directory: Path, *, name: str = "pulumi", state: str = "S", after: timedelta = -timedelta(1)
) -> Machine:
    """A machine called ci-7 with one process, begun so long after the lock was taken."""
    proc = directory / "proc"
    (proc / str(PID)).mkdir(parents=True)
    (proc / "stat").write_text(f"cpu 1 2 3\nbtime {int(BOOT.timestamp())}\n")
    ticks = int((TAKEN + after - BOOT).total_seconds() * TICKS)
    fields = [state, *["0"] * 18, str(ticks), "0"]
    (proc / str(PID) / "stat").write_text(f"{PID} ({name}) {' '.join(fields)}\n")
    (proc / "1").mkdir()
    (proc / "1" / "stat").write_text("1 (init) S")
    return Machine("ci-7", "this-boot", proc, space=FIRST_SPACE)


def lock(host: str = "ci-7", pid: int | None = PID, fault: str = "", *, own: bool = True) -> Lock:
    return Lock("lock.json", f"ann@{host}", host, pid, TAKEN, fault, own=own)


def claim(**changes: object) -> Claim:
    made = Claim(id="1", who="ann@ci-9", boot="their-boot", pid=1, ticks=5, since="then")
    return replace(made, **changes)  # type: ignore[arg-type]


class TestTheClisLock:
    """A lock file names a process, and stays when that dies."""

    EARLIER, LATER = -timedelta(minutes=5), timedelta(minutes=5)

    @pytest.mark.parametrize(
        ("process", "life"),
        [
            ({"after": EARLIER}, Life.HELD),
            ({"after": -timedelta(days=2)}, Life.HELD),
            ({"after": EARLIER, "name": "a (strange) name"}, Life.HELD),
            ({"after": EARLIER, "state": "Z"}, Life.ORPHANED),
            ({"after": LATER, "name": "cron"}, Life.ORPHANED),
            ({"after": LATER, "name": "pulumi"}, Life.UNKNOWN),
            ({"after": timedelta(seconds=2), "name": "cron"}, Life.HELD),
        ],
        ids=[
            "alive",
            "a clock set back",
            "strange",
            "zombie",
            "reused",
            "another pulumi or a clock set forward",
            "within the clock's slack",
        ],
    )
    def test_of_this_machine(self, tmp_path: Path, process: dict[str, object], life: Life) -> None:
        assert judge_lock(lock(), machine(tmp_path, **process)).life is life  # type: ignore[arg-type]

    def test_of_a_process_that_is_gone_is_orphaned(self, tmp_path: Path) -> None:
        judged = judge_lock(lock(pid=99), machine(tmp_path))
        assert judged.life is Life.ORPHANED
        assert "process 99 is gone" in judged.why

    @pytest.mark.parametrize(
        "foreign", [lock(host="ci-9", own=False), lock(pid=None), lock(fault="it is empty")]
    )
    def test_that_cannot_be_known_is_asked_about(self, tmp_path: Path, foreign: Lock) -> None:
        assert judge_lock(foreign, machine(tmp_path)).life is Life.UNKNOWN

    @pytest.mark.parametrize("name", ["localhost", "", "runner"])
    def test_of_a_name_many_machines_have_is_asked_about(self, tmp_path: Path, name: str) -> None:
        here = replace(machine(tmp_path), host=name)
        assert judge_lock(lock(host=name, pid=99, own=False), here).life is Life.UNKNOWN

    def test_of_a_container_that_is_seen_from_here_lives_as_its_process_does(
        self, tmp_path: Path
    ) -> None:
        here = machine(tmp_path)
        status = here.proc / str(PID) / "status"
        status.write_text(f"Name:\tpulumi\nNSpid:\t{PID}\t20\n")
        judged = judge_lock(lock(pid=20), here)
        assert (judged.life, "(pulumi) runs" in judged.why) == (Life.HELD, True)
        status.write_text(f"Name:\tpulumi\nNSpid:\t{PID}\t21\n")
        assert judge_lock(lock(pid=20), here).life is Life.ORPHANED

    @pytest.mark.parametrize(
        ("where", "name", "life"),
        [
            ({"space": "4026532111"}, "pulumi", Life.HELD),
            ({"space": "4026532111"}, "sh", Life.UNKNOWN),
            ({"space": ""}, "sh", Life.UNKNOWN),
            ({"own": False}, "pulumi", Life.HELD),
            ({"own": False}, "sh", Life.UNKNOWN),
        ],
        ids=["container", "its-other", "nobody-says", "shared", "its-other"],
    )
    def test_of_this_name_is_never_called_dead_where_others_may_have_the_name(
        self, tmp_path: Path, where: dict[str, object], name: str, life: Life
    ) -> None:
        here = machine(tmp_path, name=name)
        here = replace(here, space=str(where.get("space", here.space)))
        taken = lock(own=bool(where.get("own", True)))
        assert judge_lock(taken, here).life is life
        assert judge_lock(replace(taken, pid=99), here).life is Life.UNKNOWN

    def test_where_other_users_processes_are_hidden_nobody_is_called_dead(
        self, tmp_path: Path
    ) -> None:
        here = machine(tmp_path)
        (here.proc / "1" / "stat").unlink()
        assert judge_lock(lock(pid=99), here).life is Life.UNKNOWN

    @pytest.mark.parametrize(
        ("pid", "life"), [(PID, Life.HELD), (99, Life.ORPHANED)], ids=["its-cli-lives", "both-died"]
    )
    def test_of_a_deployer_that_died_here_lives_as_its_own_process_does(
        self, tmp_path: Path, pid: int, life: Life
    ) -> None:
        here = replace(machine(tmp_path), space="4026532111")
        made = claim(who="ann@ci-7", boot="this-boot", pid=98)
        dead = Holder(Life.ORPHANED, "ann@ci-7", "", "a deploy", "gone", claim=made)
        assert judge_lock(lock(pid=pid, own=False), here, dead).life is life

    @pytest.mark.parametrize("life", [Life.HELD, Life.ORPHANED])
    def test_of_another_machine_lives_as_the_claim_from_there_does(
        self, tmp_path: Path, life: Life
    ) -> None:
        heart = Holder(life, "ann@ci-9", "then", "a deploy", "why", claim=claim())
        judged = judge_lock(lock(host="ci-9", own=False), machine(tmp_path), heart)
        assert (judged.life, judged.message) == (life, "a deploy")

    def test_of_another_machine_whose_claim_is_only_silent_is_asked_about(
        self, tmp_path: Path
    ) -> None:
        silent = Holder(
            Life.ORPHANED, "ann@ci-9", "then", "a deploy", "no beat", claim=claim(), silent=True
        )
        judged = judge_lock(lock(host="ci-9", own=False), machine(tmp_path), silent)
        assert judged.life is Life.UNKNOWN
        assert "may only stand still" in judged.why

    @pytest.mark.parametrize(
        ("seconds", "automated", "silent", "life"),
        [
            (5, True, False, Life.ORPHANED),
            (-5, True, False, Life.ORPHANED),
            (5, True, True, Life.UNKNOWN),
            (5, False, False, Life.UNKNOWN),
            (-60, True, False, Life.UNKNOWN),
        ],
        ids=["its", "its-by-another-clock", "silent", "of-a-person", "of-before"],
    )
    def test_of_a_service_lives_as_the_claim_it_was_begun_under_does(
        self, tmp_path: Path, seconds: int, automated: bool, silent: bool, life: Life
    ) -> None:
        since = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        made = claim(since=f"{since:%Y-%m-%dT%H:%M:%SZ}")
        dead = Holder(Life.ORPHANED, "ann@ci-9", "", "a deploy", "gone", claim=made, silent=silent)
        lease = replace(
            lock(host="", pid=None), automated=automated, since=since + timedelta(seconds=seconds)
        )
        here, damaged = machine(tmp_path), replace(dead, claim=claim(since="then"))
        assert judge_lock(lease, here, dead).life is life
        assert judge_lock(lease, here).life is Life.UNKNOWN
        assert judge_lock(lease, here, damaged).life is Life.UNKNOWN

    def test_this_process_is_alive_and_its_number_in_another_boot_is_not(self) -> None:
        here = Machine.here()
        mine = replace(lock(host=here.host, pid=os.getpid()), since=datetime.now(UTC))
        if here.is_named(here.host) and here.sees_all:
            assert judge_lock(mine, here).life is Life.HELD


class TestAClaim:
    """A claim beats as long as its holder lives."""

    def test_of_this_boot_is_held_by_the_same_process_only(self, tmp_path: Path) -> None:
        here = machine(tmp_path)
        process = here.find(PID)
        assert process is not None
        mine = claim(boot="this-boot", pid=PID, ticks=process.ticks)
        later = replace(mine, ticks=1)
        gone = replace(mine, pid=99)
        lives = [_judge(it, here, []) for it in (mine, later, gone)]
        assert lives == [Life.HELD, Life.ORPHANED, Life.ORPHANED]

    @pytest.mark.parametrize(("seen", "life"), [([0, 1], Life.HELD), ([0] * 4, Life.ORPHANED)])
    def test_of_this_name_in_another_boot_or_space_is_watched(
        self, tmp_path: Path, seen: list[int | None], life: Life
    ) -> None:
        """It was started anew; or it is a container beside this one, or a machine of its name."""
        assert _judge(claim(who="ann@ci-7"), machine(tmp_path), seen) is life

    @pytest.mark.parametrize(
        ("seen", "life"),
        [
            ([0, 1], Life.HELD),
            ([0, 0, 0, 1], Life.HELD),
            ([0, 0, 0, 0], Life.ORPHANED),
            ([0, None], None),
        ],
    )
    def test_of_another_machine_is_watched(
        self, tmp_path: Path, seen: list[int | None], life: Life | None
    ) -> None:
        assert _judge(claim(), machine(tmp_path), seen) is life

    def test_that_became_anothers_meanwhile_is_not_judged(self, tmp_path: Path) -> None:
        other = claim(id="2")
        judged = judge_claim(claim(), machine(tmp_path), lambda: other, lambda _: None)
        assert judged is None

    @given(
        st.builds(
            Claim,
            id=st.text("0123456789abcdef", min_size=12, max_size=12),
            who=st.text(max_size=60),
            boot=st.text(max_size=13),
            pid=st.integers(1, 2**22),
            ticks=st.none() | st.integers(0, 2**40),
            since=st.just("2026-01-02T03:04:05Z"),
            message=st.text(max_size=400),
            intent=st.sampled_from(["deploy", "rollback"]),
            target=st.none() | st.integers(1, 99_999),
            beat=st.integers(0, 99_999),
        )
    )
    def test_survives_being_written_into_a_tag(self, given_claim: Claim) -> None:
        text = given_claim.encode()
        read = Claim.decode(text)
        assert replace(read, message="") == replace(given_claim, message="")
        assert given_claim.message.startswith(read.message)
        assert len(text.encode()) <= LONGEST or not read.message

    @pytest.mark.parametrize("text", ["", "{}", "[]", "[1,2", "[1,2,3,4,5,6,7,8,9,10,11]", "null"])
    def test_that_is_damaged_names_nobody_and_does_not_beat(
        self, tmp_path: Path, text: str
    ) -> None:
        damaged = Claim.decode(text)
        here = machine(tmp_path)
        judged = judge_claim(damaged, here, lambda: Claim.decode(text), lambda _: None)
        assert judged is not None
        assert judged.life is Life.ORPHANED


class TestClaiming:
    """One works on a stack at a time."""

    def test_holds_the_claim_for_the_block_and_no_longer(self, backend: MadeBackend) -> None:
        session = backend.session()
        with claimed(session, intent="deploy", message="Ship it") as held:
            found = read_claim(session)
            assert found == held.claim
            held.becomes("rollback", 12)
            found = read_claim(session)
            assert found is not None
            assert (found.intent, found.target) == ("rollback", 12)
        assert read_claim(session) is None
        assert list((backend.pulumi / "aegis" / "shop").iterdir()) == []

    def test_refuses_a_second_one_with_who_since_when_and_what_for(
        self, backend: MadeBackend
    ) -> None:
        session = backend.session()
        with claimed(session, intent="deploy", message="Ship it") as held:
            with pytest.raises(AegisError) as raised, claimed(session, intent="deploy"):
                pass
            why = raised.value.why
            assert held.claim.who in why
            assert held.claim.since in why
            assert "Ship it" in why
        assert read_claim(session) is None

    def test_waits_for_the_first_to_end(self, backend: MadeBackend) -> None:
        session = backend.session()
        first = claimed(session, intent="deploy", message="Ship it")
        first.__enter__()
        waited: list[str] = []

        def sleep(_: float) -> None:
            first.__exit__(None, None, None)

        with claimed(
            session,
            intent="rollback",
            wait_seconds=60,
            on_wait=lambda holder: waited.append(holder.message),
            sleep=sleep,
        ) as held:
            assert held.claim.intent == "rollback"
        assert waited == ["Ship it"]

    def test_leaves_what_somebody_else_took_alone(self, backend: MadeBackend) -> None:
        session = backend.session()
        with claimed(session, intent="deploy"):
            session.store.swap_claim(session.store.claim(), claim().encode())
        found = read_claim(session)
        assert found is not None
        assert found.who == "ann@ci-9"

    def test_follows_whoever_died_and_says_whom(self, backend: MadeBackend) -> None:
        session = backend.session()
        _leave(session.store, pid=2**22 + 1)
        with claimed(session, intent="deploy") as held:
            assert [it.life for it in held.over] == [Life.ORPHANED]
            assert held.claim.intent == RECOVERY, "until the dead one's work is replaced"
            held.becomes("deploy")
        assert read_claim(session) is None

    def test_takes_the_locks_of_the_dead_away(self, backend: MadeBackend) -> None:
        _lock(backend, Machine.here().host, 2**22 + 1)
        session = backend.session()
        with claimed(session, intent="deploy") as held:
            assert [it.lock is not None for it in held.over] == [True]
            assert session.store.locks() == []

    def test_of_two_who_find_the_same_dead_one_goes_on(self, backend: MadeBackend) -> None:
        session, found = backend.session(), []
        _leave(session.store, pid=2**22 + 1)
        dead = session.store.claim()
        with claimed(session, intent="deploy") as held:
            found.append(session.store.swap_claim(dead, "the second one's"))
            assert read_claim(session) == held.claim
        assert found == [False]

    def test_one_that_was_left_is_followed_by_who_left_it_only(self, backend: MadeBackend) -> None:
        session = backend.session()
        with claimed(session, intent="deploy") as held:
            held.leaves = True
        with pytest.raises(AegisError), claimed(session, intent="deploy"):
            pass
        with claimed(session, intent="deploy", own=held.id):
            pass
        assert read_claim(session) is None

    @pytest.mark.parametrize("told", [True, False], ids=["refused for itself", "not answered"])
    def test_a_write_whose_answer_was_lost_is_ones_own(
        self, backend: MadeBackend, monkeypatch: pytest.MonkeyPatch, told: bool
    ) -> None:
        session = backend.session()
        swap, lost = type(session.store).swap_claim, [0]

        def lossy(store: Any, before: str | None, after: str | None) -> bool:
            done = swap(store, before, after)
            if done and lost[0]:
                lost[0] -= 1
                if told:
                    return False
                raise AegisError(what="the backend cannot be reached")
            return done

        monkeypatch.setattr(type(session.store), "swap_claim", lossy)
        lost[0] = 1 if told else 0
        with claimed(session, intent="deploy") as held:
            for _ in range(3):
                lost[0] = 1
                with suppress(AegisError):
                    held._write(replace(held.claim, beat=held.claim.beat + 1))
                held.require()
                held._write(replace(held.claim, beat=held.claim.beat + 1))
                assert read_claim(session) == held.claim
            lost[0] = int(told)
        assert read_claim(session) is None

    def test_a_deployer_that_stood_still_notices_that_it_was_followed(
        self, backend: MadeBackend
    ) -> None:
        session, now = backend.session(), [0.0]
        with claimed(session, intent="deploy") as held:
            held.clock = lambda: now[0]
            held.becomes("rollback", 1)
            session.store.swap_claim(session.store.claim(), claim(message="recovery").encode())
            held.require()
            now[0] += 3 * session.store.beat_seconds
            with pytest.raises(AegisError) as raised:
                held.require()
            assert "ann@ci-9" in raised.value.why
            assert "recovery" in raised.value.why
            with pytest.raises(AegisError):
                held.becomes("deploy")
        found = read_claim(session)
        assert found is not None
        assert found.who == "ann@ci-9"

    def test_a_claim_that_somebody_took_and_gave_up_is_not_taken_back(
        self, backend: MadeBackend
    ) -> None:
        session = backend.session()
        with claimed(session, intent="deploy") as held:
            session.store.swap_claim(session.store.claim(), None)
            with pytest.raises(AegisError) as raised:
                held.becomes("rollback")
            assert "nobody any more" in raised.value.why
        assert read_claim(session) is None


class TestClearing:
    """What the dead left is taken away, what the living have is not."""

    @pytest.fixture
    def here(self, tmp_path: Path) -> Machine:
        return machine(tmp_path / "machine")

    def test_takes_orphans_away(self, backend: MadeBackend, here: Machine) -> None:
        _lock(backend, "ci-7", 99)
        session = backend.session()
        assert [it.life for it in clear(session, here=here)] == [Life.ORPHANED]
        assert holders(session, here) == []

    def test_leaves_the_living_alone(self, backend: MadeBackend, here: Machine) -> None:
        path = _lock(backend, "ci-7", PID)
        session = backend.session()
        with pytest.raises(AegisError) as raised:
            clear(session, take=True, here=here)
        assert "ann@ci-7" in raised.value.why
        assert path.exists()

    def test_asks_about_the_unknown_and_takes_it_when_told(
        self, backend: MadeBackend, here: Machine
    ) -> None:
        path = _lock(backend, "ci-9", PID)
        session = backend.session()
        with pytest.raises(AegisError) as raised:
            clear(session, here=here)
        assert "--take-lock" in raised.value.next
        assert path.exists()
        clear(session, take=True, here=here)
        assert not path.exists()

    def test_a_lock_file_cut_short_is_asked_about(
        self, backend: MadeBackend, here: Machine
    ) -> None:
        path = _lock(backend, "ci-7", 99)
        path.write_text('{"pid": 9')
        found = holders(backend.session(), here)
        assert [it.life for it in found] == [Life.UNKNOWN]
        assert str(path) in found[0].why


def _judge(found: Claim, here: Machine, seen: list[int | None]) -> Life | None:
    beats = iter(seen)

    def again() -> Claim | None:
        beat = next(beats)
        return None if beat is None else replace(found, beat=beat)

    judged = judge_claim(found, here, again, lambda _: None)
    return None if judged is None else judged.life


def _lock(backend: MadeBackend, host: str, pid: int) -> Path:
    stamp = TAKEN.strftime("%Y-%m-%dT%H:%M:%S.123456789+00:00")
    return backend.lock(pid=pid, username="ann", hostname=host, timestamp=stamp)


def _leave(store: object, **changes: object) -> None:
    here = Machine.here()
    left = claim(who=f"ann@{here.host}", boot=here.boot[:13], **changes)
    store.swap_claim(store.claim(), left.encode())  # type: ignore[attr-defined]


def test_who_lives_is_waited_for_by_what_can_wait() -> None:
    holder = Holder(Life.HELD, "a@b", "2026-01-01", "deploy", "its heart beats")
    with pytest.raises(AegisError) as caught:
        refuse_living("s", [holder], take=True)
    assert caught.value.next.startswith("wait until it has ended, then the same again")
