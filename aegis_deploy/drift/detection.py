"""What was changed in the cluster behind Pulumi's back, field by field, and by whom. Pure.

Compared is what the program declared with what is live: a declared field that is not as declared,
an object that is gone, and a field that somebody else added. What control loops own is their work,
not drift, and what nobody declared and a default filled in is none either: whose a field is,
:mod:`kubernetes.managed_fields` decides.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.kubernetes.managed_fields import (
    UNKNOWN,
    Owners,
    Path,
    Scaling,
    keyed,
    value_at,
    written,
)
from aegis_deploy.model.release import MASK
from aegis_deploy.model.signatures import is_secret, masked
from aegis_deploy.model.workloads.rollout import within
from aegis_deploy.stack.checkpoint import Resource, plain

if TYPE_CHECKING:
    from aegis_deploy.model.events import Step

CHANGED, REMOVED, ADDED = "changed", "removed", "added"
_KUBERNETES = "kubernetes:"
_NO_OBJECTS = ("kubernetes:helm.sh/", "kubernetes:yaml:", "kubernetes:kustomize:")
_KEYS = (
    ("name",),
    ("containerPort", "protocol"),
    ("containerPort",),
    ("port", "protocol"),
    ("port",),
    ("topologyKey", "whenUnsatisfiable"),
    ("mountPath",),
    ("key",),
)
"""By which keys the API server merges lists of objects; the first that all items have is taken."""
_EXTENSION = "x_kubernetes_"
_NOT_DECLARED = frozenset({"apiVersion", "kind", "status"})
_OF_THE_SERVER = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink"}
)
Same = Callable[[str, str], bool]


@dataclass(frozen=True)
class FieldChange:
    """One field that is not as declared.

    Attributes:
        path: Where it is: ``spec.template.spec.containers[api].image``.
        change: changed, removed or added.
        declared: What was declared, as a person may see it; empty when nothing was.
        live: What there is now, likewise.
        by: Who set it, a field manager such as ``kubectl-set``; empty when that cannot be told.
        at: When, RFC 3339; empty likewise.
        where: The path's parts.
    """

    path: str
    change: str
    declared: str = ""
    live: str = ""
    by: str = ""
    at: str = ""
    where: Path = field(default=(), compare=False)

    def as_json(self) -> dict[str, str]:
        """Return it for machines."""
        return {
            "path": self.path,
            "change": self.change,
            "declared": self.declared,
            "live": self.live,
            "by": self.by,
            "at": self.at,
        }


@dataclass(frozen=True)
class Drifted:
    """An object that is not as declared.

    Attributes:
        kind: Its kind.
        namespace: Its namespace; empty for an object of the cluster.
        name: Its name.
        urn: The resource that declared it.
        gone: Whether it was deleted.
        going: Since when it is being deleted; empty when it is not.
        fields: What is different in it.
        path: Where the API server has it; None when it was only compared.
        live: The live object; None when it is gone or was only compared.
        cluster: Which cluster it is in, as `Workload.cluster` has it.
        provider: The URN of its provider.
    """

    kind: str
    namespace: str
    name: str
    urn: str
    gone: bool = False
    going: str = ""
    fields: tuple[FieldChange, ...] = ()
    path: str | None = None
    live: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    cluster: str = ""
    provider: str = field(default="", repr=False, compare=False)

    @property
    def label(self) -> str:
        """What a person calls it: ``Deployment aegis-staging/aegis-api``."""
        if not self.namespace:
            return self.plain_label
        return f"{self.kind} {self.namespace}/{self.name}{within(self.cluster)}"

    @property
    def plain_label(self) -> str:
        """Its kind and name alone."""
        return f"{self.kind} {self.name}{within(self.cluster)}"

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "urn": self.urn,
            **({"provider": self.cluster} if self.cluster else {}),
            "gone": self.gone,
            "beingDeletedSince": self.going or None,
            "fields": [it.as_json() for it in self.fields],
        }


def removal(drifted: Drifted) -> list[dict[str, Any]]:
    """Return the JSON patch that takes away what was added to an object; empty for nothing.

    It holds only for the object as it was read: a later change makes the server refuse it.
    """
    pointers = []
    for it in drifted.fields:
        pointer = _pointer(drifted.live, it.where) if it.change == ADDED else None
        if pointer is not None:
            pointers.append(pointer)
    if not pointers or drifted.live is None:
        return []
    version = drifted.live["metadata"]["resourceVersion"]
    # From the end: taking away an item moves those that come after it in the same list.
    pointers.sort(key=lambda parts: [(isinstance(it, int), it) for it in parts], reverse=True)
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        *({"op": "remove", "path": "/" + "/".join(map(_escaped, it))} for it in pointers),
    ]


def is_object(resource: Resource) -> bool:
    """Return whether a resource declares one object of a cluster that is to be there now."""
    return (
        resource.custom
        and resource.alive
        and not resource.external
        and resource.type.startswith(_KUBERNETES)
        and not resource.type.startswith(_NO_OBJECTS)
        and bool(resource.object_name or resource.id)
    )


def is_elsewhere(resource: Resource) -> bool:
    """Return whether a resource is managed by a provider, and no object of a cluster."""
    return (
        resource.custom
        and resource.alive
        and not resource.external
        and not resource.is_provider
        and not is_object(resource)
    )


def by_engine(step: Step) -> Drifted:
    """Return what the engine found to be another, or gone: it says where, not what and by whom."""
    return Drifted(
        kind=step.type.rpartition(":")[2],
        namespace="",
        name=step.object or step.name,
        urn=step.urn,
        gone=step.op == "delete",
        fields=()
        if step.op == "delete"
        else tuple(FieldChange(path, CHANGED) for path in sorted(step.paths) or step.diffs),
    )


def compare(
    resource: Resource,
    live: Mapping[str, Any] | None,
    same: Same,
    scaling: Scaling = UNKNOWN,
) -> Drifted | None:
    """Compare an object that was declared with the live one.

    Args:
        resource: What declared it, secrets decrypted.
        live: The live object; None when it is gone.
        same: Whether two texts are the same quantity, such as ``1`` and ``1000m``.
        scaling: The autoscalers that aim at it.

    Returns:
        What differs, secrets masked; None when nothing does.
    """
    declared = _declared(resource)
    found = named(resource)
    going = "" if live is None else deleted_at(live)
    if live is None or going:
        # One that is going is not there any more as soon as nothing holds it.
        return None if leaves(resource) else replace(found, gone=live is None, going=going)
    owners = Owners(live, scaling)
    hidden = found.kind == "Secret"
    fields = [
        _told(difference, owners, hidden=hidden)
        for difference in _differences((), declared, live, same)
        if not owners.loop(difference.path)
    ]
    fields += _added(declared, live, owners, hidden=hidden)
    if not fields:
        return None
    return replace(found, fields=tuple(fields))


def deleted_at(live: Mapping[str, Any]) -> str:
    """Return since when an object is being deleted, RFC 3339; empty when it is not."""
    return str((live.get("metadata") or {}).get("deletionTimestamp") or "")


def leaves(resource: Resource) -> bool:
    """Return whether an object is declared to go by itself once its work is done."""
    spec = plain(_declared(resource).get("spec"))
    return isinstance(spec, Mapping) and spec.get("ttlSecondsAfterFinished") is not None


def named(resource: Resource) -> Drifted:
    """Return the object that a resource declares, by its names, without any difference."""
    declared = _declared(resource)
    namespace, _, name = resource.id.rpartition("/")
    metadata = declared.get("metadata") or {}
    return Drifted(
        kind=str(declared.get("kind") or resource.type.rpartition(":")[2]),
        namespace=str(metadata.get("namespace") or namespace),
        name=str(metadata.get("name") or name or resource.name),
        urn=resource.urn,
    )


@dataclass(frozen=True)
class _Difference:
    path: Path
    declared: Any
    live: Any
    secret: bool = False


_ABSENT = object()


def _differences(
    path: Path,
    declared: Any,  # noqa: ANN401 - any JSON value
    live: Any,  # noqa: ANN401 - any JSON value
    same: Same,
    *,
    secret: bool = False,
) -> Iterator[_Difference]:
    if is_secret(declared):
        yield from _differences(path, plain(declared), live, same, secret=True)
    elif isinstance(declared, Mapping) and isinstance(live, Mapping):
        for key, value in declared.items():
            if key in _NOT_DECLARED and not path:
                continue
            inner = live.get(key, _ABSENT)
            yield from _differences((*path, key), value, inner, same, secret=secret)
    elif _is_list(declared) and _is_list(live):
        yield from _items(path, declared, live, same, secret=secret)
    elif live is _ABSENT:
        if not _is_empty(declared):
            yield _Difference(path, declared, _ABSENT, secret)
    elif not _equal(declared, live, same):
        yield _Difference(path, declared, live, secret)


def _items(
    path: Path, declared: Sequence[Any], live: Sequence[Any], same: Same, *, secret: bool
) -> Iterator[_Difference]:
    for keys in _KEYS:
        wanted, there = keyed(declared, keys), keyed(live, keys)
        if wanted is not None and there is not None and declared:
            for name, item in wanted.items():
                inner = there.get(name, _ABSENT)
                yield from _differences((*path, name), item, inner, same, secret=secret)
            return
    if len(declared) != len(live):
        yield _Difference(path, declared, live, secret)
        return
    for index, (first, second) in enumerate(zip(declared, live, strict=True)):
        yield from _differences((*path, f"[{index}]"), first, second, same, secret=secret)


def _equal(declared: Any, live: Any, same: Same) -> bool:  # noqa: ANN401 - any JSON value
    if declared == live:
        return True
    if isinstance(declared, bool) or isinstance(live, bool):
        return str(declared).lower() == str(live).lower()
    if isinstance(declared, (str, int, float)) and isinstance(live, (str, int, float)):
        return (
            str(declared) == str(live)
            or _number(declared) == live
            or same(str(declared), str(live))
        )
    return False


def _number(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    # A state keeps every number as a float.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _added(
    declared: Mapping[str, Any],
    live: Mapping[str, Any],
    owners: Owners,
    *,
    hidden: bool,
) -> Iterator[FieldChange]:
    """Find what somebody added that nobody declared."""
    told: set[Path] = set()
    for manager in owners.managers:
        for path in sorted(manager.fields):
            if any(path[: len(it)] == it for it in told) or _of_the_server(path):
                continue
            if owners.leaves(manager, path):
                continue
            value = value_at(live, path)
            if value is None or _is_declared(declared, path):
                continue
            told.add(path)
            shown = MASK if hidden and path[0] in {"data", "stringData"} else _shown(value)
            yield FieldChange(written(path), ADDED, "", shown, manager.name, manager.time, path)


def _is_declared(declared: Mapping[str, Any], path: Path) -> bool:
    """Whether a path is declared, or lies in something that is declared as a whole."""
    inner: Any = declared
    for part in path:
        inner = plain(inner)
        if isinstance(inner, Mapping):
            if part not in inner:
                return False
            inner = inner[part]
        elif _is_list(inner):
            inner = value_at(inner, (part,))
            if inner is None:
                return False
        else:
            return True
    return inner is not None


def _told(difference: _Difference, owners: Owners, *, hidden: bool) -> FieldChange:
    by = owners.by_hand(difference.path)
    if by is None:
        # A removal leaves no owner: the last one who wrote is the best there is to know.
        by = max(owners.hands, key=lambda it: it.time, default=None)
    mask = difference.secret or (hidden and difference.path[0] in {"data", "stringData"})
    gone = difference.live is _ABSENT
    live = "" if gone else MASK if mask else _shown(difference.live)
    return FieldChange(
        path=written(difference.path),
        change=REMOVED if gone else CHANGED,
        declared=MASK if mask else _shown(masked(difference.declared, MASK)),
        live=f"{live}, another" if mask and not gone else live,
        by="" if by is None else by.name,
        at="" if by is None else by.time,
        where=difference.path,
    )


def _declared(resource: Resource) -> dict[str, Any]:
    declared = {key: value for key, value in resource.inputs.items() if not key.startswith("__")}
    if plain(declared.get("kind")) == "Secret" and declared.get("stringData"):
        data = dict(plain(declared.get("data")) or {})
        for key, value in plain(declared.pop("stringData")).items():
            text = str(plain(value))
            data[key] = base64.b64encode(text.encode()).decode()
        declared["data"] = data
    spelled: dict[str, Any] = _spelled(declared)
    return spelled


def _spelled(value: Any) -> Any:  # noqa: ANN401 - any property value
    """Properties as the cluster spells them: Pulumi's schemas have no dash in a name.

    As the provider does it (`mapReplUnderscoreToDash` in its `provider/pkg/provider/util.go`).
    """
    if isinstance(value, Mapping):
        return {
            key.replace("_", "-") if key.startswith(_EXTENSION) else key: _spelled(inner)
            for key, inner in value.items()
        }
    return [_spelled(inner) for inner in value] if isinstance(value, list) else value


def _pointer(live: Any, path: Path) -> list[str | int] | None:  # noqa: ANN401 - any JSON value
    """Return a path as keys and indexes; None when nothing is there."""
    found: list[str | int] = []
    for depth, part in enumerate(path, 1):
        inner = value_at(live, path[:depth])
        if inner is None:
            return None
        above = value_at(live, path[: depth - 1])
        found.append(above.index(inner) if _is_list(above) else part)
    return found


def _escaped(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _of_the_server(path: Path) -> bool:
    return path[0] == "status" or (path[0] == "metadata" and path[-1] in _OF_THE_SERVER)


def _is_list(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(value, Sequence) and not isinstance(value, str)


def _is_empty(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether the API server may drop a value because it says nothing."""
    if isinstance(value, Mapping):
        return all(_is_empty(inner) for inner in value.values())
    return value is None or value is False or value in ("", 0) or (_is_list(value) and not value)


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON value
    value = _number(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
