"""A bake time that the cluster spoilt begins anew; one that the release spoilt does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aegis_deploy.gate import analysis as module
from aegis_deploy.gate.analysis import _Failed, _Gate
from aegis_deploy.gate.cutover import Cutover
from aegis_deploy.gate.prober import Prober
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import Answer, ProbeMetrics
from aegis_deploy.model.verdict import Verdict

GOOD = cast("ProbeMetrics", object())
BAD = Verdict(passed=False, kind="success-ratio", reason="4 of 9 probes failed", figures=GOOD)
CRASH = Verdict(passed=False, kind="crash", reason="ended with exit code 1")


@dataclass
class Routes:
    """Ways whose Service is behind as often as it is told."""

    says: list[str] = field(default_factory=list)
    refuses: ApiError | None = None
    nudges: int = 0

    def behind(self) -> str:
        return self.says.pop(0) if self.says else ""

    def nudge(self) -> None:
        self.nudges += 1
        if self.refuses is not None:
            raise self.refuses


@dataclass
class Informed:
    """A live copy that was never silent."""

    silent: float = 0.0


def baking(bakes: list[Verdict | None], says: list[str], astray: str = "") -> _Gate:
    """A gate whose bake times come to what is given; None is good.

    What failed in one was led astray where it is said how.
    """
    gate = _Gate.__new__(_Gate)
    gate.settings, gate.notes, gate._dry = GateSettings(bake_seconds=1), [], False
    stand_in = cast("Any", gate)
    stand_in._routes, stand_in.informer = Routes(says), Informed()
    stand_in._evidence = lambda: None

    def rounds() -> Iterator[float]:
        while True:
            yield time.monotonic()

    def baked() -> ProbeMetrics:
        verdict = bakes.pop(0)
        gate._astray = astray
        if verdict is not None:
            raise _Failed(verdict)
        return GOOD

    stand_in._rounds, stand_in._baked = rounds, baked
    return gate


def test_waits_for_the_service_first() -> None:
    gate = baking([None], ["it leads nowhere", "it leads nowhere", ""])
    assert gate.bake() is GOOD
    assert gate.notes == []


def test_begins_anew_when_the_service_led_nowhere() -> None:
    gate = baking([BAD, None], [], "Service web leads to 2 that are gone")
    assert gate.bake() is GOOD
    assert gate.notes == [
        "the bake time began anew: 4 of 9 probes failed, while Service web leads to 2 that are gone"
    ]


@pytest.mark.parametrize(("verdict", "astray"), [(BAD, ""), (CRASH, "it leads nowhere")])
def test_fails_by_what_is_the_release_s_own(verdict: Verdict, astray: str) -> None:
    with pytest.raises(_Failed) as failed:
        baking([verdict], [], astray).bake()
    assert failed.value.verdict is verdict


def test_waits_for_no_service_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENDPOINTS_SECONDS", 0.05)
    gate = baking([BAD], ["it leads nowhere"] * 1_000_000, "it leads nowhere")
    with pytest.raises(_Failed):
        gate.bake()
    assert gate.notes == ["it leads nowhere, for 0.05 s now"]


@pytest.mark.parametrize(
    ("refuses", "notes"),
    [
        (None, []),
        (ApiError(0, "no answer"), []),
        (
            ApiError(403, "you may not"),
            ["Kubernetes could not be made to look at a Service again: you may not"],
        ),
    ],
)
def test_nudges_what_is_behind_for_long(
    monkeypatch: pytest.MonkeyPatch, refuses: ApiError | None, notes: list[str]
) -> None:
    monkeypatch.setattr(module, "_NUDGE_SECONDS", -1.0)
    gate = baking([None], ["it leads nowhere"] * 3)
    routes = cast("Routes", gate._routes)
    routes.refuses = refuses
    assert gate.bake() is GOOD
    assert routes.nudges == 3
    assert gate.notes == notes


@pytest.mark.parametrize(("seconds", "dry"), [(60.0, False), (-1.0, True)])
def test_nudges_nothing_at_once_nor_in_a_dry_run(
    monkeypatch: pytest.MonkeyPatch, seconds: float, dry: bool
) -> None:
    monkeypatch.setattr(module, "_NUDGE_SECONDS", seconds)
    gate = baking([None], ["it leads nowhere"] * 3)
    gate._dry = dry
    assert gate.bake() is GOOD
    assert cast("Routes", gate._routes).nudges == 0


@dataclass
class Copy:
    """A live copy that saw a pod called unready by the control plane, or did not."""

    doubted: bool = False

    def doubted_since(self, _: float) -> bool:
        return self.doubted


@pytest.mark.parametrize(
    ("failed", "doubted", "says", "astray"),
    [
        (0, True, ["it leads nowhere"], ""),
        (1, False, [""], ""),
        (1, True, [""], "the control plane did not hear of the node of a pod"),
        (1, False, ["it leads nowhere"], "it leads nowhere"),
    ],
)
def test_looks_where_the_service_leads_as_soon_as_something_fails(
    failed: int, doubted: bool, says: list[str], astray: str
) -> None:
    gate = _Gate.__new__(_Gate)
    gate._astray = ""
    stand_in = cast("Any", gate)
    stand_in._routes, stand_in.informer = Routes(says), Copy(doubted)
    gate._look_where_it_leads(ProbeMetrics(total=9, failed=failed), 0.0)
    assert gate._astray == astray


@dataclass
class Unread:
    """A live copy that is never complete, and of which nothing says that it is lost."""

    complete: bool = False
    refusal: str | None = None
    lost_for: float = 0.0
    loss: str = "no answer"
    silent: float = 0.0
    beats: int = 0

    def wait(self, seen: int, seconds: float) -> int:
        time.sleep(min(seconds, 0.01))
        return seen


def looking(informer: Unread, monkeypatch: pytest.MonkeyPatch) -> _Gate:
    monkeypatch.setattr(module, "_LOST_SECONDS", 0.05)
    gate = _Gate.__new__(_Gate)
    gate.notes, gate._stop, gate._begun = [], None, time.monotonic()
    cast("Any", gate).informer = informer
    return gate


def test_waits_for_no_reader_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(_Failed) as failed:
        for _ in looking(Unread(), monkeypatch)._rounds():
            pass
    assert failed.value.verdict.lost
    assert "could not be read for 0.05 s: no answer" in failed.value.verdict.reason


def test_hears_the_api_server_out_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.05)
    informer = Unread(complete=True)
    looking(informer, monkeypatch)._hear_out()
    rounds = iter(range(1, 1000))
    cast("Any", informer).wait = lambda *_: setattr(informer, "beats", next(rounds))
    monkeypatch.setattr(module, "_BEAT_SECONDS", 600.0)
    looking(informer, monkeypatch)._hear_out()
    assert informer.beats == 1


@pytest.mark.parametrize(
    ("fault", "reason"),
    [(KeyError("port"), "no more probes could be sent: KeyError: 'port'"), (None, "")],
)
def test_notices_that_nothing_is_probed_any_more(
    monkeypatch: pytest.MonkeyPatch, fault: Exception | None, reason: str
) -> None:
    gate = looking(Unread(), monkeypatch)
    prober = cast("Any", SimpleNamespace(fault=fault))
    if fault is None:
        gate._require_probes(prober)
        return
    with pytest.raises(_Failed) as failed:
        gate._require_probes(prober)
    assert failed.value.verdict.reason == reason


def test_a_verdict_that_was_found_while_probing_is_the_gates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate = looking(Unread(), monkeypatch)
    with pytest.raises(_Failed) as failed:
        gate._require_probes(cast("Any", SimpleNamespace(fault=_Failed(CRASH))))
    assert failed.value.verdict is CRASH


GOOD_ANSWER = Answer(ok=True, what="200", milliseconds=1, version="2")


@pytest.mark.parametrize(
    ("failure", "total", "failed", "end"),
    [
        (Answer(ok=False, what="500", milliseconds=1, version="2"), 2, 1, 103.0),
        (Answer(ok=False, what="500", milliseconds=1, version="1"), 1, 0, 103.0),
        # Whose it was nobody knows: then the good one says nothing either.
        (Answer(ok=False, what="500", milliseconds=1), 0, 0, 104.0),
    ],
    ids=["its own", "of the release before", "nobody's"],
)
def test_what_comes_while_pods_before_still_answer_counts_by_whose_it_is(
    failure: Answer, total: int, failed: int, end: float
) -> None:
    gate = _Gate.__new__(_Gate)
    cast("Any", gate)._version = SimpleNamespace(named=lambda: frozenset({"2", None}))
    prober = Prober(lambda: (), "/version", rate=1, p99_ms=100)
    for answer in (GOOD_ANSWER, failure):
        prober.keep(100.5, proxied=False, answer=answer)
    cutover = Cutover(began=100, bake_seconds=2, versions={"1"})
    cutover.look(100, ending=True, serving=False)
    figures = gate._judged(prober, cutover)
    assert (figures.total, figures.failed, cutover.end) == (total, failed, end)


@pytest.mark.parametrize(
    ("what", "due", "total", "failed", "doubted"),
    [
        # Sent to a pod that is no more, or not: nobody knows so early.
        ("timed out", 100.5, 0, 0, True),
        ("timed out", 103.5, 2, 1, False),
        ("500", 100.5, 2, 1, False),
    ],
)
def test_what_is_lost_before_every_node_knows_is_held_against_no_release(
    what: str, due: float, total: int, failed: int, doubted: bool
) -> None:
    gate = _Gate.__new__(_Gate)
    cast("Any", gate)._version = SimpleNamespace(named=lambda: frozenset({None}))
    prober = Prober(lambda: (), "/", rate=1, p99_ms=100)
    failure = Answer(ok=False, what=what, milliseconds=1)
    for answer in (Answer(ok=True, what="200", milliseconds=1), failure):
        prober.keep(due, proxied=False, answer=answer)
    cutover = Cutover(began=100, bake_seconds=2)
    cutover.look(100, ending=False, serving=False)
    figures = gate._judged(prober, cutover)
    assert (figures.total, figures.failed, cutover.doubted) == (total, failed, doubted)


class Nodes:
    """Leases of which one is renewed after so many looks; never, when that is none."""

    def __init__(self, looks: int | None) -> None:
        self.looks = looks

    def look(self) -> tuple[str, ...]:
        if self.looks is not None:
            self.looks -= 1
        return () if self.looks is not None and self.looks < 0 else ("node-2",)


SOON = {"_CAUSE_SECONDS": 0.01, "RENEWED_SECONDS": 0.3, "_LEASE_LOOK_SECONDS": 0.01}


def losing(
    monkeypatch: pytest.MonkeyPatch, leases: list[Nodes], what: str = "timed out"
) -> tuple[_Gate, ProbeMetrics]:
    """A gate half of whose probes came to this, on nodes with these leases."""
    for name, value in SOON.items():
        monkeypatch.setattr(module, name, value)
    gate = baking([], [])
    gate.settings, gate.data, gate._astray = GateSettings(), (), ""
    stand_in = cast("Any", gate)
    stand_in._leases = lambda: leases
    return gate, ProbeMetrics(total=2, failed=1, outcomes={"200": 1, what: 1})


def verdict_of(gate: _Gate, figures: ProbeMetrics) -> Verdict:
    with pytest.raises(_Failed) as failed:
        gate._shortcoming(figures, lambda _: 0, "while new pods were probed one by one: ")
    return failed.value.verdict


def test_probes_lost_with_a_node_that_is_not_heard_of_are_not_the_release_s(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, figures = losing(monkeypatch, [Nodes(None)])
    verdict = verdict_of(gate, figures)
    assert verdict.kind == "node"
    assert verdict.reason.endswith(", while node node-2 was not heard of")
    assert gate._astray == "node node-2 was not heard of", "so that the bake time begins anew"


@pytest.mark.parametrize(
    ("leases", "what"),
    [
        ([], "timed out"),
        ([Nodes(3)], "timed out"),
        ([Nodes(0)], "timed out"),
        ([Nodes(None)], "500"),
    ],
    ids=["nobody tells", "renewed soon", "renewed at once", "it answered"],
)
def test_what_is_lost_on_nodes_that_live_is_the_release_s(
    monkeypatch: pytest.MonkeyPatch, leases: list[Nodes], what: str
) -> None:
    gate, figures = losing(monkeypatch, leases, what)
    verdict = verdict_of(gate, figures)
    assert verdict.kind != "node"
    assert "heard" not in verdict.reason
    assert gate._astray == ""


def test_a_container_that_died_says_more_than_its_node(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, figures = losing(monkeypatch, [Nodes(None)])

    def evidence() -> None:
        raise _Failed(CRASH)

    cast("Any", gate)._evidence = evidence
    assert verdict_of(gate, figures) is CRASH
