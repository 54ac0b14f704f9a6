"""How a stack is just now: its release, its pods, what happened last, who works on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.drift.forgotten import NOTHING_FORGOTTEN, Forgotten
from aegis_deploy.drift.live_objects import held
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.informer import read_snapshot
from aegis_deploy.kubernetes.rollout_monitor import told_event
from aegis_deploy.model.database.dataset import short
from aegis_deploy.model.database.schema import misfit
from aegis_deploy.model.workloads.rollout import (
    Rollout,
    Snapshot,
    Workload,
    is_ready,
    left_as_they_are,
    restarts,
    rollout,
    version_of,
)

if TYPE_CHECKING:
    from aegis_deploy.drift.detection import Drifted
    from aegis_deploy.locking.lock_holders import Holder
    from aegis_deploy.model.database.schema import DatabaseSchema
    from aegis_deploy.model.release import Deployed, Release

EVENTS = 5


@dataclass(frozen=True, kw_only=True)
class Pod:
    """One pod.

    Attributes:
        name: Its name.
        version: The version its label names.
        image: The image of its first container.
        new: Whether it is of the newest release of its workload.
        ready: Whether it is ready.
        going: Whether it is about to end.
        restarts: How often its containers were started anew.
        state: What keeps it from being ready, in a word; else ``ready`` or ``ending``.
    """

    name: str
    version: str | None
    image: str
    new: bool
    ready: bool
    going: bool
    restarts: int
    state: str


@dataclass(frozen=True, kw_only=True)
class LiveWorkload:
    """One workload.

    Attributes:
        workload: Which one.
        there: Whether the cluster has it.
        rollout: How far its rollout is.
        pods: Its pods.
        events: The last warnings about them.
        left: Which pods its strategy leaves at a release before; empty for none.
    """

    workload: Workload
    there: bool
    rollout: Rollout
    pods: tuple[Pod, ...]
    events: tuple[str, ...]
    left: str = ""


@dataclass(frozen=True, kw_only=True)
class StackDrift:
    """How what is live differs from what was declared.

    Attributes:
        found: What differs, a line each.
        unknown: Why nobody knows; empty when it was looked at.
        unread: What could not be compared.
        unreached: The clusters that could not be asked, and why, a line each.
    """

    found: tuple[str, ...] = ()
    unknown: str = ""
    unread: tuple[str, ...] = ()
    unreached: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it for machines; ``drifted`` is null where nobody knows."""
        unknown = "; ".join(filter(None, (self.unknown, *self.unreached)))
        drifted = None if unknown and not self.found else bool(self.found)
        return {"drifted": drifted, "found": list(self.found), "unknown": unknown}

    def lines(self) -> list[str]:
        """Return it for people."""
        if self.unknown:
            return [f"drift     not looked for: {self.unknown}"]
        said = "YES: changed by something else than a deploy"
        if not self.found:
            said = "none: what was declared is live"
            if self.unreached:
                said = "none in what could be compared"
        unread = (f"not compared: {it}" for it in (*self.unreached, *self.unread))
        return [f"drift     {said}", *map(_indented, (*self.found, *unread))]


@dataclass(frozen=True, kw_only=True)
class Status:
    """A stack.

    Attributes:
        stack: Its name.
        release: The release that is current; None when nothing was deployed.
        deployed: What that release deployed, where it is known.
        live: What it runs, as the cluster has them.
        unreachable: Why a cluster could not be asked; empty when all could.
        holders: Who works on the stack, or died doing so.
        drift: How what is live differs from what was declared.
        forgotten: What the last whole release has and the state has no more.
        database: What its database is; None when nothing says it.
    """

    stack: str
    release: Release | None
    deployed: Deployed | None
    live: tuple[LiveWorkload, ...] = ()
    unreachable: str = ""
    holders: tuple[Holder, ...] = ()
    drift: StackDrift = StackDrift(unknown="nobody asked")
    forgotten: Forgotten = NOTHING_FORGOTTEN
    database: DatabaseSchema | None = None

    @property
    def healthy(self) -> bool:
        """Whether every rollout is complete and everything could be looked at."""
        return not self.unreachable and all(it.rollout.complete for it in self.live)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        release, deployed = self.release, self.deployed
        return {
            "stack": self.stack,
            "release": None
            if release is None
            else {
                "number": release.number,
                "result": release.result,
                "verified": release.verified,
                "message": release.message,
                "version": None if deployed is None else deployed.version,
                "imageDigest": None if deployed is None else deployed.image_digest,
                "dataset": (deployed.dataset or None) if deployed is not None else None,
            },
            "healthy": self.healthy,
            "workloads": [_live_json(live) for live in self.live],
            "unreachable": self.unreachable,
            "holders": [
                {"life": it.life.value, "who": it.who, "since": it.since, "message": it.message}
                for it in self.holders
            ],
            "drift": self.drift.as_json(),
            "missingFromState": list(self.forgotten.labels),
            "database": None if self.database is None else self.database.as_json(),
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        lines = [f"stack     {self.stack}", f"release   {self._release()}"]
        lines += [f"{it.life.value:<9} {it}" for it in self.holders]
        if self.unreachable:
            lines.append(f"cluster   not asked: {self.unreachable}")
        if self.forgotten:
            lines.append(f"state     LACKS {', '.join(self.forgotten.labels)}")
            lines.append(f"          {self.forgotten.next(self.stack)}")
        if self.deployed is not None and self.deployed.dataset:
            lines.append(f"data set  {short(self.deployed.dataset)}")
        lines += self._schema_lines()
        lines += self.drift.lines()
        for live in self.live:
            lines += _live_lines(live)
        return lines

    def _schema_lines(self) -> list[str]:
        if self.database is None:
            return []
        said = f"revision {self.database.revision}"
        if self.database.least_head:
            said += f", works with code of revision {self.database.least_head} or later"
        lines = [f"database  {said}"]
        why = misfit(None if self.deployed is None else self.deployed.schema, self.database)
        return [*lines, f"          THE RELEASE DOES NOT FIT: {why}"] if why else lines

    def _release(self) -> str:
        if self.release is None:
            return "none: nothing has been deployed"
        result = "" if self.release.succeeded else f", {self.release.result.upper()}"
        if self.release.emptied:
            return f"none: {self.release.number} is a destroy{result}"
        version = (self.deployed.version if self.deployed else None) or "version unknown"
        part = "" if self.release.whole else f"a {self.release.operation}, "
        mark = "verified" if self.release.verified else "NOT verified by a gate"
        if self.release.verified and self.forgotten:
            mark = "verified, but not all of it is in the state"
        return f"{self.release.number} ({version}), {part}{mark}{result}"


def look(cluster: Cluster, workloads: Sequence[Workload]) -> tuple[LiveWorkload, ...]:
    """Look at workloads in a cluster.

    Raises:
        ApiError: It does not answer, or refuses.
    """
    return tuple(_look(cluster, workload) for workload in workloads)


def drift_of(
    objects: Sequence[Drifted], unread: Sequence[str] = (), unreached: Sequence[str] = ()
) -> StackDrift:
    """Word what `aegis drift` found.

    Args:
        objects: What is not as it was declared.
        unread: What could not be compared.
        unreached: The clusters that could not be asked, and why.
    """
    found = tuple(map(_drifted, objects))
    return StackDrift(found=found, unread=tuple(unread), unreached=tuple(unreached))


def pods_of(snapshot: Snapshot) -> tuple[Pod, ...]:
    """Describe a workload's pods: the newest release's first."""
    pods = []
    for pod in snapshot.pods:
        going = pod["metadata"].get("deletionTimestamp") is not None
        containers = (pod.get("spec") or {}).get("containers") or [{}]
        pods.append(
            Pod(
                name=pod["metadata"]["name"],
                version=version_of(pod),
                image=str(containers[0].get("image", "")),
                new=snapshot.is_new(pod),
                ready=is_ready(pod) and not going,
                going=going,
                restarts=restarts(pod),
                state="ending" if going else _state(pod),
            )
        )
    return tuple(sorted(pods, key=lambda pod: (not pod.new, pod.going, pod.name)))


def _drifted(item: Drifted) -> str:
    if item.going and item.live is not None:
        return f"{item.label} {held(item.live, item.going)}"
    if item.gone:
        return f"{item.plain_label} is gone"
    paths = ", ".join(field.path for field in item.fields)
    return f"{item.plain_label} is not as it was declared" + (f": {paths}" if paths else "")


def _indented(line: str) -> str:
    return f"    {line}"


def _look(cluster: Cluster, workload: Workload) -> LiveWorkload:
    snapshot = read_snapshot(cluster, workload)
    try:
        events = cluster.events(workload.namespace)
    except ApiError:
        events = []
    # Of what is there now: what was said of pods that are gone is the past.
    names = {thing["metadata"]["name"] for thing in (*snapshot.pods, *snapshot.revisions)}
    warnings = dict.fromkeys(
        f"{event['involvedObject']['name']}: {told_event(event)}"
        for event in events
        if event.get("type") == "Warning"
        and event["involvedObject"].get("name") in {workload.name, *names}
    )
    return LiveWorkload(
        workload=workload,
        there=snapshot.live is not None,
        rollout=rollout(snapshot),
        pods=pods_of(snapshot),
        events=tuple(warnings)[-EVENTS:],
        left=left_as_they_are(snapshot),
    )


def _state(pod: Mapping[str, Any]) -> str:
    status = pod.get("status") or {}
    if is_ready(pod):
        return "ready"
    every = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    for container in every:
        state = container.get("state") or {}
        for kind in ("waiting", "terminated"):
            reason = (state.get(kind) or {}).get("reason")
            if reason and reason != "Completed":
                return str(reason)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason"))
    return "not ready"


def _live_json(live: LiveWorkload) -> dict[str, Any]:
    return {
        "kind": live.workload.kind,
        "namespace": live.workload.namespace,
        "name": live.workload.name,
        **({"provider": live.workload.cluster} if live.workload.cluster else {}),
        "there": live.there,
        "wanted": live.rollout.wanted,
        "new": live.rollout.new,
        "ready": live.rollout.ready,
        "old": live.rollout.old,
        "complete": live.rollout.complete,
        "pods": [vars(pod) for pod in live.pods],
        "events": list(live.events),
        "left": live.left,
    }


def _live_lines(live: LiveWorkload) -> list[str]:
    if not live.there:
        return [f"{live.workload}: NOT in the cluster"]
    it = live.rollout
    done = "complete" if it.complete else "in progress, or stuck"
    lines = [
        f"{live.workload}: rollout {done}; {it.ready} of {it.wanted} new pods ready, {it.old} old"
    ]
    if live.left:
        lines.append(f"  {live.left}")
    for pod in live.pods:
        age = "new" if pod.new else "old"
        again = "" if not pod.restarts else f", {pod.restarts} restarts"
        lines.append(f"  {age}  {pod.version or '-'}  {pod.name}  {pod.state}{again}")
    if live.events:
        lines += ["  last warnings:", *(f"    {event}" for event in live.events)]
    return lines
