"""What restoring a release means, decided from two checkpoints before anything is done.

A replay registers every resource of the release again, with the recorded inputs and under the
recorded URNs, as a new update. Nothing is built, no old code runs. The plan is pure: it can be
shown, refused, and tested by tables; `program` carries it out.

What a checkpoint does not record is not restored: `deleteBeforeReplace` (a provider's own rule
still holds) and resource hooks, which belong to code.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from aegis_deploy.kubernetes.client import smaller_quantity
from aegis_deploy.model.signatures import SIGNATURE
from aegis_deploy.replay import adoption, ignored, ordering
from aegis_deploy.replay import choices as replay_choices
from aegis_deploy.replay import providers as replay_providers
from aegis_deploy.replay import secrets as replay_secrets
from aegis_deploy.replay.adoption import Adoption, kind_of
from aegis_deploy.replay.choices import Choices
from aegis_deploy.replay.edits import built_images, entering, reviving
from aegis_deploy.replay.edits.reviving import Revival
from aegis_deploy.replay.limits import charts, data_loss, one_way
from aegis_deploy.replay.limits import retained as replay_retained
from aegis_deploy.replay.limits.retained import Stay, left_to_the_cluster
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.ordering import First
from aegis_deploy.stack.checkpoint import STACK, Checkpoint, Resource

_HOOKS_OF_A_DELETION = ("BeforeDelete", "AfterDelete", "OnError")
_ASSETS = frozenset({"c44067f5952c0a294b673a41bacd8c17", "0def7320c3a5731c473e5ecbe6d01bc7"})


def plan(
    checkpoint: Checkpoint,
    current: Checkpoint,
    choices: Choices = replay_choices.NONE,
    *,
    adopting: Adoption = adoption.NONE,
) -> Replay:
    """Plan the restoring of a release.

    Args:
        checkpoint: What the release deployed.
        current: The stack's state now.
        choices: What a person chose.
        adopting: What was found in the cluster of what the state has no more.

    Raises:
        AegisError: A secret to be kept names no secret that would change.
    """
    present = current.alive
    recorded = [item for item in checkpoint.alive.values() if not item.options.get("viewOf")]
    defaults = {
        item.urn: item for item in (*present.values(), *recorded) if item.is_default_provider
    }
    wanted = [item for item in recorded if not item.is_default_provider and item.type != STACK]
    images = {item.urn for item in wanted if data_loss.builds_image(item)}
    known = {item.urn for item in wanted} | set(defaults)
    there = {urn for urn in images if urn in present and present[urn].provider_urn in known}
    # What was not changed since is left alone: nothing is read anew.
    there |= {
        item.urn
        for item in wanted
        if charts.not_recorded(item)
        and item.urn in present
        and present[item.urn].inputs == item.inputs
    }
    entered = entering.absent(checkpoint, current, built_images.is_image)
    # One that can be neither left nor entered could only be built anew, from another tree: nothing
    # needs it, for what runs the image names its digest.
    excluded = there | (images & set(entered))
    dropped = images - excluded
    targets = [
        built_images.as_recorded(present[item.urn], item)
        if item.urn in there
        else entered[item.urn]
        if item.urn in excluded
        else item
        for item in wanted
        if item.urn not in dropped
    ]
    connections = None
    if not choices.restore_providers:
        connections = replay_providers.connected(targets, present)
        targets = list(connections.targets)
    now_called = _renamed_since(targets, present)
    adopted = adopting.ours
    kept = replay_secrets.keep_secrets(
        targets,
        checkpoint.outputs,
        {**present, **adopted},
        now_called,
        choices.keep,
        is_kept=None if connections is None else connections.keeps,
    )
    registered = {item.urn for item in kept.resources}
    now_called = {old: new for old, new in now_called.items() if old in registered}
    known = registered | set(defaults) | {item.urn for item in recorded if item.type == STACK}
    now = {
        **adopted,
        **{
            item.urn: present[now_called.get(item.urn, item.urn)]
            for item in kept.resources
            if now_called.get(item.urn, item.urn) in present
        },
    }
    resources = tuple(
        ignored.restoring(_without(item, known), now.get(item.urn)) for item in kept.resources
    )
    gone = _gone(current, registered, set(now_called.values()))
    staying = replay_retained.staying(gone, allow_data_loss=choices.allow_data_loss)
    gone = [item for item in gone if item.urn not in staying.urns]
    again = {it.urn for it in reviving.find(resources, current)}
    spared = one_way.leaving(
        resources,
        {urn: item for urn, item in now.items() if urn not in again},
        smaller_quantity,
        allow_data_loss=choices.allow_data_loss,
    )
    resources, now = spared.resources, {**now, **spared.now}
    first = ordering.first(resources, gone, now, present)
    revivals, beside = _revivals(resources, current, first, choices)
    revived = {item.urn for item in revivals}
    was = {
        left.urn: left
        for left in current.resources
        for revival in revivals
        if left.delete and (left.urn, left.id) == (revival.urn, revival.id)
    }
    left = entering.absent(
        checkpoint,
        current,
        lambda it: it.urn in adopted or (entering.is_left(it) and it.urn not in (*now, *revived)),
        adopted,
    )
    retained = {urn for urn, item in left.items() if entering.is_left(item)}
    fresh = [item for item in resources if item.urn not in revived]
    known |= {item.urn for item in staying.asleep}
    asleep = [_without(item, known) for item in staying.asleep]
    left_alone = staying.urns - {item.urn for item in staying.stays if item.asleep}
    return Replay(
        resources=(*resources, *asleep),
        providers=defaults,
        outputs=kept.outputs,
        aliases={old: (new,) for old, new in now_called.items()},
        exclude=tuple(sorted({*excluded, *left_alone})),
        revivals=revivals,
        unmade=any(item.unmade for item in current.resources),
        entries=(
            *{**entered, **left}.values(),
            *(
                item
                for item in resources
                if item.urn in there and built_images.differs(present[item.urn], item)
            ),
        ),
        absent=frozenset(excluded - there) | retained | {*adopted},
        left=tuple(left[urn].label for urn in sorted(retained)),
        adopted=tuple(adopted[urn].label for urn in sorted({*adopted} - retained)),
        altered=tuple(
            item.label
            for item in resources
            if item.urn in adopted and adopted[item.urn].inputs != item.inputs
        ),
        foreign=adopting.foreign,
        swaps=(*kept.swaps, *(() if connections is None else connections.swaps)),
        connections=connections,
        encryption={} if checkpoint.encryption == current.encryption else checkpoint.encryption,
        deletes=tuple(item for item in gone if item.custom and not item.is_provider),
        first=first,
        edits=tuple(_edits(resources, now, {*excluded, *retained})),
        stays=(*staying.stays, *beside, *spared.stays),
        retained=spared.left,
        kept=staying.urns,
        going=frozenset(item.urn for item in gone),
        outputs_now=current.outputs,
        losses=tuple(data_loss.losses(fresh, gone, now)),
        reruns=tuple(data_loss.reruns(resources, {**now, **was})),
        secrets=tuple(it for it in kept.changes if it.urn not in staying.urns | spared.as_now),
        protected=tuple(item.urn for item in data_loss.locked(fresh, now)),
        missing=(
            *_files(resources),
            *(
                f"{item.label}: {why}"
                for item in resources
                for why in [charts.not_recorded(item)]
                if why and item.urn not in excluded
            ),
        ),
        hooks=_hooks(current),
        pending=current.pending,
    )


def _renamed_since(targets: Sequence[Resource], present: Mapping[str, Resource]) -> dict[str, str]:
    """The current URN of each target that has another one now.

    The engine does not record a renaming's alias once it is done; that it is the same object in
    the same place tells. Without it the replay would create what exists already.
    """
    urns = {item.urn for item in targets}
    others = {_object(item): item for item in present.values() if item.urn not in urns and item.id}
    found: dict[str, str] = {}
    for target in targets:
        if target.urn in present or target.external or target.is_provider:
            continue
        same = others.get(_object(target)) if target.custom and target.id else None
        if same is not None:
            found[target.urn] = same.urn
    for item in present.values():
        for alias in item.aliases if item.urn not in urns else ():
            if alias in urns and alias not in present:
                found.setdefault(alias, item.urn)
    return found


def _object(item: Resource) -> tuple[str, str, str]:
    """What a resource is outside the state, whatever its URN: provider, kind, id."""
    provider = item.provider_urn
    if provider.rpartition("::")[2].startswith("default"):
        provider = provider.rpartition("::")[0]
    return provider, kind_of(item.type), item.id


def _without(item: Resource, known: set[str]) -> Resource:
    """A resource without its dependencies on what is not registered."""
    options = dict(item.options)
    if options.get("propertyDependencies"):
        options["propertyDependencies"] = {
            key: [urn for urn in urns or () if urn in known]
            for key, urns in options["propertyDependencies"].items()
        }
    if options.get("replaceWith"):
        options["replaceWith"] = [urn for urn in options["replaceWith"] if urn in known]
    if options.get("deletedWith") and options["deletedWith"] not in known:
        del options["deletedWith"]
    return replace(
        item,
        dependencies=tuple(urn for urn in item.dependencies if urn in known),
        options=options,
    )


def _gone(current: Checkpoint, registered: set[str], renamed: set[str]) -> list[Resource]:
    return [
        item
        for item in current.alive.values()
        if item.urn not in registered
        and item.urn not in renamed
        and item.type != STACK
        and not item.is_default_provider
        and not item.external
        and not item.options.get("viewOf")
    ]


def _revivals(
    resources: Sequence[Resource], current: Checkpoint, first: First, choices: Choices
) -> tuple[tuple[Revival, ...], tuple[Stay, ...]]:
    """What is taken back, and what of that which replaced it stays, for it holds data."""
    revivals, stays = [], []
    for revival in reviving.find(resources, current):
        if revival.urn in first.urns:
            continue
        other = current.alive[revival.urn] if revival.instead_of else None
        left = other is not None and not choices.allow_data_loss and bool(data_loss.held(other))
        if other is not None and left and not other.retained:
            stays.append(left_to_the_cluster(other))
        revivals.append(replace(revival, left=left))
    return tuple(revivals), tuple(stays)


def _edits(
    resources: Sequence[Resource], now: Mapping[str, Resource], left: Collection[str]
) -> Iterator[str]:
    for item in resources:
        if not item.custom or item.is_provider or item.external or item.urn in left:
            continue
        if item.urn not in now:
            yield f"create {item.label}"
        elif now[item.urn].inputs != item.inputs:
            yield f"update {item.label}"


def _hooks(current: Checkpoint) -> tuple[str, ...]:
    """The hooks that the engine will ask for when it deletes what is there now."""
    names = {
        name
        for item in current.resources
        for kind in _HOOKS_OF_A_DELETION
        for name in (item.options.get("resourceHooks") or {}).get(kind) or ()
    }
    return tuple(sorted(names))


def _files(resources: Sequence[Resource]) -> list[str]:
    """What was made of files, whose content the checkpoint does not have."""
    return [
        f"{item.label}: its {key} is made of files, which may have changed since"
        for item in resources
        if item.custom and not data_loss.builds_image(item)
        for key, value in item.inputs.items()
        if _holds_file(value)
    ]


def _holds_file(value: Any) -> bool:  # noqa: ANN401 - any property value
    if isinstance(value, dict):
        if value.get(SIGNATURE) in _ASSETS:
            return ("text" not in value and "assets" not in value) or any(
                _holds_file(inner) for inner in (value.get("assets") or {}).values()
            )
        return any(_holds_file(inner) for inner in value.values())
    return any(_holds_file(inner) for inner in value) if isinstance(value, list) else False
