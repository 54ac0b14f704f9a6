"""Running a release's migration with other arguments: a Job made from the one that it declares.

It is no resource of the stack: it belongs to the declared Job, where that is there still, and goes
some time after its end. What it says, and how it ended, is read from its pod.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes.client import NOT_FOUND, ApiError
from aegis_deploy.model.database import schema
from aegis_deploy.model.fingerprint import provider_of
from aegis_deploy.model.signatures import opened
from aegis_deploy.model.workloads.rollout import container_statuses, holdup
from aegis_deploy.model.workloads.workload_kinds import is_job

if TYPE_CHECKING:
    from aegis_deploy.kubernetes.client import Cluster, Object

MADE_FOR = "aegis.dev/schema-run"
"""The label of what is made here: `CONTRACT`, `PLAN` or `REHEARSE`."""
CONTRACT, PLAN, REHEARSE = "contract", "plan", "rehearse"
SECONDS = 900
"""How long it may take where the declared Job does not say."""
_KEPT_SECONDS = 900
"""So long the ended Job and its pod stay, for whoever wants to read what they said."""
_LOOK_SECONDS = 1.0
_SILENT_SECONDS = 120.0
_LOG_LINES = 5000
_NAME = 40
_REHEARSES = "rehearse"
"""The container that rehearses, where another tries what it leaves."""
_TOLD = {
    schema.CONTRACT_ARGS: ("contract", "contract with the program's own tool"),
    schema.REHEARSE_ARGS: ("rehearse", "try it by hand"),
}
"""What a migration with an annotation can be told to do, and what there is without it."""


@dataclass(frozen=True, kw_only=True)
class Migration:
    """The migration that a release declares.

    Attributes:
        name: What its Job is called.
        namespace: Where it is.
        provider: The URN of its provider.
        spec: The Job's, of which the pod template is taken; secrets opened.
        labels: The Job's.
        contract_args: With which further arguments it takes away, too.
        plan_args: With which it says what that would be; None when it cannot.
        rehearse_args: With which it tries that on a copy.
        probe_args: With which it tries its own reads and writes on a copy that was left; None when
            it cannot.
        image_digest: The image that runs in the place of the declared one; None for that.
    """

    name: str
    namespace: str
    provider: str
    spec: Mapping[str, Any] = field(repr=False)
    labels: Mapping[str, str] = field(default_factory=dict)
    contract_args: tuple[str, ...] = ()
    plan_args: tuple[str, ...] | None = None
    rehearse_args: tuple[str, ...] = ()
    probe_args: tuple[str, ...] | None = None
    image_digest: str | None = None

    @property
    def path(self) -> str:
        """Where the Jobs of its namespace are."""
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    def job(self, purpose: str, head: str, owner: Mapping[str, Any] | None) -> dict[str, Any]:
        """Describe the Job that runs it.

        Args:
            purpose: `CONTRACT`, `PLAN` or `REHEARSE`.
            head: What its name has of the schema.
            owner: The declared Job as the cluster has it; None when it is gone.
        """
        template = deepcopy(dict(self.spec["template"]))
        metadata = template["metadata"]
        annotations = dict(metadata["annotations"])
        if purpose != CONTRACT:
            # What it ends with is not what the database is.
            del annotations[schema.JOB]
        labels = {**(metadata.get("labels") or {}), MADE_FOR: purpose}
        template["metadata"] = {"labels": labels, "annotations": annotations}
        template["spec"] = {**template["spec"], "restartPolicy": "Never"}
        first = template["spec"]["containers"][0]
        if purpose == REHEARSE and self.probe_args is not None:
            # What runs is tried on what it leaves, once that is done.
            first = _before(template["spec"], self.probe_args)
        more = {
            CONTRACT: self.contract_args,
            PLAN: self.plan_args,
            REHEARSE: self.rehearse_args,
        }[purpose]
        if self.image_digest is not None:
            first["image"] = f"{_repository(first['image'])}@{self.image_digest}"
        first["args"] = [*(first.get("args") or ()), *(more or ())]
        owners = [] if owner is None else [_owner(owner)]
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "generateName": f"{self.name[:_NAME].rstrip('-.')}-{purpose}-{head}-",
                "namespace": self.namespace,
                "labels": {**self.labels, MADE_FOR: purpose},
                "ownerReferences": owners,
            },
            "spec": {
                # It tries again by itself what is worth it; a person looks at all else.
                "backoffLimit": 0,
                "activeDeadlineSeconds": self.spec.get("activeDeadlineSeconds") or SECONDS,
                "ttlSecondsAfterFinished": _KEPT_SECONDS,
                "template": template,
            },
        }


def _before(pod: dict[str, Any], args: Sequence[str]) -> dict[str, Any]:
    """Have a pod's first container run after one like it, which is returned.

    Args:
        pod: The pod's specification.
        args: With which further arguments the first container runs then.
    """
    name, value = schema.KEEP
    then = pod["containers"][0]
    first: dict[str, Any] = deepcopy(then)
    first["name"] = _REHEARSES
    first["env"] = [*(first.get("env") or ()), {"name": name, "value": value}]
    then["args"] = [*(then.get("args") or ()), *args]
    pod["initContainers"] = [*(pod.get("initContainers") or ()), first]
    return first


def find(
    resources: Sequence[Mapping[str, Any]], stack: str, says: str = schema.CONTRACT_ARGS
) -> Migration:
    """Return the migration of the release that a state has.

    Args:
        resources: The state's.
        stack: What the stack is called.
        says: The annotation that it has to have.

    Raises:
        AegisError: There is none that has it, or there are several.
    """
    told, instead = _TOLD[says]
    live = [it for it in resources if not it.get("delete")]
    all_of_them = [it for it in live if schema.JOB in _annotations(it)]
    found = [it for it in all_of_them if says in _annotations(it)]
    if len(found) != 1:
        raise AegisError(
            what=f"what runs in {stack} has no migration that could be told to {told}"
            if not found
            else f"what runs in {stack} has several migrations that could be told to {told}",
            why=", ".join(str(it["urn"]).rpartition("::")[2] for it in found or all_of_them)
            or f"no pod template has the annotation {schema.JOB}",
            next=f"declare one with {schema.JOB} and {says}, as docs/schema.md "
            f"says, and deploy that; or {instead}",
        )
    return _migration(found[0], stack)


def _migration(resource: Mapping[str, Any], stack: str) -> Migration:
    said = _annotations(resource)
    contract, plan, rehearse, probe = (
        None if name not in said else _arguments(name, said[name])
        for name in (
            schema.CONTRACT_ARGS,
            schema.PLAN_ARGS,
            schema.REHEARSE_ARGS,
            schema.PROBE_ARGS,
        )
    )
    try:
        inputs = opened(resource.get("inputs") or {})
    except KeyError:
        raise AegisError(
            what=f"the migration of {stack} cannot be run from here",
            why="what its pods are made from is recorded as a secret",
            next="do it with the program's own tool",
        ) from None
    live = _metadata(resource)
    spec = inputs["spec"]
    return Migration(
        name=str(live["name"]),
        namespace=str(live.get("namespace") or "default"),
        provider=provider_of(resource),
        # A workload that is none ends at no time of its own.
        spec=spec if is_job(str(resource["type"])) else {"template": spec["template"]},
        labels=(inputs["metadata"].get("labels") or {}),
        contract_args=contract or (),
        plan_args=plan,
        rehearse_args=rehearse or (),
        probe_args=probe,
    )


def _arguments(name: str, text: object) -> tuple[str, ...]:
    found = schema.words_of(text)
    if found is None:
        raise AegisError(
            what=f"the annotation {name} is no list of arguments",
            why=f"it is {text}",
            next="""make it a JSON list of texts, such as '["--contract"]', and deploy that""",
        )
    return found


def _annotations(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    return schema.annotations_of(resource.get("inputs") or {})


def _metadata(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an object is called, also where it was not the program that named it."""
    known = (resource.get("outputs") or {}).get("metadata")
    found = known or (resource.get("inputs") or {}).get("metadata")
    return found if isinstance(found, Mapping) else {}


def _repository(image: str) -> str:
    """An image reference without digest and tag: a colon after the last slash begins one."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _owner(job: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": job["apiVersion"],
        "kind": job["kind"],
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
    }


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        name: The Job's name.
        succeeded: Whether it did what it was for.
        log: What its last pod wrote.
        message: What its container left at its end.
        why: Why it failed, by what the cluster says of it.
    """

    name: str
    succeeded: bool
    log: str = ""
    message: str = ""
    why: str = ""


class LostError(Exception):
    """The cluster stopped answering while a Job ran."""


class SchemaJob:
    """Runs of one migration in its cluster.

    Args:
        cluster: The cluster.
        migration: The migration.
        say: Told each line that a run writes.
        clock: Seconds on a clock that only goes forward.
        pause: Waits for some seconds.
    """

    def __init__(
        self,
        cluster: Cluster,
        migration: Migration,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._cluster, self._migration, self._say = cluster, migration, say
        self._clock, self._pause = clock, pause

    def running(self) -> str:
        """Return the name of a run to contract that has not ended; empty when there is none.

        Raises:
            ApiError: The cluster does not say.
        """
        query = {"labelSelector": f"{MADE_FOR}={CONTRACT}"}
        found = self._cluster.get(self._migration.path, query).get("items") or ()
        live = (str(it["metadata"]["name"]) for it in found if _end(it) is None)
        return next(live, "")

    def begin(self, purpose: str, head: str) -> str:
        """Begin a run; return its name.

        Args:
            purpose: `CONTRACT`, `PLAN` or `REHEARSE`.
            head: What its name has of the schema.

        Raises:
            ApiError: It may not be begun.
        """
        path, owner = self._migration.path, None
        try:
            owner = self._cluster.get(f"{path}/{self._migration.name}")
        except ApiError as error:
            if error.code != NOT_FOUND:
                raise
        made = self._cluster.create(path, self._migration.job(purpose, head, owner))
        return str(made["metadata"]["name"])

    def follow(self, name: str) -> Ended:
        """Wait for a run, and tell what it writes.

        Args:
            name: Its name.

        Raises:
            LostError: The cluster does not answer any more.
        """
        told, heard = 0, self._clock()
        while True:
            try:
                job = self._cluster.get(f"{self._migration.path}/{name}")
                pod = self._pod(name)
                log = "" if pod is None else self._log(pod)
            except ApiError as error:
                if not error.silence or self._clock() - heard > _SILENT_SECONDS:
                    raise LostError(str(error)) from error
                self._pause(_LOOK_SECONDS)
                continue
            heard = self._clock()
            lines = log.splitlines()
            end = _end(job)
            # The last line may be one that is being written.
            whole = lines if end is not None or log.endswith("\n") else lines[:-1]
            for line in whole[told:]:
                self._say(line)
            told = max(told, len(whole))
            if end is not None:
                return Ended(
                    name=name,
                    succeeded=end["type"] == "Complete",
                    log=log,
                    message=_message(pod),
                    why=_why(end, pod),
                )
            self._pause(_LOOK_SECONDS)

    def _pod(self, name: str) -> Object | None:
        place = f"/api/v1/namespaces/{self._migration.namespace}/pods"
        found = self._cluster.get(place, {"labelSelector": f"job-name={name}"}).get("items") or ()
        return max(found, key=lambda it: str(it["metadata"]["creationTimestamp"]), default=None)

    def _log(self, pod: Object) -> str:
        """What a pod wrote, that of its rehearsal first; empty before it could."""
        spec = pod["spec"]
        before = [it["name"] for it in spec.get("initContainers") or ()]
        names = [*(it for it in before if it == _REHEARSES), spec["containers"][0]["name"]]
        return "".join(self._log_of(pod["metadata"], it) for it in names)

    def _log_of(self, metadata: Mapping[str, Any], container: str) -> str:
        place = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
        try:
            return self._cluster.text(place, {"container": container, "tailLines": str(_LOG_LINES)})
        except ApiError as error:
            # A plan that was not heard is no plan; its end is looked at once more.
            if error.silence:
                raise
            return ""


def _end(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How a Job ended; None as long as it has not."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    ends = (it for it in conditions if it["type"] in ("Complete", "Failed"))
    return next((it for it in ends if it["status"] == "True"), None)


def _message(pod: Object | None) -> str:
    if pod is None:
        return ""
    for status, _ in container_statuses(pod):
        message = ((status.get("state") or {}).get("terminated") or {}).get("message")
        if message:
            return str(message)
    return ""


def _why(end: Mapping[str, Any], pod: Object | None) -> str:
    # Of one that ran its log says it.
    began = pod is None or (pod.get("status") or {}).get("phase") != "Pending"
    waits = "" if pod is None or began else holdup(pod)[1]
    return f"{end.get('message') or end.get('reason') or end['type']}{waits}"
