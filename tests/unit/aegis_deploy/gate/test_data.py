"""The gate sees a release that says well who it is and fails whatever needs its data."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_deploy.gate.analysis import _Failed, _Gate, judge
from aegis_deploy.gate.data_prober import DataProber
from aegis_deploy.gate.prober import Prober
from aegis_deploy.kubernetes.client import Cluster
from aegis_deploy.model.database.data_probes import READ, DataFigures
from aegis_deploy.model.gate_settings import DataPaths, GateSettings
from aegis_deploy.model.probe_metrics import Answer, ProbeMetrics
from aegis_deploy.model.verdict import UNTOLD, Verdict
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.two_clusters import PATH, Api, place

WEB = Workload(namespace="shop", name="web", service="web")
RECORDS = "/v1/records?limit=1"
PATHS = {"aegis.dev/data-read": RECORDS, "aegis.dev/data-write": "/probe"}
GATE = GateSettings(bake_seconds=1, probe_rate=20, p99_ms=60_000)
AWAY = {"type": "urn:aegis:problem:database-away", "version": "1"}
STATUS = {"kind": "Status", "apiVersion": "v1", "code": 403, "reason": "Forbidden"}
Said = tuple[int, dict[str, Any]]


@dataclass
class Serving(Api):
    """An API server by whose proxy a service answers.

    Attributes:
        says: What it answers, by method and path, instead of its version; in turn, the last always.
        sent: What it was sent, with the headers.
    """

    says: dict[str, list[Said]] = field(default_factory=dict)
    sent: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answer(self, *given: object, **more: object) -> tuple[int, bytes]:
        asked = str(given[0]).partition("/proxy")[2]
        if not asked:
            return 200, b""
        what = f"{more['method']} {asked}"
        self.sent.append((what, cast("dict[str, str]", more["headers"])))
        queue = self.says.get(what, [(200, {"version": "1"})])
        status, said = queue.pop(0) if len(queue) > 1 else queue[0]
        return status, json.dumps(said).encode()


def serving(annotations: dict[str, str] | None = None, **says: list[Said]) -> Serving:
    """A release that is rolled out, alone, behind its Service."""
    it = Serving("one")
    place(it, "complete")
    template = it.lists[PATH][0]["spec"]["template"]
    template["metadata"]["annotations"] = annotations or {}
    template["spec"] = {"containers": [{"name": "web"}]}
    pods = [
        pod
        for pod in it.lists["/api/v1/namespaces/shop/pods"]
        if "deletionTimestamp" not in pod["metadata"]
    ]
    for pod in pods:
        pod["metadata"]["namespace"] = "shop"
        # What answers there on this machine would be another's.
        del pod["status"]["podIP"]
    it.lists["/api/v1/namespaces/shop/pods"] = pods
    it.lists["/api/v1/namespaces/shop/services"] = [
        {
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}], "clusterIP": "None"},
        }
    ]
    refs = [{"targetRef": {"kind": "Pod", "uid": pod["metadata"]["uid"]}} for pod in pods]
    it.lists["/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"] = [
        {"metadata": {"name": "web-1"}, "endpoints": refs}
    ]
    it.says = {key.replace("_", " ", 1): value for key, value in says.items()}
    return it


def judged(it: Serving, settings: GateSettings = GATE) -> Verdict:
    return judge(cast("Cluster", it), [WEB], settings)


def test_nothing_but_the_service_is_asked_where_nobody_names_a_path() -> None:
    it = serving()
    verdict = judged(it)
    assert (verdict.passed, verdict.data, verdict.notes) == (True, (), ())
    assert {what for what, _ in it.sent} == {"GET /version"}


def test_a_release_whose_data_is_read_and_written_passes_with_its_figures() -> None:
    it = serving(PATHS)
    verdict = judged(it)
    assert verdict.passed, verdict.lines()
    read, write = verdict.data
    assert (read.what, write.what) == (f"reads of {RECORDS}", "writes of /probe")
    assert read.figures.total > 0
    assert write.figures.total > 0
    assert {what for what, _ in it.sent} == {"GET /version", f"GET {RECORDS}", "POST /probe"}
    assert [it["of"] for it in verdict.as_json()["data"]] == ["read", "write"]
    assert any(line.startswith(f"  reads of {RECORDS}: ") for line in verdict.lines())


def test_a_write_is_marked_and_none_is_the_one_before() -> None:
    it = serving(PATHS)
    assert judged(it).passed
    marks = [headers for what, headers in it.sent if what == "POST /probe"]
    assert {mark["Aegis-Probe"] for mark in marks} == {"write"}
    keys = [mark["Idempotency-Key"] for mark in marks]
    assert len(set(keys)) == len(keys)
    assert all(not headers for what, headers in it.sent if what.startswith("GET"))


@pytest.mark.parametrize(
    ("asked", "reason"),
    [(f"GET {RECORDS}", f"reads of {RECORDS} failed"), ("POST /probe", "writes of /probe failed")],
)
def test_one_that_fails_them_is_refused_however_well_it_says_its_version(
    asked: str, reason: str
) -> None:
    it = serving(PATHS)
    it.says[asked] = [(500, {"title": "no such column", "version": "1"})]
    verdict = judged(it)
    assert (verdict.passed, verdict.kind) == (False, "success-ratio")
    assert f"{reason} (mostly: 500)" in verdict.reason
    assert verdict.figures is not None
    assert verdict.figures.failed == 0


def test_one_that_is_slow_at_them_alone_is_refused() -> None:
    gate = _Gate.__new__(_Gate)
    gate.settings, gate.notes = GateSettings(p99_ms=300), []
    slow = ProbeMetrics(total=9, slow=3, p99_ms=900, outcomes={"200": 9})
    gate.data = (DataFigures(of=READ, paths=(RECORDS,), figures=slow),)
    # Summed up with these they would be few enough.
    quick = ProbeMetrics(total=900, outcomes={"200": 900})
    with pytest.raises(_Failed) as failed:
        gate._shortcoming(quick, lambda _: 0)
    assert failed.value.verdict.kind == "latency"
    assert failed.value.verdict.reason == (
        f"3 of 9 reads of {RECORDS} took longer than 300 ms; 99 % must not"
    )


@pytest.mark.parametrize(
    ("data", "asked"),
    [
        (DataPaths(), {"GET /version"}),
        (DataPaths(read="/items"), {"GET /version", "GET /items"}),
        (DataPaths(write="/tryout"), {"GET /version", "POST /tryout"}),
    ],
)
def test_the_gates_own_setting_comes_before_what_pods_say(data: DataPaths, asked: set[str]) -> None:
    it = serving(PATHS)
    assert judged(it, GateSettings(bake_seconds=1, data=data)).passed
    assert {what for what, _ in it.sent} == asked


def test_what_no_service_leads_to_is_told_not_to_be_asked() -> None:
    it = serving(PATHS)
    it.lists["/api/v1/namespaces/shop/services"][0]["spec"]["selector"] = {"app": "another"}
    verdict = judge(cast("Cluster", it), [replace(WEB, service=None)], GATE)
    assert verdict.passed
    assert "the data of web was not asked for: no Service leads to it" in verdict.notes


def test_an_answer_is_waited_for_as_long_as_the_service_may_wait_for_its_database() -> None:
    # One that gave up before would take a database that is silent for a release that is.
    prober = DataProber(dict, GATE, was_heard=lambda *_: True)
    assert all(it._seconds >= 15 for it in prober)


def test_pods_that_name_no_path_are_refused_with_what_they_say() -> None:
    verdict = judged(serving({"aegis.dev/data-read": "v1/records"}))
    assert (verdict.passed, verdict.kind) == (False, "data")
    assert "web: the annotation aegis.dev/data-read is 'v1/records'" in verdict.reason


def test_new_pods_are_asked_one_by_one_before_the_last_old_one_goes() -> None:
    it = serving(PATHS)
    it.says[f"GET {RECORDS}"] = [(500, {})]
    deployment = it.lists[PATH][0]
    deployment["status"] |= {"updatedReplicas": 1, "availableReplicas": 1}
    verdict = judged(it, GateSettings(canary=1, bake_seconds=0, unready_seconds=300))
    assert verdict.kind == "success-ratio", verdict.lines()
    assert "while new pods were probed one by one: " in verdict.reason
    assert f"reads of {RECORDS} failed" in verdict.reason


class TestADatabaseThatIsAway:
    """Nobody can tell whose fault that is: it is neither good nor bad, unless it is back soon."""

    def test_for_long_is_no_verdict_on_the_release(self) -> None:
        soon = replace(GATE, away_seconds=0)
        verdict = judged(serving(PATHS, **{f"GET_{RECORDS}": [(503, AWAY)]}), soon)
        assert (verdict.passed, verdict.kind, verdict.lost) == (False, UNTOLD, True)
        assert verdict.silent == "database"
        assert verdict.reason == f"its database was away, as the answers to reads of {RECORDS} say"
        assert verdict.data[0].away > 0

    def test_begins_the_bake_time_anew_when_it_comes_back(self) -> None:
        it = serving(PATHS)
        it.says["POST /probe"] = [(503, AWAY), (200, {"version": "1"})]
        verdict = judged(it)
        assert verdict.passed, verdict.lines()
        assert any(note.startswith("the bake time began anew: its data") for note in verdict.notes)

    def test_does_not_hide_a_failure_of_the_releases_own(self) -> None:
        it = serving(PATHS, **{f"GET_{RECORDS}": [(503, AWAY)]})
        it.says["POST /probe"] = [(500, {"version": "1"})]
        verdict = judged(it)
        assert verdict.kind == "success-ratio"
        assert "writes of /probe failed (mostly: 500)" in verdict.reason

    def test_that_is_back_within_what_may_fail_is_a_note(self) -> None:
        it = serving(PATHS)
        it.says[f"GET {RECORDS}"] = [(200, {"version": "1"}), (503, AWAY), (200, {"version": "1"})]
        verdict = judged(it, GateSettings(bake_seconds=2, success_ratio=0.5))
        assert verdict.passed, verdict.lines()
        assert f"1 of the reads of {RECORDS}: its database was away" in verdict.notes


def test_writes_that_the_api_server_does_not_let_through_are_a_note() -> None:
    verdict = judged(serving(PATHS, **{"POST_/probe": [(403, STATUS)]}))
    assert verdict.passed, verdict.lines()
    (note,) = verdict.notes
    assert note.startswith("the writes of /probe: they go through the API server, where this")
    assert "create services/proxy" in note
    assert verdict.data[1].refused > 0


class TestWhoseAnswer:
    """While pods of the release before can be reached, an answer counts for whoever it names."""

    @pytest.fixture
    def prober(self) -> Callable[..., Prober]:
        def made(*answers: Answer) -> Prober:
            prober = Prober(lambda: (), "", rate=1, p99_ms=100)
            for it in answers:
                prober.keep(100.5, proxied=False, answer=it)
            return prober

        return made

    FAILED = Answer(ok=False, what="500", milliseconds=1, version="2")

    def test_failures_that_name_it_do_not_count_where_good_answers_name_nobody(
        self, prober: Callable[..., Prober]
    ) -> None:
        nameless = prober(Answer(ok=True, what="200", milliseconds=1), self.FAILED)
        assert nameless.nameless
        assert nameless.unnamed_failures(before=101) == 1
        named = prober(Answer(ok=True, what="200", milliseconds=1, version="2"), self.FAILED)
        assert not named.nameless
        assert named.unnamed_failures(before=101) == 0

    def test_what_is_excused_is_held_against_nobody(self, prober: Callable[..., Prober]) -> None:
        gone = Answer(ok=False, what="503", milliseconds=1, excuse="its database is away")
        assert prober(gone).unnamed_failures(before=101) == 0
