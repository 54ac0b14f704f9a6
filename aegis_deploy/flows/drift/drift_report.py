"""What differs between a stack's last good release and its clusters, and how that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from aegis_deploy.common import markdown as md
from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift import forgotten, live_objects
from aegis_deploy.drift.detection import by_engine, compare, is_elsewhere, is_object, named
from aegis_deploy.drift.forgotten import NOTHING_FORGOTTEN, Forgotten
from aegis_deploy.history import stack_history
from aegis_deploy.kubernetes import autoscalers
from aegis_deploy.kubernetes.client import ApiError, same_quantity
from aegis_deploy.model.workloads.rollout import within
from aegis_deploy.stack.checkpoint import outline

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Part
    from aegis_deploy.drift.detection import Drifted, FieldChange
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.release import Release
    from aegis_deploy.stack.checkpoint import Resource

_ISSUE, _TABLE = 65_000, 60_000
"""How many characters an issue may have, and the table in it: GitHub takes 65,536."""
UNREAD = "not compared, for it may not be read"
UNREACHED = "NOT compared, for its cluster could not be asked"
_SIGNS = {"changed": "~", "removed": "-", "added": "+"}


@dataclass(frozen=True)
class DriftReport:
    """What differs between a stack and its cluster.

    Attributes:
        stack: The stack's name.
        compared: How many objects were compared.
        objects: Those that are not as declared.
        fixed: Whether they were put back.
        unread: Those that could not be compared, since this account may not read them.
        forgotten: What the last whole release has and the state has no more.
        unreached: The clusters that could not be asked, and why, a line each.
    """

    stack: str
    compared: int
    objects: tuple[Drifted, ...] = ()
    fixed: bool = False
    unread: tuple[str, ...] = ()
    forgotten: Forgotten = NOTHING_FORGOTTEN
    unreached: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything is not as it was deployed."""
        return bool(self.objects or self.forgotten)

    @property
    def _head(self) -> str:
        if not self.objects:
            return f"the state lacks {len(self.forgotten.labels)} of what was deployed"
        return f"{len(self.objects)} of {self.compared} objects drifted"

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "stack": self.stack,
            "drift": self.found,
            "fixed": self.fixed,
            "compared": self.compared,
            "unread": list(self.unread),
            "objects": [item.as_json() for item in self.objects],
            "missingFromState": list(self.forgotten.labels),
            **({"unreached": list(self.unreached)} if self.unreached else {}),
        }

    def lines(self) -> list[str]:
        """Return it for people."""
        unread = [f"  {UNREACHED}: {it}" for it in self.unreached]
        unread += [f"  {UNREAD}: {it}" for it in self.unread]
        unread += [f"  {line}" for line in self.forgotten.lines]
        if self.forgotten:
            unread.append(f"  {self.forgotten.next(self.stack)}")
        if not self.found:
            said = "no drift in what could be compared" if self.unreached else "no drift"
            return [f"{self.stack}: {said}; {self.compared} objects are as declared", *unread]
        lines = [f"{self.stack}: {self._head}"]
        for item in self.objects:
            lines.append(f"  {item.label}" + _fate(item))
            lines += [f"    {_SIGNS[field.change]} {_field(field)}" for field in item.fields]
        return lines + unread

    def markdown(self) -> str:
        """Return it for an issue."""
        from aegis_deploy.common import markdown as md

        unread = [f"- {UNREACHED}: {md.text(it)}" for it in self.unreached]
        unread += [f"- {UNREAD}: {md.code(it)}" for it in self.unread]
        unread += [f"- **{md.text(line)}**" for line in self.forgotten.lines]
        if not self.found:
            said = "no drift in what could be compared" if self.unreached else "no drift"
            head = f"**{md.text(self.stack)}**: {said}; {self.compared} objects are as declared"
            return md.fitted(chain([head], unread), _ISSUE)
        head = f"**{md.text(self.stack)}**: {self._head}"
        found: list[tuple[str, FieldChange | None]] = []
        for item in self.objects:
            if item.gone or item.going:
                found.append((item.label + _fate(item), None))
            found += [(item.label, field) for field in item.fields]
        columns = ("object", "field", "declared", "live", "by")
        fix = f"Put it back: {md.code(f'aegis drift --fix --stack {self.stack}')}"
        table = md.short_table(columns, found, _row, _TABLE)
        return md.fitted(chain([head, fix, table], unread), _ISSUE)


def find_drift(flow: FlowContext, lost: Forgotten | None = None) -> DriftReport:
    """Compare what a stack's last good release declared with the cluster.

    Not its state: a refresh brings that in line with the cluster, drift and all.

    Args:
        flow: The stack.
        lost: What the state lacks, where somebody has looked already.

    Raises:
        AegisError: There is no such release, its checkpoint cannot be decrypted, or the cluster
            does not answer.
    """
    release = declared_by(flow)
    declared = flow.replay_planner.declared_in(release).resources
    wanted = [item for item in declared if is_object(item)]
    resources = flow.session.resources()
    elsewhere, unasked = _elsewhere(flow, resources)
    flow.clusters.see(resources)
    flow.clusters.learn(declared, anew=False)
    parts = flow.clusters.of_resources(wanted)
    if not parts:
        # It need not have a cluster.
        return DriftReport(flow.session.name, 0, elsewhere, unread=unasked)
    found = [_compared(flow.session.name, part) for part in parts]
    refused = [it for it in found if it.error is not None]
    if len(refused) == len(found):
        raise _unreadable(flow.session.name, refused)
    if lost is None:
        lost = forgotten.look(flow.session, stack_history.reading(flow.session))
    return DriftReport(
        flow.session.name,
        sum(it.compared for it in found),
        (*(thing for it in found for thing in it.objects), *elsewhere),
        unread=(*(label for it in found for label in it.unread), *unasked),
        forgotten=lost,
        unreached=tuple(it.told for it in refused),
    )


@dataclass(frozen=True)
class _Compared:
    """What was found in one cluster.

    Attributes:
        compared: How many objects were compared.
        objects: Those that are not as declared.
        unread: Those that may not be read.
        error: Why none of them could be compared; None when that was possible.
        told: It, with the provider that leads to the cluster.
    """

    compared: int = 0
    objects: tuple[Drifted, ...] = ()
    unread: tuple[str, ...] = ()
    error: AegisError | None = None
    told: str = ""


def _compared(stack: str, part: Part[Resource]) -> _Compared:
    """Compare what is declared with one of a stack's clusters."""
    try:
        cluster = part.connect()
        live = live_objects.read(cluster, part.items)
        scaled = autoscalers.read(cluster, (it.object for it in live.values()))
    except AegisError as error:
        return _Compared(error=error, told=part.told(error))
    except ApiError as error:
        refusal = AegisError(
            what=f"the objects of {stack} cannot be read",
            why=str(error),
            next="kubectl get --raw /readyz says whether the API server answers",
        )
        return _Compared(error=refusal, told=part.told(error))
    readable = [it for it in part.items if not live[it.urn].refused]
    if not readable:
        refusal = AegisError(
            what=f"this account may read no object of {stack}",
            why=live[part.items[0].urn].refused,
            next="give it the rights of docs/pipeline-reader.yaml",
        )
        return _Compared(error=refusal, told=part.told(refusal))
    found = (
        compare(item, there, same_quantity, scaled.of(there))
        for item in readable
        for there in [live[item.urn].object]
    )
    providers = {it.urn: it.provider_urn for it in readable}
    drifted = tuple(
        replace(
            item,
            path=live[item.urn].path,
            live=live[item.urn].object,
            cluster=part.name,
            provider=providers[item.urn],
        )
        for item in found
        if item is not None
    )
    unread = (f"{named(it).label}{within(part.name)}" for it in part.items if live[it.urn].refused)
    return _Compared(len(readable), drifted, tuple(unread))


def _unreadable(stack: str, refused: Sequence[_Compared]) -> AegisError:
    """Say why nothing of a stack could be compared."""
    first = refused[0].error
    if first is not None and len(refused) == 1:
        return first
    return AegisError(
        what=f"the objects of {stack} cannot be read",
        why="\n".join(it.told for it in refused),
        next="" if first is None else first.next,
    )


def _elsewhere(
    flow: FlowContext, resources: Sequence[Mapping[str, Any]]
) -> tuple[tuple[Drifted, ...], tuple[str, ...]]:
    """Have the engine compare what is no object of a cluster.

    Args:
        flow: The stack.
        resources: Its state's.

    Returns:
        What differs, and what could not be compared.
    """
    others = [it for it in map(outline, resources) if is_elsewhere(it)]
    if not others:
        return (), ()
    try:
        steps = flow.session.drift([it.urn for it in others])
    except AegisError as error:
        flow.out.warn(str(error))
        return (), tuple(it.label for it in others)
    return tuple(map(by_engine, steps)), ()


def declared_by(flow: FlowContext) -> Release:
    """Return the release that says what is to be there: the last one that succeeded.

    Raises:
        AegisError: There is none.
    """
    for release in stack_history.reading(flow.session):
        if release.deploys and release.succeeded:
            return release
    raise AegisError(
        what=f"{flow.session.name} has no succeeded release to compare with",
        why="nothing was deployed yet, or nothing successfully",
        next=f"aegis history --stack {flow.session.name}",
    )


def require_all(found: DriftReport) -> None:
    """See that all of a stack's clusters could be asked.

    Raises:
        AegisError: One could not be: what is in it is not known, nor could it be put back.
    """
    if found.unreached:
        raise AegisError(
            what=f"not all of {found.stack} could be compared with its clusters",
            why="\n".join(found.unreached),
            next="see that its API server answers and its credentials are valid; then: "
            f"aegis drift --stack {found.stack}",
        )


def _fate(item: Drifted) -> str:
    if item.going:
        return f": being deleted since {item.going}"
    return ": deleted" if item.gone else ""


def _row(found: tuple[str, FieldChange | None]) -> tuple[str, ...]:
    label, field = found
    if field is None:
        name, _, fate = label.rpartition(": ")
        return (md.code(name), "", "there", f"**{md.text(fate)}**", "")
    declared, live = (md.code(it) if it else "" for it in (field.declared, field.live))
    by = f"{md.text(field.by)} {md.text(field.at)}".strip()
    return (md.code(label), md.code(field.path), declared, live, by)


def _field(field: FieldChange) -> str:
    both = f": {field.declared} -> {field.live}" if field.declared or field.live else ""
    shown = {
        "changed": f"{field.path}{both}",
        "removed": f"{field.path}: {field.declared}",
        "added": f"{field.path}: {field.live}",
    }[field.change]
    by = f"   by {field.by}" + (f", {field.at}" if field.at else "") if field.by else ""
    return shown + by
