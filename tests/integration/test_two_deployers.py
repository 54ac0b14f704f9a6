"""Two deployers of one stack, on machines whose clocks are five minutes apart, and which may die.

Each round both begin something at a seeded moment: a release, a bad one, a rollback; who is doomed
is killed with all its processes; then one of the two recovers. Whatever happens there are never
two engines at once, and never is a release verified that is not whole.

``AEGIS_DEATHS`` asks for the rounds, 20 at most, on each kind of backend, with a CLI whose clock is
off as well (`cli_with_a_clock`); without it there are few, on a directory, and the CLI's clock
is only off where that CLI was built before. ``AEGIS_SEED`` says which; each round is printed.

No pods run here, so that of the gate only its place in the order of things is tested.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.history import stack_history
from aegis_deploy.model.release import AUTOMATED, Release
from tests.integration import cli_with_a_clock, process_spaces, servers
from tests.integration.deployers import (
    BAD,
    CLOCKS,
    Doom,
    Ended,
    TwoDeployers,
    content,
    engines,
    two_deployers,
)
from tests.integration.servers import Server
from tests.integration.shop import CONFIG_MAP

_ASKED = os.environ.get("AEGIS_DEATHS")
ROUNDS = 2 if _ASKED is None else min(20, int(_ASKED))
SEED = int(os.environ.get("AEGIS_SEED", "73" if _ASKED is None else "4"))
"""The first one has a bit of everything in two rounds."""
ACTIONS = ("deploy", "deploy", "deploy", "bad", "rollback", "rollback")
ENDS = {
    "deploy": {ExitCode.OK, ExitCode.REFUSED},
    "bad": {ExitCode.ROLLED_BACK, ExitCode.REFUSED},
    "rollback": {ExitCode.OK, ExitCode.REFUSED},
}
"""What may become of them where nobody is killed in the middle."""
DOOMS = ("started", "engine", "engine", "recorded", "recorded")
_AFTER = {"started": 5.0, "engine": 2.0, "recorded": 0.1}
"""Within how many seconds of a moment death comes."""


@contextmanager
def _directory() -> Iterator[Server]:
    """No server at all."""
    yield Server("")


KINDS: dict[str, Callable[[], AbstractContextManager[Server]]] = {
    "directory": _directory,
    "s3": servers.s3,
    "postgres": servers.postgres,
}

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not process_spaces.can_be_made(), reason="needs root and util-linux"),
    pytest.mark.skipif(ROUNDS == 0, reason="AEGIS_DEATHS is 0"),
]
asked = pytest.mark.skipif(_ASKED is None, reason="AEGIS_DEATHS asks for it, as in `make deaths`")


@pytest.fixture
def both(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[TwoDeployers]:
    """Two deployers of a stack in a kind of backend."""
    cli = cli_with_a_clock.place()
    if _ASKED is not None:
        cli = cli_with_a_clock.build()
    elif not cli.exists():
        cli = (programs / "pulumi").resolve()
    with KINDS[request.param]() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)  # The libraries look nowhere else.
        (tmp_path / "backend").mkdir()
        url = server.place("deployers") or f"file://{tmp_path / 'backend'}"
        with two_deployers(tmp_path, programs, cli, url, server.environment) as made:
            yield made


@dataclass(frozen=True)
class Part:
    """What one of the deployers does in a round.

    Attributes:
        who: The deployer.
        action: One of `ACTIONS`.
        after: How many seconds into the round.
        waits: How long for the other one.
        doom: When its machine is switched off; None for never.
    """

    who: str
    action: str
    after: float
    waits: str
    doom: Doom | None

    def __str__(self) -> str:
        """Say it."""
        fate = f", {self.doom}" if self.doom else ""
        return f"{self.who} {self.action} after {self.after:.1f} s, waits {self.waits}{fate}"


def planned(chance: random.Random, who: str) -> Part:
    """Choose what a deployer does."""
    moment = chance.choice(DOOMS)
    doom = Doom(moment, chance.random() * _AFTER[moment]) if chance.random() < 0.45 else None
    action = chance.choice(ACTIONS)
    return Part(who, action, chance.random() * 3, chance.choice(["0", "3m"]), doom)


@dataclass
class Model:
    """What must be, by what the test itself has seen, in the order in which it happened.

    Attributes:
        left: The releases that were rolled back from: nobody goes back to them.
        known: How many of the releases have been looked at.
    """

    left: set[str] = field(default_factory=set)
    known: int = 0

    def check(self, both: TwoDeployers, *, death: bool) -> None:
        """Look at the stack after a round.

        Args:
            both: The deployers.
            death: Whether one of them died in this round.
        """
        assert engines(both.marks, "together") == [], "two engines at once"
        session = both.stand.open()
        found = stack_history.releases(session)[::-1]
        recorded = [it.message for it in found]
        ran = [it["message"] for it in engines(both.marks)]
        assert is_in_order(recorded, ran), f"the history has another order: {recorded}\n{ran}"
        contents = {
            it.number: deployed(session.store.checkpoint(it) or {}) for it in found if it.succeeded
        }
        for it in found:
            if it.verified:
                label = next(iter(contents[it.number].values()))
                assert it.succeeded
                assert not label.startswith(BAD)
                assert label in both.completed(), f"{label} never came to its end"
                assert contents[it.number] == content(label), f"release {it.number} is not whole"
                assert it.restores is not None or it.message == label, "somebody else's record"
        for it in found[self.known :]:
            if it.restores is not None and it.succeeded:
                assert contents[it.number] == contents[it.restores], "it restored something else"
                self._target(found, it, death=death)
        self.known = len(found)
        last = found[-1]
        current = next(it for it in reversed(found) if it.deploys)
        assert current.verified, f"what runs is not verified: {last}"
        assert both.cluster.data() == contents[current.number], "something else runs"
        assert deployed(session.export()["deployment"]) == contents[current.number]
        assert session.store.locks() == []
        assert session.store.claim() is None

    def _target(self, found: Sequence[Release], it: Release, *, death: bool) -> None:
        """See that a rollback restored what was verified and ran before, by what happened."""
        before = [one for one in found[: it.number - 1] if one.deploys]
        numbers = {one.number: one for one in found}

        def label(one: Release) -> str:
            while one.restores is not None:
                one = numbers[one.restores]
            return one.message

        good = {one.message for one in found if one.verified and one.restores is None}
        runs = [label(one) for one in before if one.succeeded and label(one) in good]
        was = before[-1]
        by_hand = not it.message.startswith(AUTOMATED)
        present = label(was) if was.succeeded else ""
        first = next((n for n, one in enumerate(before) if one.message == present), len(before))
        earlier = [
            label(one)
            for one in before[:first]
            if one.succeeded and label(one) in good - self.left - {present}
        ]
        allowed = {earlier[-1]} if by_hand and earlier else {runs[-1]}
        if death:
            allowed = {runs[-1], *earlier[-1:]}
        restored = label(numbers[it.restores or 0])
        assert restored in allowed, f"release {it.number} restored {restored}, not {allowed}"
        if by_hand and present:
            self.left.add(present)


def is_in_order(some: Sequence[str], every: Sequence[str]) -> bool:
    """Whether some are among all, in the same order."""
    rest = iter(every)
    return all(any(it == one for one in rest) for it in some)


def deployed(state: Mapping[str, Any]) -> dict[str, str]:
    """What the ConfigMaps of a state hold, by name."""
    assert not state.get("pending_operations")
    found = [it for it in state["resources"] if it["type"] == CONFIG_MAP and not it.get("delete")]
    return {it["inputs"]["metadata"]["name"]: it["inputs"]["data"]["x"] for it in found}


@pytest.mark.parametrize(
    "both",
    ["directory", pytest.param("s3", marks=asked), pytest.param("postgres", marks=asked)],
    indirect=True,
)
def test_two_deployers_are_never_at_work_at_once_and_verify_nothing_wrong(
    both: TwoDeployers, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["both"]
    chance = random.Random(f"{SEED} {kind}")  # noqa: S311 - to be repeated, not to be secret
    print(f"seed {SEED}: {ROUNDS} rounds on {kind}")  # noqa: T201
    model = Model()
    first = both.deployers["ann"].run("deploy", "--yes", "-m", "first", release="first")
    assert first.code == ExitCode.OK, first.text
    model.check(both, death=False)
    for number in range(1, ROUNDS + 1):
        parts = [planned(chance, who) for who in CLOCKS]
        one_round(both, number, parts, chance.choice([*CLOCKS]), model)


def one_round(
    both: TwoDeployers, number: int, parts: Sequence[Part], recovers: str, model: Model
) -> None:
    """Have both do their parts, and one of them recover."""
    ended: dict[str, tuple[bool, Ended]] = {}

    def do(part: Part) -> None:
        deployer = both.deployers[part.who]
        time.sleep(part.after)
        if part.action == "rollback":
            deployer.begin("rollback", "--yes", "--wait-lock", part.waits)
        else:
            label = f"{BAD if part.action == 'bad' else 'good'}-{number}-{part.who}"
            words = ("deploy", "--yes", "-m", label, "--wait-lock", part.waits)
            deployer.begin(*words, release=label)
        switched_off = part.doom is not None and deployer.meet(part.doom)
        ended[part.who] = switched_off, deployer.end()

    threads = [threading.Thread(target=do, args=(part,)) for part in parts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    dead = {who for who, (switched_off, _) in ended.items() if switched_off}
    told = [
        f"round {number}: {it}: {'dead' if it.who in dead else ended[it.who][1].code}"
        for it in parts
    ]
    said = "\n".join([*told, *(it.text for _, it in ended.values())])
    print("\n".join(told))  # noqa: T201
    for it in parts:
        assert it.who in dead or ended[it.who][1].code in ENDS[it.action], said
    done = both.deployers[recovers].run("recover")
    if done.code == ExitCode.REFUSED and "--take-lock" in done.text:
        # What it asks to be sure of is so: nobody is left.
        done = both.deployers[recovers].run("recover", "--take-lock")
    action = (done.document or {}).get("action")
    print(f"round {number}: {recovers} recovers: {done.code} {action}")  # noqa: T201
    assert done.code == ExitCode.OK, f"{said}\n{done.text}"
    try:
        model.check(both, death=bool(dead))
    except AssertionError:
        print(f"{said}\n{done.text}")  # noqa: T201
        raise
