"""The gate on a real cluster: how soon and why a release that cannot become good is refused.

A small server under a Deployment of two in a namespace of its own, changed by nobody else, so that
what is judged is the gate and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx
import pytest
import yaml

from aegis_deploy.gate.analysis import Progress, Stopped, judge
from aegis_deploy.kubernetes.client import Cluster, connect
from aegis_deploy.kubernetes.endpoint_slices import SERVICE_LABEL
from aegis_deploy.kubernetes.informer import read_snapshot
from aegis_deploy.kubernetes.nudge import ANNOTATION
from aegis_deploy.kubernetes.rollout_monitor import RolloutMonitor
from aegis_deploy.model.gate_settings import GateSettings, Prometheus
from aegis_deploy.model.verdict import UNTOLD, Verdict
from aegis_deploy.model.workloads.rollout import Workload
from tests.e2e import plain_http
from tests.e2e.live_cluster import live_cluster
from tests.e2e.prometheus_stand import newest, prometheus
from tests.e2e.server import GRACE_SECONDS, SERVER
from tests.e2e.stand import CPU_REQUEST
from tests.e2e.traffic import traffic
from tests.series import every

ROOT = Path(__file__).parents[2]
NAMESPACE = "gate-tests"
WEB = Workload(namespace=NAMESPACE, name="web")
PATIENT = GateSettings(
    bake_seconds=3, probe_rate=20, p99_ms=60_000, unschedulable_seconds=2, unready_seconds=300
)
"""How soon a machine that does much else starts a pod and answers is not the question."""
HURRIED = replace(PATIENT, unready_seconds=4)
SECONDS = 300
"""How long something may take that takes a second or two on a machine with nothing else to do."""

CRASHING = "print('connecting to db:5432'); raise SystemExit('no such host')"
EATING = "print('reading it all'); everything = bytearray(300_000_000); input()"


def _container(version: str, **changes: Any) -> dict[str, Any]:
    environment = {"SAYS": version, **changes.pop("environment", {})}
    return {
        "name": "web",
        "image": os.environ["AEGIS_RUNTIME_IMAGE"],
        "command": ["python3", "-u", "-c", changes.pop("program", SERVER)],
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
        },
        "resources": {"requests": {"cpu": CPU_REQUEST}, "limits": {"memory": "64Mi"}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
        **changes,
    }


def _deployment(
    version: str,
    *,
    spec: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    **changes: Any,
) -> Any:
    labels = {"app": "web"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "replicas": 2,
            "minReadySeconds": 1,
            "progressDeadlineSeconds": 60,
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {
                    "labels": {**labels, "app.kubernetes.io/version": version},
                    "annotations": annotations or {},
                },
                "spec": {
                    "terminationGracePeriodSeconds": GRACE_SECONDS,
                    "containers": [_container(version, **changes)],
                },
            },
            **(spec or {}),
        },
    }


def _kubectl(*words: str) -> str:
    done = subprocess.run(
        ["kubectl", *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _apply(thing: Mapping[str, Any]) -> None:
    live_cluster(os.environ).apply(thing)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """The lab's cluster, with the namespace and the Service of these tests."""
    _kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    _apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    _apply(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": NAMESPACE},
            "spec": {
                "selector": {"app": "web"},
                "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            },
        }
    )
    try:
        yield connect()
    finally:
        _kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.fixture
def good(cluster: Cluster) -> Cluster:
    """The cluster, with the good release serving."""
    _apply(_deployment("1"))
    verdict = judge(cluster, [WEB], replace(PATIENT, bake_seconds=0))
    assert verdict.passed, verdict.lines()
    end = time.monotonic() + SECONDS
    while read_snapshot(cluster, WEB).old_pods:
        assert time.monotonic() < end, "pods of the test before do not end"
        time.sleep(0.2)
    while not _answers():
        # A Service that was just made is not routed before the node's proxy has heard of it.
        assert time.monotonic() < end, "the Service does not answer"
        time.sleep(0.2)
    return cluster


def _url() -> str:
    web = live_cluster(os.environ).get("service", "web", NAMESPACE)
    return f"http://{web['spec']['clusterIP']}"


def _pods() -> list[dict[str, Any]]:
    return live_cluster(os.environ).objects("pods", NAMESPACE)


def _answers() -> bool:
    try:
        return plain_http.get(f"{_url()}/version", seconds=2).status_code == 200
    except httpx.HTTPError:
        return False


def _judged(cluster: Cluster, settings: GateSettings = PATIENT, **changes: Any) -> Verdict:
    """Roll out a release and let the gate judge it."""
    _apply(_deployment("2", **changes))
    return judge(cluster, [WEB], settings)


HANGS = [
    ("crash", {"program": CRASHING}, "ended with exit code 1"),
    ("image", {"image": "198.18.0.2:5000/aegis:none"}, "not found"),
    ("unready", {"environment": {"UNREADY": "1"}}, "not become ready for "),
    ("memory", {"program": EATING}, "more memory than its limit, 64Mi"),
    (
        "configuration",
        {"envFrom": [{"configMapRef": {"name": "nowhere"}}]},
        'configmap "nowhere" not found',
    ),
    (
        "startup",
        {
            "environment": {"UNREADY": "1"},
            "startupProbe": {
                "httpGet": {"path": "/readyz", "port": "http"},
                "periodSeconds": 1,
                "failureThreshold": 3,
            },
        },
        "its startup probe never passed, for which it had 3 s",
    ),
    ("unschedulable", {"resources": {"requests": {"cpu": "100"}}}, "Insufficient cpu"),
]
LONG_SERIES = ("configuration", "startup")
"""Like `image` and like `unready`."""


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [pytest.param(*it, id=it[0], marks=every if it[0] in LONG_SERIES else ()) for it in HANGS],
)
def test_a_release_that_cannot_start_is_refused_while_the_old_one_serves(
    good: Cluster, kind: str, changes: dict[str, Any], why: str
) -> None:
    with traffic(_url(), watched="version") as seen:
        # Only what never becomes ready is to be found out by waiting for it.
        verdict = _judged(good, HURRIED if kind == "unready" else PATIENT, **changes)
    assert (verdict.passed, verdict.kind) == (False, kind), verdict.lines()
    assert why in verdict.reason
    assert "the release before still serves, 2 ready pods (1)" in verdict.serving
    assert seen.failures == []
    assert set(seen.answers) == {200}
    assert seen.versions == ["1"]


def test_the_verdict_comes_at_the_first_crash_and_quotes_the_log(good: Cluster) -> None:
    verdict = _judged(good, program=CRASHING)
    restarts = [
        status["restartCount"]
        for pod in _pods()
        for status in pod["status"].get("containerStatuses", ())
    ]
    # The kubelet starts it again at once the first time, the second time after 10 s, and goes on
    # to five minutes: whoever waited for its deadline would have seen more.
    assert max(restarts) <= 2
    assert any("connecting to db:5432" in line for line in verdict.evidence)
    assert any("no such host" in line for line in verdict.evidence)


def test_a_release_of_another_version_is_refused_at_its_first_pod(good: Cluster) -> None:
    verdict = _judged(good, environment={"SAYS": "1.9"})
    assert verdict.kind == "version"
    assert "with version 1.9; 2 was deployed" in verdict.reason
    assert "the release before still serves" in verdict.serving


def test_a_release_that_answers_every_fifth_request_with_an_error_is_refused(
    good: Cluster,
) -> None:
    _apply(_deployment("2", environment={"BAD_EVERY": "5"}))
    verdict = judge(good, [WEB], PATIENT)
    assert verdict.kind == "success-ratio", verdict.lines()
    assert "(mostly: 503)" in verdict.reason


ITEMS = {"aegis.dev/data-read": "/items", "aegis.dev/data-write": "/items"}


def test_a_release_that_says_its_version_well_and_fails_all_that_needs_its_data_is_refused(
    good: Cluster,
) -> None:
    verdict = _judged(good, annotations=ITEMS, environment={"DATA": "500"})
    assert verdict.kind == "success-ratio", verdict.lines()
    # Whichever has come to enough first.
    assert re.search(r"(reads|writes) of /items failed \(mostly: 500\)", verdict.reason)
    assert verdict.figures is not None
    assert verdict.figures.failed == 0


# Writes by way of the API server are those of the account below, which may send them.
@pytest.mark.parametrize("routable", [True, pytest.param(False, marks=every)])
def test_a_release_whose_data_is_read_and_written_passes_whichever_way_probes_go(
    good: Cluster, monkeypatch: pytest.MonkeyPatch, routable: bool
) -> None:
    if not routable:
        monkeypatch.setattr("aegis_deploy.gate.prober.routable", lambda *_: False)
    verdict = _judged(good, annotations=ITEMS)
    assert verdict.passed, verdict.lines()
    assert [(it.what, it.figures.failed, it.refused) for it in verdict.data] == [
        ("reads of /items", 0, 0),
        ("writes of /items", 0, 0),
    ]
    assert all(it.figures.total > 0 for it in verdict.data)


def _as_deployer(*, writes: bool) -> Cluster:
    """The cluster as an account sees it that has the documented rights; to send writes or not."""
    role, account = "deployer", {"namespace": NAMESPACE, "name": "deployer"}
    documented = yaml.safe_load((ROOT / "docs" / "pipeline-deployer.yaml").read_text())
    sends = {"resources": ["pods/proxy", "services/proxy"], "verbs": ["create"]}
    assert {"apiGroups": [""], **sends} in documented["rules"]
    rules = [it for it in documented["rules"] if writes or not sends.items() <= it.items()]
    rbac = "rbac.authorization.k8s.io"
    kinds: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount"},
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "rules": rules},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
    ]
    for it in kinds:
        _apply({**it, "metadata": account})
    shown = json.loads(_kubectl("config", "view", "--raw", "--minify", "--output", "json"))
    token = _kubectl("--namespace", NAMESPACE, "create", "token", role).strip()
    shown["users"] = [{**it, "user": {"token": token}} for it in shown["users"]]
    return connect(kubeconfig=json.dumps(shown))


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize("writes", [True, False])
def test_writes_go_through_the_api_server_where_the_account_may_and_are_told_where_not(
    monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    monkeypatch.setattr("aegis_deploy.gate.prober.routable", lambda *_: False)
    _apply(_deployment("2", annotations=ITEMS))
    verdict = judge(_as_deployer(writes=writes), [WEB], PATIENT)
    assert verdict.passed, verdict.lines()
    read, write = verdict.data
    assert (read.figures.total > 0, read.refused) == (True, 0)
    assert (write.figures.total > 0, write.refused > 0) == (writes, not writes)
    assert any("create services/proxy" in note for note in verdict.notes) == (not writes)


def test_a_database_that_is_away_ends_in_no_verdict(good: Cluster) -> None:
    away = {"DATA": "503", "PROBLEM": "urn:example:database-away"}
    hurried = replace(PATIENT, away_seconds=1)
    verdict = _judged(good, hurried, annotations=ITEMS, environment=away)
    assert (verdict.kind, verdict.lost, verdict.silent) == (UNTOLD, True, "database")


def test_a_release_that_is_slow_is_refused(good: Cluster) -> None:
    _apply(_deployment("2", environment={"SLOW": "0.5"}))
    verdict = judge(good, [WEB], replace(PATIENT, p99_ms=300))
    assert verdict.kind == "latency", verdict.lines()
    assert "longer than 300 ms" in verdict.reason


def test_a_canary_step_refuses_it_while_most_pods_are_old(good: Cluster) -> None:
    _apply(_deployment("2", spec={"minReadySeconds": 50}, environment={"BAD_EVERY": "5"}))
    verdict = judge(good, [WEB], replace(PATIENT, canary=50))
    assert verdict.kind == "success-ratio"
    assert "while new pods were probed one by one" in verdict.reason
    assert "the release before still serves, 2 ready pods (1)" in verdict.serving
    assert "the new release serves too, 1 ready pod (2)" in verdict.serving


def test_a_good_release_passes_and_no_request_is_lost(good: Cluster) -> None:
    told: list[Progress] = []
    with traffic(_url(), watched="version") as seen:
        _apply(_deployment("3"))
        verdict = judge(good, [WEB], PATIENT, on_progress=told.append)
    assert verdict.passed, verdict.lines()
    assert verdict.figures is not None
    assert verdict.figures.total > 0
    assert verdict.figures.failed == 0
    assert list(dict.fromkeys(it.phase for it in told)) == ["rollout", "bake"]
    assert seen.failures == []
    assert seen.versions == ["1", "3"]


@every
def test_the_api_servers_proxy_will_do_where_no_address_is_routable(
    good: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aegis_deploy.gate.prober.routable", lambda *_: False)
    verdict = judge(good, [WEB], PATIENT)
    assert verdict.passed, verdict.lines()
    assert verdict.via == "through the API server"
    assert verdict.figures is not None
    assert verdict.figures.total > 0


def test_a_container_that_is_killed_for_memory_in_the_bake_time_is_evidence(good: Cluster) -> None:
    dying = "threading.Timer(6, lambda: bytearray(300_000_000)).start()\nclass H"
    _apply(_deployment("4", program=SERVER.replace("class H", dying)))
    verdict = judge(good, [WEB], replace(PATIENT, bake_seconds=120))
    assert verdict.kind == "memory", verdict.lines()
    assert "more memory than its limit, 64Mi" in verdict.reason


def test_a_pod_that_outlasts_the_progress_deadline_is_named_with_its_log(cluster: Cluster) -> None:
    # It ends when it is told to: whoever comes next waits for that.
    waiting = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit());"
        "print('waiting for the db', flush=True); time.sleep(600)"
    )
    probe = {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 100}
    _apply(
        _deployment("5", spec={"progressDeadlineSeconds": 9}, program=waiting, startupProbe=probe)
    )
    verdict = judge(cluster, [WEB], PATIENT)
    assert verdict.kind == "deadline", verdict.lines()
    assert "no progress for 9 s" in verdict.reason
    assert "runs, but its startup probe has not passed" in verdict.reason
    assert any("waiting for the db" in line for line in verdict.evidence)
    assert any("Startup probe failed" in line for line in verdict.evidence), verdict.lines()


def test_a_watch_tells_what_the_update_meanwhile_brings_and_nothing_of_before(
    cluster: Cluster,
) -> None:
    _apply(_deployment("5", program=CRASHING))
    assert not judge(cluster, [WEB], PATIENT).passed
    found: Queue[Verdict] = Queue()
    with RolloutMonitor(cluster, [WEB], PATIENT, on_failure=found.put):
        with pytest.raises(Empty):
            found.get(timeout=1.5)  # What hung before the update is not the update's.
        _apply(_deployment("1"))
        with pytest.raises(Empty):
            found.get(timeout=5)
        _apply(_deployment("6", image="198.18.0.2:5000/aegis:none"))
        failure = found.get(timeout=SECONDS)
    assert failure.kind == "image"


def test_a_figure_of_prometheus_is_part_of_the_verdict(good: Cluster, tmp_path: Path) -> None:
    target = _url().removeprefix("http://") + ":80"
    with prometheus(tmp_path, target) as url:
        _apply(_deployment("2", environment={"QUEUE": "50"}))

        def verdict(query: str, **bounds: float) -> Verdict:
            asked = Prometheus(url=url, query=query, **bounds)
            return judge(good, [WEB], replace(PATIENT, bake_seconds=0, prometheus=asked))

        # The pods of before answer until they have drained, the scrapes, too.
        end = time.monotonic() + SECONDS
        while read_snapshot(good, WEB).old_pods or newest(url, "web_queue_length") != 50:
            assert time.monotonic() < end, "the pods of before do not end"
            time.sleep(0.2)
        failed = verdict("max(web_queue_length)", most=10)
        assert (failed.passed, failed.kind) == (False, "prometheus"), failed.lines()
        assert failed.reason == "max(web_queue_length) is 50; at most 10"
        assert verdict("max(web_queue_length)", most=50, least=1).passed
        none = verdict("sum(there_is_no_such_metric)", most=1)
        assert none.reason.endswith("gave no number: 0 series")
        wrong = verdict("max(", most=1)
        assert "parse error" in wrong.reason
    gone = verdict("up", least=1)
    assert gone.kind == "prometheus", "a figure that cannot be had is no good figure"


def test_a_gate_can_be_stopped(good: Cluster) -> None:
    stop = threading.Event()
    # Were it not stopped, there would be a verdict in the end.
    with pytest.raises(Stopped):
        judge(
            good,
            [WEB],
            replace(PATIENT, bake_seconds=SECONDS),
            on_progress=lambda it: stop.set() if it.phase == "bake" else None,
            stop=stop,
        )


def _service() -> dict[str, Any]:
    shown = live_cluster(os.environ).get("service", "web", NAMESPACE)
    del shown["metadata"]["resourceVersion"]
    return shown


def test_a_service_that_is_left_behind_is_nudged_and_stays_as_it_was(good: Cluster) -> None:
    before = _service()
    pods = _pods()
    gone = {"kind": "Pod", "namespace": NAMESPACE, "name": "web-of-before", "uid": "gone"}
    _apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-of-before",
                "namespace": NAMESPACE,
                "labels": {SERVICE_LABEL: "web"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": [pods[0]["status"]["podIP"]], "targetRef": gone}],
            "ports": [{"name": "http", "port": 8000}],
        }
    )
    nudged, over = threading.Event(), threading.Event()

    def follow() -> None:
        """Do what Kubernetes would: at a change of the Service, have it lead to what is there."""
        path = f"/api/v1/namespaces/{NAMESPACE}/services"
        version = good.get(path)["metadata"]["resourceVersion"]
        for _, changed in good.watch(path, {}, version, over):
            if ANNOTATION in changed["metadata"].get("annotations", {}):
                _kubectl("--namespace", NAMESPACE, "delete", "endpointslice", "web-of-before")
                nudged.set()
                return

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        verdict = judge(good, [WEB], PATIENT)
    finally:
        over.set()
        follower.join()
    assert verdict.passed, verdict.lines()
    assert nudged.is_set()
    assert _service() == before
