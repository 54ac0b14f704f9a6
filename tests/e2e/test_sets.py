"""StatefulSets, DaemonSets and Jobs of somebody else's program: judged, restored, told of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.small_program import PATIENT, SmallProgram
from tests.evidence.plugin import keep
from tests.series import every

PROGRAM = '''
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
NAMESPACE, IMAGE = config.require("namespace"), config.require("image")
SERVE = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.ThreadingHTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
BAD = "print('boom: cannot open the store'); raise SystemExit(3)"
space = kubernetes.core.v1.Namespace("space", metadata={"name": NAMESPACE})
inside = pulumi.ResourceOptions(
    depends_on=[space], custom_timeouts=pulumi.CustomTimeouts(create="240s", update="240s")
)


def template(name, code, probe=True, requests=None, **more):
    container = {"name": "main", "image": IMAGE, "command": ["python3", "-u", "-c", code]}
    container["resources"] = {"requests": {"cpu": "10m", **(requests or {})}}
    if probe:
        asks = {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1, "timeoutSeconds": 10}
        container["readinessProbe"] = asks
    spec = {"terminationGracePeriodSeconds": 2, "containers": [container], **more}
    return {"metadata": {"labels": {"app": name}}, "spec": spec}


def code(name):
    return BAD if config.get(name) == "bad" else SERVE


def common(name):
    return {"selector": {"matchLabels": {"app": name}}}


# Demands of every further pod to say how much memory it requests, as only the broken ones do.
limit, memory = [], {}
if config.get("limit") == "bad":
    memory = {"memory": "16Mi"}
    limit = [
        kubernetes.core.v1.ResourceQuota(
            "limit",
            metadata={"name": "limit", "namespace": NAMESPACE},
            spec={"hard": {"requests.memory": "1Gi"}},
            opts=inside,
        )
    ]
# Of one name, in one namespace.
kubernetes.apps.v1.StatefulSet(
    "db",
    metadata={"name": "db", "namespace": NAMESPACE},
    spec={
        **common("db"),
        "replicas": 2,
        "serviceName": "db",
        "template": template("db", code("set") + f"# {config.get('note')}", requests=memory),
    },
    opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=limit)),
)
kubernetes.apps.v1.DaemonSet(
    "agent",
    metadata={"name": "db", "namespace": NAMESPACE},
    spec={**common("agent"), "template": template("agent", code("daemon"))},
    opts=inside,
)
kubernetes.core.v1.Service(
    "db",
    metadata={
        "name": "db",
        "namespace": NAMESPACE,
        "annotations": {"pulumi.com/skipAwait": "true"},
    },
    spec={
        "selector": {"app": "db"},
        "clusterIP": "None",
        "ports": [{"port": 80, "targetPort": 8000}],
    },
    opts=inside,
)
migration = BAD if config.get("job") == "bad" else f"print({config.get('step') or '1'})"
kubernetes.batch.v1.Job(
    "migrate",
    metadata={"name": "migrate", "namespace": NAMESPACE},
    spec={
        "backoffLimit": 0,
        "template": template("migrate", migration, probe=False, restartPolicy="Never"),
    },
    opts=pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(delete_before_replace=True)),
)
'''
PARTS = ("set", "daemon", "job", "limit")


class Sets(SmallProgram):
    """The program, its stack and its namespace."""

    def choose(self, **bad: str) -> None:
        """Choose what is bad in the next release; the rest is good."""
        self.configure({part: bad.get(part, "good") for part in PARTS})
        self.configure({"step": bad.get("step", "1"), "note": bad.get("note", "first")})

    def deploy(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Deploy; return the document, or the error in it."""
        found: dict[str, Any] = self.told("deploy", "--yes", *words, expect=expect)
        return found

    def require_whole(self) -> None:
        """Require that every pod that runs is ready, and of the release that is good."""
        status = self.told("status", "--no-drift")
        assert status["healthy"], status
        assert status["release"]["verified"]
        kinds = [it["kind"] for it in status["workloads"]]
        assert sorted(kinds) == ["DaemonSet", "StatefulSet"]
        pods = [pod for it in status["workloads"] for pod in it["pods"]]
        assert len(pods) == 3
        assert all(pod["ready"] and pod["new"] for pod in pods), pods


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sets]:
    """A stack whose first release is good and verified."""
    settings = {"gate.bakeSeconds": "3", "gate.path": "/", **PATIENT}
    it = Sets.written(tmp_path_factory.mktemp("sets"), PROGRAM, settings)
    try:
        it.choose()
        first = it.deploy()
        assert first["gate"]["figures"]["total"] > 0, "the StatefulSet's Service is probed"
        it.require_whole()
        yield it
    except Exception:
        keep(it)
        raise
    finally:
        it.leave()


def _rolled_back(found: dict[str, Any]) -> dict[str, Any]:
    assert found["error"]["state"].endswith("verified"), found
    rollback: dict[str, Any] = found["rollback"]
    assert rollback["gate"]["passed"]
    return rollback


@every
def test_a_crashing_daemon_set_is_refused_rolled_back_and_its_job_runs_again(sets: Sets) -> None:
    ran = {it["metadata"]["uid"] for it in sets.live("job")}
    sets.choose(daemon="bad", step="2")
    found = sets.deploy(expect=4)
    assert "ended with exit code 3" in found["error"]["why"]
    assert "boom: cannot open the store" in found["error"]["why"]
    again = _rolled_back(found)["runAgain"]
    assert [line.partition(":")[0] for line in again] == ["Job migrate"]
    assert ran.isdisjoint(it["metadata"]["uid"] for it in sets.live("job"))
    sets.require_whole()


def test_a_stateful_set_goes_back_though_its_broken_pod_is_in_the_way(sets: Sets) -> None:
    # kubernetes/kubernetes#67250: its controller waits for that pod, whatever its template says.
    sets.choose(set="bad")
    found = sets.deploy(expect=4)
    assert "boom: cannot open the store" in found["error"]["why"]
    (replaced,) = _rolled_back(found)["podsReplaced"]
    assert replaced.startswith("pod db-1 of StatefulSet db, which kept it from going back: ")
    sets.require_whole()
    timelines = (sets.directory / "backend" / ".pulumi" / "aegis").rglob("*.timelines/*.json")
    newest = json.loads(max(timelines).read_text())
    assert "replace pod db-1 of StatefulSet db" in [it["name"] for it in newest["steps"]]


@every
def test_so_it_does_when_a_person_goes_back(sets: Sets) -> None:
    sets.choose(set="bad")
    left = sets.deploy("--no-rollback", "--force", expect=1)
    assert "not rolled back, as asked" in left["error"]["state"]
    back = sets.aegis("rollback", "--yes", "--json")
    assert len(json.loads(back.standard_output)["podsReplaced"]) == 1
    assert "replaced pod db-1 of StatefulSet db" in back.output, "the person is told"
    sets.require_whole()


@every
def test_a_release_that_mends_the_set_replaces_the_pod_that_the_broken_one_left(
    sets: Sets,
) -> None:
    sets.choose(set="bad")
    sets.deploy("--no-rollback", "--force", expect=1)
    sets.choose(note="mended")
    mended = sets.deploy()
    (replaced,) = mended["podsReplaced"]
    assert replaced.startswith("pod db-1 of StatefulSet db, which kept it from going on: ")
    assert "ended with exit code 3" in replaced
    sets.require_whole()
    timelines = (sets.directory / "backend" / ".pulumi" / "aegis").rglob("*.timelines/*.json")
    newest = json.loads(max(timelines).read_text())
    assert "replace pod db-1 of StatefulSet db" in [it["name"] for it in newest["steps"]]


@every
def test_what_lets_no_pod_come_goes_before_the_pod_in_the_way_is_replaced(sets: Sets) -> None:
    sets.choose(set="bad", limit="bad")
    found = sets.deploy(expect=4)
    assert "boom: cannot open the store" in found["error"]["why"]
    rollback = _rolled_back(found)
    assert rollback["first"] == ["ResourceQuota limit"]
    (replaced,) = rollback["podsReplaced"]
    assert replaced.startswith("pod db-1 of StatefulSet db, which kept it from going back: ")
    assert sets.live("resourcequota") == []
    sets.require_whole()


def test_a_job_that_fails_is_evidence_with_its_last_words(sets: Sets) -> None:
    sets.choose(job="bad")
    found = sets.deploy(expect=4)
    assert "Job migrate failed (BackoffLimitExceeded)" in found["error"]["why"]
    _rolled_back(found)
    sets.require_whole()
