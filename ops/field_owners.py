"""Who set which field of a live object, as the API server remembers it (``managedFields``).

Pure. A path is a tuple of keys; an item of a list that is merged by key is named by its key's
values, as in ``("spec", "containers", "[api]", "image")``. The format is that of structured merge
diff: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Path = tuple[str, ...]

_ITSELF = "."
_CONTROLLERS = frozenset({"kubelet", "kube-scheduler", "kube-apiserver", "kube-proxy"})
_CONTROLLER_WORDS = ("controller", "autoscaler", "operator", "vpa-")
_PULUMI = "pulumi-kubernetes"


@dataclass(frozen=True)
class Manager:
    """Who set fields.

    Attributes:
        name: The field manager, such as ``kubectl-set``.
        time: When it last did, RFC 3339; empty when it is not recorded.
        fields: The paths it owns, leaves and whole list items.
    """

    name: str
    time: str
    fields: frozenset[Path]

    @property
    def is_controller(self) -> bool:
        """Whether it is a control loop, whose work is not drift."""
        return self.name in _CONTROLLERS or any(word in self.name for word in _CONTROLLER_WORDS)

    @property
    def is_pulumi(self) -> bool:
        """Whether it is Pulumi's provider."""
        return self.name.startswith(_PULUMI)


def managers(live: Mapping[str, Any]) -> list[Manager]:
    """Return who set fields of a live object; what only wrote its status is left out."""
    entries = live.get("metadata", {}).get("managedFields") or ()
    return [
        Manager(
            name=str(entry.get("manager") or "unknown"),
            time=str(entry.get("time") or ""),
            fields=frozenset(_owned(entry.get("fieldsV1") or {}, ())),
        )
        for entry in entries
        if entry.get("subresource") != "status"
    ]


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


def written(path: Path) -> str:
    """Write a path as people do: ``spec.containers[api].image``."""
    text = ""
    for part in path:
        text += part if part.startswith("[") or not text else f".{part}"
    return text


def _owned(fields: Mapping[str, Any], path: Path) -> Iterator[Path]:
    for raw, inner in fields.items():
        if raw == _ITSELF:
            continue
        kind, _, rest = raw.partition(":")
        if kind == "f":
            here = (*path, rest)
        elif kind == "k":
            here = (*path, item_name(json.loads(rest)))
            if _ITSELF in inner:
                yield here
        else:
            here = (*path, f"[{json.loads(rest) if kind == 'v' else rest}]")
        if not set(inner) - {_ITSELF}:
            yield here
        else:
            yield from _owned(inner, here)


def _is_named(item: Any, name: str) -> bool:  # noqa: ANN401 - any JSON value
    if not isinstance(item, Mapping):
        return f"[{item}]" == name
    values = name.removeprefix("[").removesuffix("]")
    if str(item.get("name")) == values:
        return True
    # The key's names are not in its name: its values, each in the item, are enough to tell.
    return set(values.split("/")) <= {str(value) for value in item.values()}
