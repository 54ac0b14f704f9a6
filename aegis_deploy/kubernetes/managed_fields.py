"""Who set which field of a live object, and whether it is a control loop's to decide.

Pure, and the one place that decides it: `aegis status`, `aegis drift`, the gate and every rollback
ask here. What the API server remembers (``managedFields``) is looked at, and which autoscalers aim
at the object. A path is a tuple of keys; an item of a list that is merged by key is named by its
key's values, as in ``("spec", "containers", "[api]", "image")``. The format is that of structured
merge diff: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management

Who a manager is, is not written anywhere. These are the rules, the first that fits:

1. The client of a person (`kubectl`, a browser, Helm, Terraform, an HTTP library) is somebody's
   hand.
2. The number of pods is an autoscaler's while one aims at the object, whoever wrote it last: it
   would write it again. Not at 0, which switches an autoscaler off.
3. What was written through the subresource ``scale`` is an autoscaler's. That of Kubernetes runs in
   the process that writes the object's status; where none of its autoscalers aims at the object any
   more, what it left is nobody's.
4. A manager that writes the object's status, its finalizers or owners is a control loop, and so is
   one whose name says so.
5. Number and sizes of pods, and certificates of authorities, are what loops are made for: anybody
   but a person's client is one there.
6. Anybody else is in doubt: what was declared and is another is told as drift, what was added to
   labels and annotations is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from aegis_deploy.model.signatures import SIGNATURE

Path = tuple[str, ...]

REPLICAS: Path = ("spec", "replicas")
_ITSELF = "."
_PULUMI = re.compile(r"pulumi-(?:resource-)?kubernetes")
_BY_HAND = re.compile(
    r"kubectl.*|oc|k9s|helm|terraform.*|hashicorp|(?:open)?tofu|ansible.*|mozilla|bridge"
    r"|(?:open|free)?lens|headlamp.*|(?:kubernetes-)?dashboard.*|curl|wget|httpie|postmanruntime"
    r"|python-.*|openapi-generator|swagger-codegen|node(?:-fetch)?|axios|undici|go-http-client"
    r"|okhttp|java|unknown|before-first-apply",
    re.IGNORECASE,
)
"""Clients that people type at, and libraries that scripts are made with, as managers are named: by
the part of the user agent before the first slash (``PrefixFromUserAgent`` of the API server)."""
_LOOP = re.compile(
    r"controller|operator|scaler|injector|reconciler|provisioner|scheduler"
    r"|^(?:kubelet|kube-apiserver|kube-proxy|manager|keda|vpa-.*)$",
    re.IGNORECASE,
)
"""What programs call themselves that run in a loop; ``manager`` is what Kubebuilder names all."""
_NOTES = frozenset({"annotations", "labels", "finalizers", "ownerReferences"})
_OF_LOOPS = (("metadata", "finalizers"), ("metadata", "ownerReferences"))
_CONTAINERS = frozenset({"containers", "initContainers"})


@dataclass(frozen=True)
class Scaling:
    """Which autoscalers aim at an object.

    Attributes:
        replicas: What decides on the number of its pods; empty when nothing does.
        known: Whether anybody could look.
        ends: Whether something did, and is about to go.
    """

    replicas: str = ""
    known: bool = False
    ends: bool = False


UNKNOWN = Scaling()


@dataclass(frozen=True)
class Manager:
    """Who set fields.

    Attributes:
        name: The field manager, such as ``kubectl-set``.
        time: When it last did, RFC 3339; empty when it is not recorded.
        fields: The paths it owns, leaves and items of lists; none of the status.
        wholes: Those of them that it owns with all that is in them.
        subresource: Through what it did; empty for the object itself.
    """

    name: str
    time: str
    fields: frozenset[Path]
    wholes: frozenset[Path] = frozenset()
    subresource: str = ""

    @property
    def is_pulumi(self) -> bool:
        """Whether it is Pulumi's provider."""
        return bool(_PULUMI.match(self.name))

    @property
    def is_by_hand(self) -> bool:
        """Whether it is what a person types at."""
        named_so = _BY_HAND.fullmatch(self.name) is not None
        return named_so and (self.name.startswith("kubectl") or not _LOOP.search(self.name))

    def holds(self, path: Path) -> bool:
        """Whether it owns a field, something in it, or the whole that it is a part of."""
        return any(_begins(it, path) for it in self.fields) or any(
            _begins(path, it) for it in self.wholes
        )


class Owners:
    """Who owns which field of one object.

    Args:
        live: The object, as the API server has it.
        scaling: The autoscalers that aim at it.
    """

    def __init__(self, live: Mapping[str, Any], scaling: Scaling = UNKNOWN) -> None:
        self._live, self._scaling = live, scaling
        self._entries = _entries(live)
        self.managers = [it for it in self._entries if it.fields or it.subresource != "status"]

    def loop(self, path: Path) -> str:
        """Name the control loop that decides on a field; empty when none does.

        Such a field is no drift, and is not written over.
        """
        holders = [it for it in self.managers if it.holds(path) and not it.is_pulumi]
        theirs = bool(holders) and all(self._is_loops(it, path) for it in holders)
        if path == REPLICAS and self._scaling.replicas and (theirs or value_at(self._live, path)):
            return self._scaling.replicas
        return holders[0].name if theirs else ""

    def leaves(self, manager: Manager, path: Path) -> bool:
        """Whether what a manager added to the object, and nobody declared, is its own business."""
        if manager.is_pulumi or self._is_loops(manager, path) or self.loop(path):
            return True
        return not manager.is_by_hand and any(
            above == "metadata" and part in _NOTES for above, part in pairwise(path)
        )

    def by_hand(self, path: Path) -> Manager | None:
        """Return whose hand set a field, or may have; None when it was nobody's."""
        found = (
            it
            for it in self.managers
            if it.holds(path) and not it.is_pulumi and not self._is_loops(it, path)
        )
        return next(found, None)

    @property
    def hands(self) -> list[Manager]:
        """Who set something and may be a person."""
        return [it for it in self.managers if not it.is_pulumi and not self._is_a_loop(it)]

    def _is_loops(self, manager: Manager, path: Path) -> bool:
        """Whether a field that a manager holds is a control loop's."""
        if manager.is_by_hand:
            return False
        if path == REPLICAS and manager.subresource == "scale":
            scaling = self._scaling
            left = scaling.ends or manager.name in self._writers_of_status
            return not (left and scaling.known and not scaling.replicas)
        return self._is_a_loop(manager) or _is_size(path)

    def _is_a_loop(self, manager: Manager) -> bool:
        return not manager.is_by_hand and (
            _LOOP.search(manager.name) is not None or manager.name in self._writers
        )

    @cached_property
    def _writers_of_status(self) -> set[str]:
        return {it.name for it in self._entries if it.subresource == "status"}

    @cached_property
    def _writers(self) -> set[str]:
        """Who writes what only control loops write."""
        of_loops = {
            it.name for it in self._entries if any(path[:2] in _OF_LOOPS for path in it.fields)
        }
        return self._writers_of_status | of_loops


def _begins(path: Path, above: Path) -> bool:
    """Whether a path is another one or lies below it."""
    return len(path) >= len(above) and all(
        here == there or _is_shorter(here, there) or _is_shorter(there, here)
        for here, there in zip(path, above, strict=False)
    )


def _is_shorter(name: str, whole: str) -> bool:
    """Whether an item's name leaves out what the server adds to its key: ``[80]``, ``[80/TCP]``."""
    return "/" not in name and name.endswith("]") and whole.startswith(f"{name[:-1]}/")


def _is_size(path: Path) -> bool:
    if path == REPLICAS or path[:2] == ("spec", "resources") or path[-1] == "caBundle":
        return True
    above = zip(path, path[2:], strict=False)
    return any(part == "resources" and holder in _CONTAINERS for holder, part in above)


def _entries(live: Mapping[str, Any]) -> list[Manager]:
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    return [_manager(entry) for entry in entries]


def _manager(entry: Mapping[str, Any]) -> Manager:
    owned = [it for it in _owned(entry.get("fieldsV1") or {}, ()) if it[0][0] != "status"]
    return Manager(
        name=str(entry.get("manager") or "unknown"),
        time=str(entry.get("time") or ""),
        fields=frozenset(path for path, _ in owned),
        wholes=frozenset(path for path, whole in owned if whole),
        subresource=str(entry.get("subresource") or ""),
    )


def item_name(key: Mapping[str, Any]) -> str:
    """Name a list's item by its merge key: ``[api]``, ``[8000/TCP]``."""
    return "[" + "/".join(str(key[name]) for name in sorted(key)) + "]"


def keyed(items: Sequence[Any], keys: Sequence[str]) -> dict[str, Any] | None:
    """Name a list's items by the values of their merge key; None when one has no such key."""
    found = {}
    for item in items:
        if not isinstance(item, Mapping) or any(key not in item for key in keys):
            return None
        found[item_name({key: item[key] for key in keys})] = item
    return found


def value_at(live: Any, path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """Return what is at a path of a live object; None when nothing is."""
    for part in path:
        if isinstance(live, Mapping):
            live = live.get(part)
        elif isinstance(live, Sequence) and not isinstance(live, str):
            live = next((item for item in live if _is_named(item, part)), None)
        else:
            return None
    return live


def put_at(tree: Any, path: Path, value: Any) -> None:  # noqa: ANN401 - any JSON value
    """Set what is at a path, in place; None removes it.

    Nothing is done where the way there is missing, or encrypted.
    """
    above = value_at(tree, path[:-1])
    if not isinstance(above, dict) or SIGNATURE in above:
        return
    if value is None:
        above.pop(path[-1], None)
    else:
        above[path[-1]] = value


def written(path: Path) -> str:
    """Write a path as people do: ``spec.containers[api].image``."""
    text = ""
    for part in path:
        text += part if part.startswith("[") or not text else f".{part}"
    return text


def _owned(fields: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, bool]]:
    """Yield what is owned; and whether as a whole, rather than only that it is there."""
    for raw, inner in fields.items():
        if raw == _ITSELF:
            continue
        kind, _, rest = raw.partition(":")
        if kind == "f":
            here = (*path, rest)
        elif kind == "k":
            here = (*path, item_name(json.loads(rest)))
        else:
            here = (*path, f"[{json.loads(rest) if kind == 'v' else rest}]")
        if not set(inner) - {_ITSELF}:
            yield here, not inner
            continue
        if kind == "k" and _ITSELF in inner:
            yield here, False
        yield from _owned(inner, here)


def _is_named(item: Any, name: str) -> bool:  # noqa: ANN401 - any JSON value
    if not isinstance(item, Mapping):
        return f"[{item}]" == name
    values = name.removeprefix("[").removesuffix("]")
    if str(item.get("name")) == values:
        return True
    # The key's names are not in its name: its values, each in the item, are enough to tell.
    return set(values.split("/")) <= {str(value) for value in item.values()}
