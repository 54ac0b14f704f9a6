"""What of a release is left to the control loops that own it now, such as an autoscaler's replicas.

A rollback takes over what somebody set by hand. What a control loop decides on is nobody's hand:
registered with the recorded value, four pods that an autoscaler wants would be cut to the two of
the record. Such a field is registered as ignored (``ignoreChanges``), for then the provider does
not send it; in an item of a list, where providers do not find ignored fields, with the value that
is live. The engine then records for it what it found. So the state is told afterwards what the
release declared, as it was after its own deploy: the next update of its program finds nothing to
do.

An autoscaler that goes with the rollback decides no more: the number of pods is the release's
again.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.drift import live_objects
from aegis_deploy.drift.detection import is_object
from aegis_deploy.history.rollback_target import numbered
from aegis_deploy.kubernetes import autoscalers
from aegis_deploy.kubernetes.managed_fields import REPLICAS, Owners, Path, put_at, value_at
from aegis_deploy.replay.dying import in_the_way
from aegis_deploy.replay.model import Owned, Replay
from aegis_deploy.stack.checkpoint import Checkpoint, Resource, plain
from aegis_deploy.stack.property_path import steps_of

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.kubernetes.autoscalers import Autoscalers
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.model.release import Release

_OPTION = "ignoreChanges"
_NEEDS_QUOTES = re.compile(r'[."\[\]]')
_PROVIDER = "pulumi-kubernetes"
"""As whom the provider itself writes what it has not applied yet; it takes that over."""


def looked_at(replay: Replay, current: Checkpoint, clusters: Clusters) -> Replay:
    """Look at who owns what a replay would restore, and at what of it is being deleted.

    Args:
        replay: The replay.
        current: The stack's state now.
        clusters: The stack's; none is connected to where there is nothing to look at.

    Returns:
        The replay, which leaves to control loops what is theirs, and waits for what is going.

    Raises:
        ApiError: A cluster does not answer.
        AegisError: There is no way to one.
    """
    wanted = [it for it in replay.resources if is_object(it)]
    for part in clusters.of_resources(wanted):
        cluster = part.connect()
        live = {urn: it.object for urn, it in live_objects.read(cluster, part.items).items()}
        gone = [
            it
            for it in replay.deletes
            if is_object(it) and clusters.place(it.provider_urn) == part.name
        ]
        scaled = autoscalers.read(cluster, live.values())
        dying = in_the_way(replay, current, live)
        replay = leaving(replay, current, live, scaled, gone)
        replay = replace(replay, dying=(*replay.dying, *dying))
    return replay


def leaving(
    replay: Replay,
    current: Checkpoint,
    live: Mapping[str, Mapping[str, Any] | None],
    scaled: Autoscalers,
    gone: Sequence[Resource] | None = None,
) -> Replay:
    """Leave to control loops what is theirs. Pure.

    Args:
        replay: The replay.
        current: The stack's state now.
        live: The live objects of one cluster, by URN.
        scaled: The autoscalers there are in it.
        gone: What of it the replay deletes; None means all that it deletes.
    """
    kept = scaled.without(
        (kind, namespace, name)
        for it in (replay.deletes if gone is None else gone)
        if is_object(it)
        for _, kind, namespace, name in [live_objects.identity(it)]
    )
    present = current.alive
    resources, owned, freed = [], [], []
    for item in replay.resources:
        there = live.get(item.urn)
        if there is None:
            resources.append(item)
            continue
        now = present.get(replay.present_urn(item.urn))
        scaling = kept.of(there)
        ends = bool(scaled.of(there).replicas) and not scaling.replicas
        owners = Owners(there, replace(scaling, ends=ends))
        theirs = [Owned(item, path, owners.loop(path)) for path in _theirs(owners, item, now)]
        owned += theirs
        resources.append(_left(item, [it.path for it in theirs], there))
        if ends:
            freed.append(item)
    return replace(
        replay,
        resources=tuple(resources),
        owned=(*replay.owned, *owned),
        freed=(*replay.freed, *freed),
    )


def declared(
    state: Checkpoint,
    release: Release,
    releases: Sequence[Release],
    load: Callable[[Release], Checkpoint],
) -> Checkpoint:
    """Return what a release declared; a rollback declared what the release did that it restored.

    Its own record has, where a control loop decided, what the engine found there.

    Args:
        state: What the release's record has.
        release: The release.
        releases: All of the stack's.
        load: Loads the record of another one.

    Raises:
        AegisError: That cannot be loaded.
    """
    origin: Release | None = release
    while origin is not None and origin.restores is not None:
        origin = numbered(releases, origin.restores)
    ignores = any(it.options.get(_OPTION) for it in state.alive.values())
    if origin is None or origin is release or not ignores:
        return state
    return recalled(state, load(origin))


def recalled(state: Checkpoint, origin: Checkpoint) -> Checkpoint:
    """What a rollback's record would be, had nothing been left to control loops. Pure.

    Args:
        state: Its record.
        origin: The record of the release that it restored.
    """
    first = origin.alive
    return replace(
        state, resources=tuple(_recalled(it, first.get(it.urn)) for it in state.resources)
    )


def _recalled(item: Resource, first: Resource | None) -> Resource:
    if first is None or not item.alive:
        return item
    ignored = list(first.options.get(_OPTION) or ())
    left = [it for it in item.options.get(_OPTION) or () if it not in ignored]
    if not left:
        return item
    inputs = copy.deepcopy(dict(item.inputs))
    for path in map(steps_of, left):
        put_at(inputs, path, value_at(first.inputs, path))
    return replace(item, inputs=inputs, options={**item.options, _OPTION: ignored})


def as_declared(state: Mapping[str, Any], replay: Replay) -> dict[str, Any] | None:
    """The state after a replay, with what the release declared where control loops decide. Pure.

    Returns:
        A copy; None where it says so already.
    """
    changed = copy.deepcopy(dict(state))
    raw = {
        it["urn"]: it for it in changed["deployment"].get("resources") or () if not it.get("delete")
    }
    for it in replay.owned:
        item = raw.get(it.resource.urn)
        if item is None:
            continue
        outputs = item.get("outputs") or {}
        declared = value_at(it.resource.inputs, it.path)
        for tree in (item.get("inputs"), outputs.get("__inputs"), outputs):
            if declared is not None or tree is not outputs:
                put_at(tree, it.path, declared)
        ignored = it.resource.options.get(_OPTION)
        item.pop(_OPTION, None)
        if ignored:
            item[_OPTION] = list(ignored)
    return None if changed == state else changed


def give_back(replay: Replay, at: Callable[[str], Cluster]) -> list[str]:
    """Set the numbers of pods that an autoscaler which is gone now left behind.

    It was there until the release stood, and may have set them once more meanwhile.

    Args:
        replay: The replay.
        at: Returns the cluster that a provider leads to, by its URN.

    Returns:
        What was set, a line each.

    Raises:
        ApiError: It may not be changed, or the cluster does not answer.
    """
    wanted = [it for it in replay.freed if value_at(it.inputs, REPLICAS) is not None]
    done = []
    for item in wanted:
        cluster = at(item.provider_urn)
        live = live_objects.read(cluster, [item])[item.urn]
        number = int(plain(value_at(item.inputs, REPLICAS)))
        if live.path and live.object and value_at(live.object, REPLICAS) != number:
            change = {"spec": {"replicas": number}}
            cluster.merge(live.path, change, manager=_PROVIDER)
            done.append(f"{item.label} has {number} pods again: its autoscaler is gone")
    return done


def _theirs(owners: Owners, item: Resource, now: Resource | None) -> list[Path]:
    """What a release declares and a control loop decides on."""
    written_by_others = {path for it in owners.managers if not it.is_pulumi for path in it.fields}
    found = {
        path
        for path in {REPLICAS, *written_by_others}
        if value_at(item.inputs, path) is not None and owners.loop(path)
    }
    # Where only the present release declares it, leaving it out would have the server set it to 1.
    if now is not None and value_at(now.inputs, REPLICAS) is not None and owners.loop(REPLICAS):
        found.add(REPLICAS)
    return sorted(found)


def _left(item: Resource, paths: list[Path], live: Mapping[str, Any]) -> Resource:
    if not paths:
        return item
    inputs = copy.deepcopy(dict(item.inputs))
    ignored = list(item.options.get(_OPTION) or ())
    for path in paths:
        if any(part.startswith("[") for part in path):
            put_at(inputs, path, value_at(live, path))
        elif (ignoring := _property(path)) not in ignored:
            ignored.append(ignoring)
    return replace(item, inputs=inputs, options={**item.options, _OPTION: ignored})


def _property(path: Path) -> str:
    """A path as Pulumi's options have it."""
    return "".join(_steps(path)).removeprefix(".")


def _steps(path: Path) -> Iterator[str]:
    for part in path:
        quoted = part.replace('"', '\\"')
        yield f'["{quoted}"]' if _NEEDS_QUOTES.search(part) else f".{part}"
