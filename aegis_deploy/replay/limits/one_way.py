"""What of its own a release cannot be given back, as others hold data or the cluster refuses. Pure.

A claim that was replaced since holds what was written meanwhile; a volume never shrinks; a version
of a kind in which objects are stored cannot be taken from it
(https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/).
None of it is a reason to leave a broken release serving: everything else is restored, and that
stays as it is now. What has another name now is made again, and the other one left to the cluster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_deploy.model.signatures import SECRET, SIGNATURE, is_secret
from aegis_deploy.model.workloads.workload_kinds import gated, is_job, is_ungated
from aegis_deploy.replay.limits import data_loss
from aegis_deploy.replay.limits.retained import Stay, left_to_the_cluster
from aegis_deploy.stack.checkpoint import RETAINED, Resource, plain
from aegis_deploy.stack.property_path import found

_CLAIM = "kubernetes:core/v1:PersistentVolumeClaim"
_DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
_REQUESTED = ("spec", "resources", "requests", "storage")
_REPLACING = ("replaceOnChanges", "replacementTrigger")


@dataclass(frozen=True)
class OneWay:
    """What is registered, and what of it is not as the release has it.

    Attributes:
        resources: What is registered.
        now: What each of them is at present, with what becomes of that where it is replaced.
        stays: What a person is told of.
        as_now: The URNs of what is registered as it is now.
        left: The URNs of what is replaced, and stays in the cluster then.
    """

    resources: tuple[Resource, ...] = field(repr=False)
    now: Mapping[str, Resource] = field(repr=False)
    stays: tuple[Stay, ...] = ()
    as_now: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()


def leaving(
    targets: Sequence[Resource],
    now: Mapping[str, Resource],
    smaller: Callable[[str, str], bool],
    *,
    allow_data_loss: bool = False,
) -> OneWay:
    """Leave as it is now what cannot be as the release has it.

    Args:
        targets: What is to be registered, without what is taken back.
        now: What each target is at present, by the target's URN.
        smaller: Whether one quantity is less than another.
        allow_data_loss: Whether what holds data may be replaced.
    """
    resources: list[Resource] = []
    stays: list[Stay] = []
    present = dict(now)
    as_now, left = set(), set()
    for target in targets:
        current = now.get(target.urn)
        kept = target
        if current is not None and not (target.is_provider or target.external):
            why = data_loss.replaced(target, current)
            spared = bool(why) and _spared(current, allow_data_loss=allow_data_loss)
            if spared and not data_loss.same_object(target, current):
                if not current.protected:
                    stays.append(left_to_the_cluster(current))
                    left.add(current.urn)
                    options = {**current.options, RETAINED: True}
                    present[target.urn] = replace(current, options=options)
            elif spared:
                kept = _as_now(target, current)
                as_now.add(target.urn)
                stays.append(_changed(current, why))
            elif not why:
                kept, reasons = _not_undone(target, current, smaller)
                stays += [_for_good(current, reason) for reason in reasons]
        resources.append(kept)
    return OneWay(tuple(resources), present, tuple(stays), frozenset(as_now), frozenset(left))


def _spared(current: Resource, *, allow_data_loss: bool) -> bool:
    """Whether what there is now is not to be deleted for a replacement.

    What runs pods has to be the release's own.
    """
    runs = gated(current.type) or is_job(current.type) or is_ungated(current.type, current.inputs)
    if runs or not current.type.startswith("kubernetes:") or current.retained:
        return False
    return current.protected or (not allow_data_loss and bool(data_loss.held(current)))


def _changed(current: Resource, why: str) -> Stay:
    data = data_loss.held(current)
    cause = "; ".join(filter(None, ("it is protected" if current.protected else "", data)))
    return Stay(
        current.label,
        current.urn,
        f"as it is now, for it would have to be replaced ({why}): {cause}",
        current.protected,
        own=True,
    )


def _for_good(current: Resource, why: str) -> Stay:
    return Stay(current.label, current.urn, why, own=True, final=True)


def _as_now(target: Resource, current: Resource) -> Resource:
    options = {key: value for key, value in target.options.items() if key not in _REPLACING}
    options.update({key: current.options[key] for key in _REPLACING if key in current.options})
    return replace(target, inputs=current.inputs, options=options)


def _not_undone(
    target: Resource, current: Resource, smaller: Callable[[str, str], bool]
) -> tuple[Resource, list[str]]:
    if target.type == _CLAIM:
        size, grown = (str(found(it.inputs, _REQUESTED) or "") for it in (target, current))
        if size and grown and smaller(size, grown):
            why = f"{grown} as it is now: a volume does not shrink to {size}"
            return _with(target, _REQUESTED, grown), [why]
    if target.type == _DEFINITION:
        stored = list(_stored(target, current))
        if stored:
            versions = [*(found(target.inputs, ["spec", "versions"]) or ()), *stored]
            names = ", ".join(str(it["name"]) for it in stored)
            why = f"keeps version {names}: objects may be stored in it"
            return _with(target, ("spec", "versions"), versions), [why]
    return target, []


def _stored(target: Resource, current: Resource) -> Iterable[dict[str, Any]]:
    """The versions that objects may be stored in, and that the release does not have."""
    before, after = (
        [_open(it) for it in found(item.inputs, ["spec", "versions"]) or ()]
        for item in (target, current)
    )
    status = set(found(current.outputs, ["status", "storedVersions"]) or ())
    known = {it.get("name") for it in before}
    for version in after:
        if version.get("name") in known:
            continue
        if version.get("storage") or version.get("name") in status:
            yield {**version, "storage": False}


def _with(item: Resource, path: Sequence[str], value: Any) -> Resource:  # noqa: ANN401 - any property
    """A resource with another value at a path of maps."""

    def put(there: Any, steps: Sequence[str]) -> Any:  # noqa: ANN401 - any property
        if not steps:
            return value
        inner = dict(plain(there) or {})
        changed = {**inner, steps[0]: put(inner.get(steps[0]), steps[1:])}
        return {SIGNATURE: SECRET, "value": changed} if is_secret(there) else changed

    return replace(item, inputs=put(item.inputs, path))


def _open(value: Any) -> dict[str, Any]:  # noqa: ANN401 - any property value
    return dict(plain(value) or {})
