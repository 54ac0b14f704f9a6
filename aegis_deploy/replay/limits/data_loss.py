"""What a replay would destroy, run again, or cannot touch: by the kinds of the resources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.signatures import opened
from aegis_deploy.model.workloads import workload_kinds
from aegis_deploy.replay import object_kinds
from aegis_deploy.stack.checkpoint import Resource, plain
from aegis_deploy.stack.property_path import found, steps_of

_HOLDS_DATA = {
    "Namespace": "everything in the namespace, volumes included",
    "PersistentVolumeClaim": "the volume's data",
    "PersistentVolume": "the volume's data",
    "CustomResourceDefinition": "every object of this kind, in every namespace",
    "VolumeSnapshot": "the snapshot",
    "VolumeSnapshotContent": "the snapshot",
}
_FIXED_OF_A_SET = ("podManagementPolicy", "selector", "serviceName", "volumeClaimTemplates")
_BUILDS_IMAGES = frozenset(
    {
        "docker:index/image:Image",
        "docker:image:Image",
        "docker:index/registryImage:RegistryImage",
        "docker-build:index:Image",
        "docker-build:index:Index",
    }
)
_DELETES_FROM_REGISTRY = "docker:index/registryImage:RegistryImage"


@dataclass(frozen=True)
class Loss:
    """Data that the replay would destroy.

    Attributes:
        resource: What a person calls the resource that holds it.
        urn: Its URN.
        what: What is lost with it.
        why: Why the replay deletes it.
    """

    resource: str
    urn: str
    what: str
    why: str


@dataclass(frozen=True)
class Rerun:
    """Work that the replay would do again.

    Attributes:
        resource: What a person calls the Job or Pod.
        urn: Its URN.
        why: Why it runs again.
        certain: False when that depends on whether the object is still in the cluster.
    """

    resource: str
    urn: str
    why: str
    certain: bool = True


def builds_image(item: Resource) -> bool:
    """Whether registering it could build or push an image from what is in the checkout now."""
    return item.type in _BUILDS_IMAGES


def locked(targets: Sequence[Resource], now: Mapping[str, Resource]) -> list[Resource]:
    """Find what is protected and would be replaced: the engine refuses that.

    Args:
        targets: What is registered, without what is taken back.
        now: What each target is at present, by the target's URN.
    """
    return [
        current
        for target in targets
        for current in [now.get(target.urn)]
        if current is not None and current.protected and replaced(target, current)
    ]


def losses(
    targets: Sequence[Resource], gone: Sequence[Resource], now: Mapping[str, Resource]
) -> list[Loss]:
    """Find the data that goes with what the replay deletes or replaces.

    Args:
        targets: What is registered.
        gone: What is deleted.
        now: What each target is at present, by the target's URN.
    """
    found = [
        Loss(item.label, item.urn, what, "the release does not have it")
        for item in gone
        for what in [held(item)]
        if what and not item.retained
    ]
    for target in targets:
        current = now.get(target.urn)
        if current is None or not held(current) or current.retained:
            continue
        reason = replaced(target, current)
        if reason:
            found.append(Loss(current.label, current.urn, held(current), reason))
    return found


def reruns(targets: Sequence[Resource], now: Mapping[str, Resource]) -> list[Rerun]:
    """Find the Jobs and bare Pods that the replay starts again."""
    found = []
    for target in targets:
        if not workload_kinds.runs_to_its_end(target.type) or target.external:
            continue
        current = now.get(target.urn)
        spec = opened(target.inputs.get("spec")) or {}
        before = opened(current.inputs.get("spec")) or {} if current is not None else {}
        if current is None:
            found.append(Rerun(target.label, target.urn, "it is not there any more"))
        elif _identity(target) != _identity(current):
            found.append(Rerun(target.label, target.urn, f"it is {current.label} now"))
        elif any(before.get(key) != spec.get(key) for key in _replacing(target, spec, before)):
            found.append(Rerun(target.label, target.urn, "what it runs is another now"))
        elif spec.get("ttlSecondsAfterFinished") is not None:
            why = "the cluster removes it once it has finished"
            found.append(Rerun(target.label, target.urn, why, certain=False))
    return found


def _replacing(target: Resource, *specs: Mapping[str, Any]) -> set[str]:
    """The parts of a Job's or a Pod's specification that cannot be changed in place."""
    if target.type.endswith(":Job"):
        return {"completions", "parallelism", "selector", "template"}
    return {key for spec in specs for key in spec}


def held(item: Resource) -> str:
    """Say what data a resource holds, which goes when it is deleted; empty when it holds none."""
    if item.type == _DELETES_FROM_REGISTRY:
        kept = plain(item.inputs.get("keepRemotely"))
        return "" if kept else "the image in the registry"
    if not item.type.startswith("kubernetes:"):
        return ""
    if workload_kinds.gated(item.type) == workload_kinds.STATEFUL_SET:
        kept = found(item.inputs, steps_of("spec.persistentVolumeClaimRetentionPolicy.whenDeleted"))
        return "the data of its volumes, which go with it" if kept == "Delete" else ""
    kinds = object_kinds.kinds(item)
    return ", ".join(sorted({_HOLDS_DATA[kind] for kind in kinds if kind in _HOLDS_DATA}))


def replaced(target: Resource, current: Resource) -> str:
    """Say why the replay replaces a resource, as far as the records tell; empty when it does not.

    Args:
        target: What is registered.
        current: What it is at present.
    """
    if not same_object(target, current):
        return f"the release calls it {_identity(target)[1]}"
    if target.type.endswith(":PersistentVolumeClaim"):
        old, new = _spec(current), _spec(target)
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        if changed:
            return f"its {', '.join(changed)} cannot be changed in place"
    if workload_kinds.gated(target.type) == workload_kinds.STATEFUL_SET:
        changed = [key for key in _FIXED_OF_A_SET if _differs(target, current, f"spec.{key}")]
        if changed:
            return f"its {', '.join(changed)} cannot be changed in place"
    return _replaced_as_asked(target, current)


def same_object(target: Resource, current: Resource) -> bool:
    """Say whether both are called the same in the cluster.

    Args:
        target: What is registered.
        current: What it is at present.
    """
    return _identity(target) == _identity(current)


def _replaced_as_asked(target: Resource, current: Resource) -> str:
    """Why the release's options have it replaced; empty when they do not."""
    triggers = [opened(item.options.get("replacementTrigger")) for item in (target, current)]
    if None not in triggers and triggers[0] != triggers[1]:
        return "its replacement trigger is another"
    for path in target.options.get("replaceOnChanges") or ():
        if _differs(target, current, path):
            return f"the release has it replaced when its {path} changes"
    return ""


def _differs(target: Resource, current: Resource, path: str) -> bool:
    steps = steps_of(path)
    return bool(opened(found(target.inputs, steps)) != opened(found(current.inputs, steps)))


def _spec(item: Resource) -> dict[str, Any]:
    """What of a claim cannot be changed in place."""
    spec = opened(item.inputs.get("spec")) or {}
    return {key: value for key, value in spec.items() if key != "resources"}


def _identity(item: Resource) -> tuple[str, str]:
    metadata = opened(item.inputs.get("metadata")) or {}
    return str(metadata.get("namespace") or ""), str(metadata.get("name") or item.name)
