"""What an update would change: old live state, cut to the old inputs' shape, against new inputs.

Pure: it asks no server. The result is the official provider's detailed diff.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lab.plugins.kubernetes import checkpoint, naming
from lab.plugins.kubernetes.normalize import normalize
from lab.plugins.kubernetes.objects import (
    Json,
    Object,
    name_of,
    namespace_of,
    prune,
    remove_field,
    set_field,
    text,
)
from lab.plugins.kubernetes.replacement import IDENTITY, force_new, touches
from lab.plugins.kubernetes.settings import Settings
from lab.plugins.properties import UNKNOWN

ADD: Final = "add"
DELETE: Final = "delete"
UPDATE: Final = "update"
Path = tuple[str | int, ...]

_NEEDS_QUOTES = re.compile(r'[."\[\]]')
_SEGMENT = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+|\*)\]|([^.\[\]]+)')


@dataclass(frozen=True)
class Change:
    """One changed property.

    Attributes:
        path: Where, as Pulumi writes property paths.
        kind: ``add``, ``delete`` or ``update``.
        replaces: Whether it forces a replacement.
    """

    path: str
    kind: str
    replaces: bool


@dataclass(frozen=True)
class Difference:
    """All changes of one resource.

    Attributes:
        changes: They.
        same_name: Whether an object that took the old one's place would have its name.
    """

    changes: list[Change] = field(default_factory=list)
    same_name: bool = False

    @property
    def delete_before_replace(self) -> bool:
        """Whether the old object has to go before the new one comes."""
        return self.same_name and bool(self.replaces)

    @property
    def replaces(self) -> list[str]:
        """The paths that force a replacement."""
        return [change.path for change in self.changes if change.replaces]


def compare(
    outputs: Mapping[str, Any],
    new_inputs: Mapping[str, Any],
    *,
    settings: Settings,
    namespaced: bool,
    is_patch: bool = False,
    ignore_changes: Iterable[str] = (),
) -> Difference:
    """Compare a resource's state with its new inputs.

    Args:
        outputs: The old outputs, as the state has them.
        new_inputs: The new inputs, as Check returned them.
        settings: The provider's settings.
        namespaced: Whether objects of this kind live in a namespace.
        is_patch: A Patch resource changes everything but its identity in place.
        ignore_changes: Property paths whose changes do not count.
    """
    old_inputs, live = checkpoint.parse(outputs)
    new = normalize(checkpoint.to_object(new_inputs))
    old = copy.deepcopy(prune(live, normalize(old_inputs)))
    _align(old, live, new, settings=settings, namespaced=namespaced)

    forcing = IDENTITY if is_patch else force_new(new, settings)
    ignored = [_parse_path(path) for path in ignore_changes]
    changes = [
        Change(
            _format(path),
            kind,
            replaces=any(touches(path, value, force) for force in forcing)
            or (kind == DELETE and path == ("metadata",)),
        )
        for path, kind, value in _compare(old, new)
        if not any(_contains(whole, path) for whole in ignored)
    ]
    same_place = name_of(new) == name_of(live) and namespace_of(new) == namespace_of(live)
    return Difference(
        changes,
        same_name=naming.is_named(new) and not naming.is_autonamed(new) and same_place,
    )


def merge_patch(old: Object, new: Object) -> Object:
    """Return the JSON merge patch (RFC 7386) that leads from one object to another."""
    patch: Object = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            inner = merge_patch(before, value)
            if inner:
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch


def _align(old: Object, live: Object, new: Object, *, settings: Settings, namespaced: bool) -> None:
    """Remove what differs without meaning: a default namespace spelled out, a version recorded."""
    for obj in (old, new):
        if not namespaced:
            remove_field(obj, "metadata", "namespace")
        elif not namespace_of(obj) and UNKNOWN is not _namespace(obj):
            set_field(obj, "default", "metadata", "namespace")
    if not text(old, "apiVersion") and not text(old, "kind"):
        old.update({key: new[key] for key in ("apiVersion", "kind") if key in new})
    if settings.server_side_apply:
        remove_field(old, "metadata", "resourceVersion")
    if name_of(new):
        set_field(old, name_of(live), "metadata", "name")


def _namespace(obj: Object) -> Json:
    metadata = obj.get("metadata")
    return metadata.get("namespace") if isinstance(metadata, dict) else metadata


def _compare(old: Object, new: Object, at: Path = ()) -> Iterable[tuple[Path, str, Json]]:
    for key in [*new, *(key for key in old if key not in new)]:
        path = (*at, key)
        if key not in new:
            yield path, DELETE, None
        elif key not in old:
            yield path, ADD, new[key]
        else:
            yield from _compare_values(old[key], new[key], path)


def _compare_values(old: Json, new: Json, path: Path) -> Iterable[tuple[Path, str, Json]]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _compare(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            item = (*path, index)
            if index >= len(new):
                yield item, DELETE, None
            elif index >= len(old):
                yield item, ADD, new[index]
            else:
                yield from _compare_values(old[index], new[index], item)
    elif isinstance(old, bool) is not isinstance(new, bool) or old != new:
        yield path, UPDATE, new


def _format(path: Path) -> str:
    written = ""
    for key in path:
        if isinstance(key, int):
            written += f"[{key}]"
        elif _NEEDS_QUOTES.search(key):
            quoted = key.replace('"', '\\"')
            written += f'["{quoted}"]'
        else:
            written += f".{key}" if written else key
    return written


def _parse_path(path: str) -> Path:
    keys: list[str | int] = []
    for quoted, index, key in _SEGMENT.findall(path):
        if index:
            keys.append(index if index == "*" else int(index))
        else:
            keys.append(quoted.replace('\\"', '"') or key)
    return tuple(keys)


def _contains(whole: Path, part: Path) -> bool:
    return len(whole) <= len(part) and all(
        mine in ("*", theirs) for mine, theirs in zip(whole, part, strict=False)
    )
