"""What goes, or comes back, before the rest of a replay: what can block the way. Pure.

An admission webhook that nobody answers, a quota, a policy that the broken release brought along
holds its own removal up: whatever the replay changes goes through it, and the engine deletes last.
The release that wanted it is going, so it goes first, in an update of its own. What both releases
have, in different words, is registered before all that it does not itself need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aegis_deploy.replay.limits import data_loss
from aegis_deploy.replay.object_kinds import kinds
from aegis_deploy.stack.checkpoint import Resource
from aegis_deploy.stack.property_path import found

_ADMISSION = frozenset(
    {
        "APIService",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        # Of policy engines: Kyverno's; Gatekeeper's have kinds of their own, in a group.
        "ClusterPolicy",
        "ImageValidatingPolicy",
        "MutatingPolicy",
        "ValidatingPolicy",
    }
)
"""Through these every request goes, those that take away the others too."""
_LIMITS = frozenset(
    {
        "ClusterResourceQuota",
        "FlowSchema",
        "LimitRange",
        "PodDisruptionBudget",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceQuota",
        # Who may talk to whom, by whichever network.
        "AdminNetworkPolicy",
        "AuthorizationPolicy",
        "BaselineAdminNetworkPolicy",
        "CiliumClusterwideNetworkPolicy",
        "CiliumNetworkPolicy",
        "ClusterNetworkPolicy",
        "GlobalNetworkPolicy",
        "NetworkPolicy",
    }
)
_CONSTRAINTS = "kubernetes:constraints.gatekeeper.sh/"
_PATCH = "Patch"
"""How the provider calls the kind of a resource that changes an object of somebody else's."""


@dataclass(frozen=True)
class First:
    """What comes before the rest.

    Attributes:
        goes: What is deleted first: several sets, one after the other.
        leads: The URNs of what is registered before the rest.
        ahead: These, and what they need themselves: none of it waits for them.
    """

    goes: tuple[tuple[Resource, ...], ...] = field(default=(), repr=False)
    leads: tuple[str, ...] = ()
    ahead: frozenset[str] = frozenset()

    @property
    def urns(self) -> frozenset[str]:
        """The URNs of what is deleted first."""
        return frozenset(item.urn for several in self.goes for item in several)


def first(
    targets: Sequence[Resource],
    gone: Sequence[Resource],
    now: Mapping[str, Resource],
    present: Mapping[str, Resource],
) -> First:
    """Say what goes, and what comes back, before the rest.

    Args:
        targets: What is registered.
        gone: What is deleted.
        now: What each target is at present, by the target's URN.
        present: All that there is at present, by URN.
    """
    # The engine makes another object first, and deletes the one that there is now last.
    others = [
        now[item.urn]
        for item in targets
        if item.urn in now and blocks(item) and item.id and now[item.urn].id != item.id
    ]
    going = {item.urn for item in (*gone, *others)}
    goes = [
        item
        for item in (*gone, *others)
        if _may_go(item)
        and going >= _below(item.urn, present.values())
        and not any(_serves(item, other) for other in present.values())
    ]
    every = {it for item in goes for it in (item.urn, *_below(item.urn, present.values()))}
    admission = {item.urn for item in goes if _is_admission(item)}
    admission |= {it for urn in admission for it in _below(urn, present.values())}
    sets = (
        tuple(item for item in present.values() if item.urn in every & admission),
        tuple(item for item in present.values() if item.urn in every - admission),
    )
    leads = tuple(
        item.urn
        for item in targets
        if blocks(item)
        and item.urn in now
        and now[item.urn].urn not in every
        and now[item.urn].inputs != item.inputs
    )
    return First(tuple(filter(None, sets)), leads, _ahead(leads, targets))


def blocks(item: Resource) -> bool:
    """Whether what a resource stands for can hold up changes of others.

    Args:
        item: The resource.
    """
    if not item.custom or item.external:
        return False
    return _is_admission(item) or not _LIMITS.isdisjoint(_named(item))


def _is_admission(item: Resource) -> bool:
    return item.type.startswith(_CONSTRAINTS) or not _ADMISSION.isdisjoint(_named(item))


def _named(item: Resource) -> Iterable[str]:
    return (kind.removesuffix(_PATCH) for kind in kinds(item))


def _may_go(item: Resource) -> bool:
    """Whether deleting it, by itself, does what is wanted, and no harm."""
    left = item.protected or item.retained or data_loss.held(item)
    return blocks(item) and not left


def _serves(item: Resource, other: Resource) -> bool:
    """Whether an API is that of another object, which then nobody could delete any more.

    One that answered when that was made blocks nothing.
    """
    if "APIService" not in kinds(item):
        return False
    group, version = (found(item.inputs, ["spec", key]) for key in ("group", "version"))
    return other.type.startswith(f"kubernetes:{group}/{version}:")


def _below(urn: str, items: Iterable[Resource]) -> set[str]:
    """What is below a resource: the engine deletes none without that."""
    below: set[str] = set()
    for item in items:  # In the order of the state, in which parents come first.
        if item.parent == urn or item.parent in below:
            below.add(item.urn)
    return below


def _ahead(leads: Sequence[str], targets: Sequence[Resource]) -> frozenset[str]:
    by_urn = {item.urn: item for item in targets}
    ahead, waiting = set(leads), list(leads)
    while waiting:
        for urn in needed(by_urn[waiting.pop()]):
            if urn in by_urn and urn not in ahead:
                ahead.add(urn)
                waiting.append(urn)
    return frozenset(ahead)


def needed(item: Resource) -> list[str]:
    """Return the URNs of what has to be registered before a resource.

    Args:
        item: The resource.
    """
    options = item.options
    return [
        *filter(None, (item.parent, item.provider_urn, options.get("deletedWith"))),
        *item.dependencies,
        *(options.get("replaceWith") or ()),
        *(urn for urns in (options.get("propertyDependencies") or {}).values() for urn in urns),
    ]
