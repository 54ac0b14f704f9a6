"""What differs between two releases: settings, images, resources. Secrets are never shown.

A secret is encrypted anew now and then, so that two ciphertexts say nothing of what is in them:
where it is told whether a secret changed, both were decrypted, and compared out of sight.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.release import MASK, ConfigValue
from aegis_deploy.model.signatures import SIGNATURE, is_secret, masked

UNTOLD = "encrypted anew, perhaps another"
"""What is said of a secret where nobody can look into it."""
ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_UNTOLD = frozenset({"__fieldManager", "__initialApiVersion", "__inputs"})


@dataclass(frozen=True)
class Difference:
    """One thing that is not the same.

    Attributes:
        what: Its name: a setting, an image, a resource, or a property's path.
        change: added, removed or changed.
        before: What it was, as a person may see it; empty when it was not there.
        after: What it is; empty when it is no more.
    """

    what: str
    change: str
    before: str = ""
    after: str = ""

    def as_json(self) -> dict[str, str]:
        """Return it for machines."""
        return {
            "what": self.what,
            "change": self.change,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True)
class ResourceDifference:
    """A resource that is not the same.

    Attributes:
        type: Its type.
        name: Its name in the program.
        change: added, removed or changed.
        properties: What differs in it, when it changed.
    """

    type: str
    name: str
    change: str
    properties: tuple[Difference, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "type": self.type,
            "name": self.name,
            "change": self.change,
            "properties": [item.as_json() for item in self.properties],
        }


def compare_settings(
    before: Mapping[str, ConfigValue], after: Mapping[str, ConfigValue]
) -> tuple[Difference, ...]:
    """Compare two releases' settings.

    A secret with another ciphertext counts as changed: it was set anew.
    """
    found = []
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if (
            old is not None
            and new is not None
            and (old.as_recorded, old.secret) == (new.as_recorded, new.secret)
        ):
            continue
        shown = (old.shown if old else "", new.shown if new else "")
        if MASK in shown[0] and shown[0] == shown[1]:
            shown = (MASK, f"{MASK}, set anew")
        change = ADDED if old is None else REMOVED if new is None else CHANGED
        found.append(Difference(key, change, *shown))
    return tuple(found)


def compare_images(before: Iterable[str], after: Iterable[str]) -> tuple[Difference, ...]:
    """Compare the images two releases' workloads ran."""
    old, new = set(before), set(after)
    removed = [Difference(image, REMOVED, image) for image in sorted(old - new)]
    return (*removed, *(Difference(image, ADDED, "", image) for image in sorted(new - old)))


def compare_resources(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> tuple[ResourceDifference, ...]:
    """Compare the resources of two checkpoints' deployments by what was declared."""
    old, new = _resources(before), _resources(after)
    found = []
    for urn in sorted({*old, *new}):
        first, second = old.get(urn), new.get(urn)
        kind, name = (second or first or {})["type"], urn.rpartition("::")[2]
        if first is None or second is None:
            found.append(ResourceDifference(kind, name, ADDED if first is None else REMOVED))
            continue
        properties = tuple(_compare("", first.get("inputs") or {}, second.get("inputs") or {}))
        if properties:
            found.append(ResourceDifference(kind, name, CHANGED, properties))
    return tuple(found)


def holds_secrets(deployment: Mapping[str, Any]) -> bool:
    """Whether anything in a deployment is encrypted."""
    return '"ciphertext"' in json.dumps(deployment)


def _resources(deployment: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {
        item["urn"]: item
        for item in deployment.get("resources") or ()
        if not item.get("delete") and not str(item["type"]).startswith("pulumi:")
    }


def _compare(path: str, old: Any, new: Any) -> Iterable[Difference]:  # noqa: ANN401
    if old == new:
        return
    if is_secret(old) or is_secret(new):
        if _content(old) != _content(new) or is_secret(old) != is_secret(new):
            both = is_secret(old) and is_secret(new)
            word = "another" if _is_legible(old) and _is_legible(new) else UNTOLD
            after = f"{MASK}, {word}" if both else _shown(new)
            yield Difference(path, CHANGED, _shown(old), after)
        return
    pairs = _pairs(path, old, new)
    if pairs is None:
        yield Difference(path, CHANGED, _shown(old), _shown(new))
        return
    for inner, first, second in pairs:
        if first is _ABSENT:
            yield Difference(inner, ADDED, "", _shown(second))
        elif second is _ABSENT:
            yield Difference(inner, REMOVED, _shown(first))
        else:
            yield from _compare(inner, first, second)


_ABSENT = object()


def _pairs(path: str, old: Any, new: Any) -> list[tuple[str, Any, Any]] | None:  # noqa: ANN401
    if isinstance(old, dict) and isinstance(new, dict):
        return [
            (f"{path}.{key}" if path else key, old.get(key, _ABSENT), new.get(key, _ABSENT))
            for key in sorted({*old, *new} - _UNTOLD)
        ]
    if isinstance(old, list) and isinstance(new, list):
        size = max(len(old), len(new))
        first = [*old, *[_ABSENT] * (size - len(old))]
        second = [*new, *[_ABSENT] * (size - len(new))]
        return [(f"{path}[{i}]", first[i], second[i]) for i in range(size)]
    return None


def _is_legible(value: Any) -> bool:  # noqa: ANN401
    return not (is_secret(value) and "ciphertext" in value)


def _content(value: Any) -> Any:  # noqa: ANN401
    """What is in a secret: its plain text where it was decrypted, its ciphertext otherwise."""
    if not is_secret(value):
        return value
    inner = {key: item for key, item in value.items() if key != SIGNATURE}
    if "plaintext" in inner:
        return json.loads(inner["plaintext"])
    return inner.get("value", inner.get("ciphertext"))


def _shown(value: Any) -> str:  # noqa: ANN401
    shown = masked(value, MASK)
    return shown if isinstance(shown, str) else json.dumps(shown, sort_keys=True)
