"""A cluster that runs a migration's Jobs as it is told to, for the tests of contracts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.schema import CONTRACT_ARGS, JOB, PLAN_ARGS
from aegis_deploy.operations.schema_job import CONTRACT, MADE_FOR

JOBS = "/apis/batch/v1/namespaces/n/jobs"
PODS = "/api/v1/namespaces/n/pods"
SAYS = {JOB: "true", CONTRACT_ARGS: '["--contract"]', PLAN_ARGS: '["--contract", "--plan"]'}
IMAGE = "registry:5000/a@sha256:" + "a" * 64


def resource(kind: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """An object, as a state has it."""
    kind = f"kubernetes:{kind}"
    urn = f"urn:pulumi:s::p::{kind}::{name}"
    return {
        "urn": urn,
        "type": kind,
        "custom": True,
        "id": f"n/{name}",
        "inputs": {"metadata": {"name": name, "namespace": "n"}, **inputs},
    }


def migration(
    says: Mapping[str, str] | None = None, *, kind: str = "batch/v1:Job"
) -> dict[str, Any]:
    """The Job that a release migrates with."""
    container = {
        "name": "migrate",
        "image": IMAGE,
        "command": ["migrate"],
        "envFrom": [{"configMapRef": {"name": "config-1"}}, {"secretRef": {"name": "secret-1"}}],
        "securityContext": {"readOnlyRootFilesystem": True},
    }
    template = {
        "metadata": {"labels": {"app": "a-migrate"}, "annotations": dict(says or SAYS)},
        "spec": {
            "restartPolicy": "Never",
            "serviceAccountName": "migrator",
            "containers": [container],
            "volumes": [{"name": "ca", "configMap": {"name": "config-1"}}],
        },
    }
    spec = {"backoffLimit": 3, "activeDeadlineSeconds": 60, "template": template}
    made = resource(kind, "a-migrate-4", {"spec": spec})
    made["inputs"]["metadata"]["labels"] = {"app": "a-migrate"}
    return made


def plan(at: tuple[int, int], after: tuple[int, int]) -> str:
    """What a migration writes that was asked for its plan."""
    (revision, least), (then, least_then) = at, after
    said = {
        "database": {"revision": revision, "leastHead": least},
        "after": {"revision": then, "leastHead": least_then},
        "revisions": [
            {
                "revision": number,
                "kind": "contract",
                "about": f"Step {number}",
                "sql": ["DROP TABLE old;"],
            }
            for number in range(revision + 1, then + 1)
        ],
    }
    return f"a warning of some library\n{json.dumps(said)}\n"


@dataclass(kw_only=True)
class Run:
    """What comes of a Job.

    Attributes:
        log: What its pod has written each time that it is looked at, the last one at its end.
        message: What its container leaves.
        condition: How it ends; None when it never does.
        why: What the condition says.
        waits: Why its container never began; empty when it did.
    """

    log: tuple[str, ...] = ("",)
    message: str = ""
    condition: str | None = "Complete"
    why: str = ""
    waits: str = ""


@dataclass
class SchemaCluster:
    """It makes Jobs whose runs were prepared, and rejects what was not.

    Attributes:
        runs: What comes of a Job, by what it is for.
        made: The Jobs that were made.
        fault: What every request is answered with.
        forbidden: What the making of a Job is answered with.
        unnamed: Whether the declared Job is gone.
        mute: What the next questions for a log are answered with.
        stops: What happens to whoever waits for a Job.
        before: What the container writes that comes before a pod's own.
    """

    runs: dict[str, Run] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    fault: ApiError | None = None
    forbidden: ApiError | None = None
    unnamed: bool = False
    mute: list[ApiError] = field(default_factory=list)
    stops: BaseException | None = None
    address: str = "https://it"
    looks: dict[str, Iterator[str]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    before: str = ""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        if self.fault is not None:
            raise self.fault
        asked = (query or {}).get("labelSelector", "")
        if path == JOBS:
            assert asked == f"{MADE_FOR}={CONTRACT}"
            of_it = [it for it in self.made if it["metadata"]["labels"][MADE_FOR] == CONTRACT]
            return {"items": [self._job(it, over=False) for it in of_it]}
        if path == PODS and not asked:
            return {"items": []}
        if path == PODS:
            return {"items": [self._pod(asked.removeprefix("job-name="))]}
        if path == f"{JOBS}/a-migrate-4":
            if self.unnamed:
                raise ApiError(404, "not found")
            return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a", "uid": "7"}}
        if path.startswith(f"{JOBS}/"):
            if self.stops is not None:
                raise self.stops
            return self._job(self._named(path.rpartition("/")[2]))
        assert path == "/version", path
        return {}

    def create(self, path: str, thing: Mapping[str, Any]) -> dict[str, Any]:
        if self.forbidden is not None:
            raise self.forbidden
        assert path == JOBS
        made = deepcopy(dict(thing))
        made["metadata"]["name"] = f"{made['metadata']['generateName']}{len(self.made)}"
        self.runs[made["metadata"]["labels"][MADE_FOR]]  # One that was prepared.
        self.made.append(made)
        return made

    def text(self, path: str, query: Mapping[str, str]) -> str:
        if query["container"] == "rehearse":
            return self.before
        assert query["container"] == "migrate"
        name = path.removeprefix(f"{PODS}/").removesuffix("/log")
        if self.mute:
            raise self.mute.pop(0)
        return self.texts[name]

    def _named(self, name: str) -> dict[str, Any]:
        return next(it for it in self.made if it["metadata"]["name"] == name)

    def _spec(self, name: str) -> dict[str, Any]:
        """What the pod of a Job is made from; of one that another made it is not known here."""
        template = self._named(name).get("spec", {}).get("template", {})
        found: dict[str, Any] = template.get("spec") or {"containers": [{"name": "migrate"}]}
        return found

    def _run(self, job: Mapping[str, Any]) -> Run:
        return self.runs[job["metadata"]["labels"][MADE_FOR]]

    def _job(self, job: dict[str, Any], *, over: bool | None = None) -> dict[str, Any]:
        run, name = self._run(job), job["metadata"]["name"]
        if over is None:
            texts = self.looks.setdefault(name, iter(run.log))
            self.texts[name] = next(texts, run.log[-1])
            over = self.texts[name] == run.log[-1]
        if not over or run.condition is None:
            return job
        end = {"type": run.condition, "status": "True", "message": run.why}
        return {**job, "status": {"conditions": [end]}}

    def _pod(self, name: str) -> dict[str, Any]:
        run = self._run(self._named(name))
        state: dict[str, Any] = {"terminated": {"exitCode": 0, "message": run.message}}
        if run.waits:
            state = {"waiting": {"reason": run.waits}}
        return {
            "metadata": {"name": name, "namespace": "n", "creationTimestamp": "now"},
            "spec": self._spec(name),
            "status": {
                "phase": "Pending" if run.waits else "Failed",
                "containerStatuses": [{"name": "migrate", "state": state}],
            },
        }
