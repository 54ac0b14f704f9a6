"""What the present release has, the one to be restored has not, and yet is not deleted. Pure.

Deleting a volume claim, a namespace or a definition of a kind loses data; what is protected the
engine does not delete at all. None of it is a reason to leave a broken release serving: everything
else is restored, and this stays in the state as it is, with what it cannot be without. So the
program that declared it finds it again. What stays and runs pods is told to run none: its pods are
those of the release that goes, and the restored one's services could send them requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_deploy.model.signatures import SECRET, SIGNATURE, is_secret
from aegis_deploy.model.workloads.workload_kinds import is_scaled
from aegis_deploy.replay.limits import data_loss
from aegis_deploy.stack.checkpoint import Resource, plain
from aegis_deploy.stack.property_path import found, steps_of, within

_NAMESPACE = "kubernetes:core/v1:Namespace"
_DEFINITION = "CustomResourceDefinition"
_REPLICAS = ("spec", "replicas")
_RETENTION = "persistentVolumeClaimRetentionPolicy"
_IGNORED = "ignoreChanges"
_PROTECTED = "it is protected"


@dataclass(frozen=True)
class Stay:
    """Something that stays although the release to be restored does not have it.

    Attributes:
        resource: What a person calls it.
        urn: Its URN.
        why: Why it stays: what would be lost with it, or what needs it.
        protected: Whether it would stay also where a person lets data go.
        asleep: Whether its pods go.
        own: Whether the release has it, and it only is not as that has it.
        final: Whether it stays so whatever a person lets go.
    """

    resource: str
    urn: str
    why: str
    protected: bool = False
    asleep: bool = False
    own: bool = False
    final: bool = False

    @property
    def for_its_data(self) -> bool:
        """Whether it would go, or be as the release has it, where a person lets data go."""
        return not (self.protected or self.final)

    def __str__(self) -> str:
        """Say what stays and why."""
        return f"{self.resource}: {self.why}" + ("; it runs no pods" if self.asleep else "")


@dataclass(frozen=True)
class Staying:
    """All that stays.

    Attributes:
        stays: What a person is told of.
        urns: All of it, the providers and components that it needs too.
        asleep: What is registered without pods, each after what it needs.
    """

    stays: tuple[Stay, ...] = ()
    urns: frozenset[str] = frozenset()
    asleep: tuple[Resource, ...] = field(default=(), repr=False)


def left_to_the_cluster(item: Resource) -> Stay:
    """Word that what holds data is replaced in the state, and its object left to the cluster.

    Args:
        item: What is replaced.
    """
    why = f"{data_loss.held(item)}; in the cluster alone, no longer in the state"
    return Stay(item.label, item.urn, why)


def staying(gone: Sequence[Resource], *, allow_data_loss: bool = False) -> Staying:
    """Say what of that stays which the release to be restored does not have.

    Args:
        gone: What it does not have, in the order of the state.
        allow_data_loss: Whether what holds data may go.
    """
    there = {item.urn: item for item in gone}
    reasons: dict[str, str] = {}
    for item in gone:
        why = _why(item, allow_data_loss=allow_data_loss)
        if why:
            reasons[item.urn] = why
    waiting = list(reasons)
    while waiting:
        item = there[waiting.pop()]
        for urn in _needs(item, there):
            if urn not in reasons:
                reasons[urn] = f"{item.label} needs it"
                waiting.append(urn)
    kept = [item for item in gone if item.urn in reasons]
    return Staying(
        stays=tuple(
            Stay(item.label, item.urn, reasons[item.urn], item.protected, _runs(item))
            for item in kept
            if item.protected or (item.custom and not item.is_provider)
        ),
        urns=frozenset(reasons),
        asleep=tuple(_asleep(kept)),
    )


def _why(item: Resource, *, allow_data_loss: bool) -> str:
    data = data_loss.held(item)
    if item.protected:
        return f"{_PROTECTED} ({data})" if data else _PROTECTED
    if allow_data_loss or item.retained:
        return ""
    return data


def _needs(item: Resource, there: Mapping[str, Resource]) -> list[str]:
    """What of that which would go a resource that stays cannot be without."""
    named = [item.provider_urn, item.parent, str(item.options.get("deletedWith") or "")]
    # One that is bound to a volume needs no more than that, for its data.
    data = [urn for urn in item.dependencies if urn in there and data_loss.held(there[urn])]
    around = [urn for urn, other in there.items() if _surrounds(other, item)]
    return [urn for urn in (*named, *data, *around) if urn in there and urn != item.urn]


def _surrounds(other: Resource, item: Resource) -> bool:
    """Whether an object goes with another one: its namespace, or the definition of its kind."""
    if not item.custom or not item.type.startswith("kubernetes:"):
        return False
    if other.type == _NAMESPACE:
        name = other.object_name
        return bool(name) and found(item.inputs, ["metadata", "namespace"]) == name
    if other.type.rpartition(":")[2] == _DEFINITION:
        place, _, kind = item.type.partition(":")[2].rpartition(":")
        spec = [found(other.inputs, ["spec", *path]) for path in (["group"], ["names", "kind"])]
        return spec == [place.partition("/")[0], kind]
    return False


def _runs(item: Resource) -> bool:
    """Whether a resource runs pods, as many as it is told to."""
    return (
        is_scaled(item.type)
        and item.custom
        and not item.external
        and found(item.inputs, _REPLICAS) != 0
    )


def _asleep(kept: Sequence[Resource]) -> list[Resource]:
    """What is registered so that nothing that stays runs pods: it, and before it what it needs."""
    by_urn = {item.urn: item for item in kept}
    wanted: set[str] = set()
    waiting = [item.urn for item in kept if _runs(item)]
    while waiting:
        item = by_urn[waiting.pop()]
        wanted.add(item.urn)
        waiting += [
            urn for urn in (item.provider_urn, item.parent) if urn in by_urn and urn not in wanted
        ]
    return [_without_pods(item) if _runs(item) else item for item in kept if item.urn in wanted]


def _without_pods(item: Resource) -> Resource:
    spec = dict(plain(item.inputs.get("spec")) or {})
    spec["replicas"] = 0
    retention = plain(spec.get(_RETENTION))
    if isinstance(retention, dict) and retention.get("whenScaled"):
        # Else its volumes would go with its pods.
        spec[_RETENTION] = {**retention, "whenScaled": "Retain"}
    secret = is_secret(item.inputs.get("spec"))
    given: Any = {SIGNATURE: SECRET, "value": spec} if secret else spec
    ignored = [
        path
        for path in item.options.get(_IGNORED) or ()
        if not within(_REPLICAS, steps_of(path)) and not within(steps_of(path), _REPLICAS)
    ]
    return replace(
        item,
        inputs={**item.inputs, "spec": given},
        options={**item.options, _IGNORED: ignored},
    )
