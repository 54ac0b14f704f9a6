"""Secrets in a replay: which of them would change, and keeping the current value of some.

A credential that was rotated since the release must not come back dead. What is compared are the
single values inside the secrets' envelopes; they are named by their path and never shown.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.model.signatures import is_secret, opened
from aegis_deploy.stack.checkpoint import Resource

_SECRET_KINDS = frozenset({"kubernetes:core/v1:Secret"})
_SECRET_FIELDS = frozenset({"data", "stringData"})
_HASHED = re.compile(r"-(?:[0-9a-f]{6,}|[2-9bcdfghkmt]{10})$")
"""How a name that follows its content ends: in hexadecimal, or in kustomize's alphabet."""
_SHORTEST_PART = 6
_SHORTEST_OPEN = 8


@dataclass(frozen=True)
class SecretChange:
    """A secret that the replay would give another value.

    Attributes:
        urn: The resource it belongs to, in the release to be restored where it is there.
        resource: What a person calls that resource.
        path: Where it is in the resource's inputs: ``data.PASSWORD``.
        change: ``changed``, ``added`` (only the release has it) or ``removed`` (only the present).
        kept: Whether the current value is kept.
    """

    urn: str
    resource: str
    path: str
    change: str
    kept: bool = False

    def is_called(self, key: str) -> bool:
        """Whether a person may mean it by ``key``: its path, the end of it, or with its name."""
        names = (self.path, self.path.rpartition(".")[2], f"{self.resource}:{self.path}")
        return key in names


@dataclass(frozen=True)
class Kept:
    """What keeping secrets made of the resources to be registered.

    Attributes:
        resources: The resources, with the current values in place.
        outputs: The stack's outputs, likewise.
        changes: Every secret that changes or would have.
        swaps: The values that are kept: what the release had, and what is current.
    """

    resources: tuple[Resource, ...] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)
    changes: tuple[SecretChange, ...]
    swaps: tuple[tuple[Any, Any], ...] = field(default=(), repr=False)


def swapped_setting(value: Any, swaps: Sequence[tuple[Any, Any]]) -> Any:  # noqa: ANN401
    """A decrypted secret setting of the release, with the values that are kept in it."""
    return _Swap(swaps).value(value, hidden=True)


def keep_secrets(
    targets: Sequence[Resource],
    outputs: Mapping[str, Any],
    present: Mapping[str, Resource],
    renamed: Mapping[str, str],
    keys: Sequence[str],
    *,
    is_kept: Callable[[str], bool] | None = None,
) -> Kept:
    """Say which secrets would change, and keep those that are named.

    A kept value replaces the recorded one wherever that occurs: in other resources, in the text
    of a connection string, in base64. A secret whose content is the current one after that keeps
    its current name too, and what refers to it by the recorded name follows.

    Args:
        targets: The resources of the release.
        outputs: The stack's outputs of the release.
        present: What is deployed now, by URN.
        renamed: The current URN of a target that has another one now.
        keys: The secrets whose current value is kept.
        is_kept: Says of a key whether it names something that is kept without being named.

    Raises:
        AegisError: A key names no secret that would change.
    """
    pairs = _pairs(targets, present, renamed)
    found = [
        (change, old, new) for target, now in pairs for change, old, new in _compare(target, now)
    ]
    unknown = [
        key
        for key in keys
        if not (is_kept is not None and is_kept(key))
        and not any(change.is_called(key) for change, _, _ in found)
    ]
    if unknown:
        known = sorted({change.path for change, _, _ in found})
        raise AegisError(
            what=f"no secret that would change is called {', '.join(unknown)}",
            why=f"those that would: {', '.join(known)}" if known else "no secret would change",
            next="leave out --keep, or give one of these paths or its last part",
            code=ExitCode.USAGE,
        )
    changes = tuple(
        replace(change, kept=any(change.is_called(key) for key in keys)) for change, _, _ in found
    )
    wanted = [
        (change, old, new)
        for change, (_, old, new) in zip(changes, found, strict=True)
        if change.kept
    ]
    gone = [change.path for change, _, _ in wanted if change.change != "changed"]
    if gone:
        raise AegisError(
            what=f"{', '.join(gone)} cannot be kept",
            why="only one of the two releases has it",
            next="leave it out of --keep",
            code=ExitCode.USAGE,
        )
    if not wanted:
        return Kept(tuple(targets), outputs, changes)
    everywhere = _Swap([(old, new) for _, old, new in wanted if _is_telling(old)])
    there = {
        urn: _Swap([(old, new) for change, old, new in wanted if change.urn == urn])
        for urn in {change.urn for change, _, _ in wanted}
    }
    swapped = [
        _swapped(_swapped(item, there.get(item.urn, everywhere)), everywhere) for item in targets
    ]
    urns, names = _current_names(swapped, pairs, set(there))
    stated = {key: everywhere.value(value, hidden=False) for key, value in outputs.items()}
    return Kept(
        tuple(_renamed(item, urns, names) for item in swapped),
        _follow(stated, names),
        changes,
        tuple((old, new) for _, old, new in wanted),
    )


def _swapped(item: Resource, swap: _Swap) -> Resource:
    hidden = item.type in _SECRET_KINDS
    return replace(
        item,
        inputs={
            key: swap.value(value, hidden=hidden and key in _SECRET_FIELDS)
            for key, value in item.inputs.items()
        },
        outputs={key: swap.value(value, hidden=False) for key, value in item.outputs.items()},
    )


def _pairs(
    targets: Sequence[Resource], present: Mapping[str, Resource], renamed: Mapping[str, str]
) -> list[tuple[Resource, Resource | None]]:
    """Pair each target with what it is now; with None where there is nothing like it."""
    known = {item.urn for item in targets} | set(renamed.values())
    # The engine's own providers are no part of a release: they are what the settings say.
    free = [
        item for urn, item in present.items() if urn not in known and not item.is_default_provider
    ]
    pairs: list[tuple[Resource, Resource | None]] = []
    for target in targets:
        if target.external or not target.custom:
            continue
        now = present.get(target.urn) or present.get(renamed.get(target.urn, ""))
        if now is None:
            # A name made of the content's hash: another content is another resource.
            alike = [item for item in free if _alike(item, target)]
            now = alike[0] if len(alike) == 1 else None
        pairs.append((target, now))
    paired = {now.urn for _, now in pairs if now is not None}
    # What is only there now loses its secrets with itself.
    pairs.extend((item, item) for item in free if item.urn not in paired and item.custom)
    return pairs


def _alike(one: Resource, other: Resource) -> bool:
    return (one.type, one.parent, _HASHED.sub("", one.name)) == (
        other.type,
        other.parent,
        _HASHED.sub("", other.name),
    )


def _compare(target: Resource, now: Resource | None) -> Iterator[tuple[SecretChange, Any, Any]]:
    """Yield each secret that differs, with its value in the release and its value now."""
    if now is target:
        for path in secrets_of(target):
            yield SecretChange(target.urn, target.label, path, "removed"), None, None
        return
    recorded, live = secrets_of(target), secrets_of(now) if now is not None else {}
    for path, value in recorded.items():
        if path not in live:
            yield SecretChange(target.urn, target.label, path, "added"), None, None
        elif live[path] != value:
            yield SecretChange(target.urn, target.label, path, "changed"), value, live[path]
    for path in live:
        if path not in recorded:
            yield SecretChange(target.urn, target.label, path, "removed"), None, None


def secrets_of(item: Resource) -> dict[str, Any]:
    """The single secret values of a resource's inputs, by their path."""
    found: dict[str, Any] = {}
    for key, value in item.inputs.items():
        hidden = item.type in _SECRET_KINDS and key in _SECRET_FIELDS
        found.update(_leaves(value, key, hidden=hidden))
    return found


def _leaves(value: Any, path: str, *, hidden: bool) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if is_secret(value):
        yield from _leaves(value["value"], path, hidden=True)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}", hidden=hidden)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{place}]", hidden=hidden)
    elif hidden:
        yield path, value


class _Swap:
    """Puts current values in the place of recorded ones."""

    def __init__(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        self._whole = {_key(old): new for old, new in pairs}
        texts = [(old, new) for old, new in pairs if _is_text(old) and _is_text(new)]
        for old, new in list(texts):
            bare, bare_new = _decoded(old), _decoded(new)
            if bare is not None and bare_new is not None:
                texts.append((bare, bare_new))
            texts.append((_encoded(old), _encoded(new)))
        self._whole.update({_key(old): new for old, new in reversed(texts)})
        # The longest first: a part of one value may be another.
        self._parts = sorted(
            (pair for pair in texts if len(pair[0]) >= _SHORTEST_PART), key=lambda p: -len(p[0])
        )

    def value(self, value: Any, *, hidden: bool) -> Any:  # noqa: ANN401 - any property value
        """Swap every occurrence in a property value; outside secrets only the unmistakable."""
        if is_secret(value):
            return {**value, "value": self.value(value["value"], hidden=True)}
        if isinstance(value, dict):
            return {key: self.value(inner, hidden=hidden) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner, hidden=hidden) for inner in value]
        if isinstance(value, str):
            return self._text(value, hidden=hidden)
        return self._whole.get(_key(value), value) if hidden else value

    def _text(self, text: str, *, hidden: bool) -> str:
        if not hidden and len(text) < _SHORTEST_OPEN:
            return text
        whole = self._whole.get(_key(text))
        if whole is not None:
            return str(whole)
        changed = self._in_part(text, hidden=hidden)
        if changed != text:
            return changed
        bare = _decoded(text)
        if bare is None:
            return text
        inner = self._in_part(bare, hidden=hidden)
        return _encoded(inner) if inner != bare else text

    def _in_part(self, text: str, *, hidden: bool) -> str:
        for old, new in self._parts:
            if hidden or len(old) >= _SHORTEST_OPEN:
                text = text.replace(old, new)
        return text


def _current_names(
    targets: Sequence[Resource],
    pairs: Sequence[tuple[Resource, Resource | None]],
    kept: set[str],
) -> tuple[dict[str, str], dict[str, str]]:
    """The current URN and object name of each whose content is the current one now."""
    by_urn = {target.urn: now for target, now in pairs if now is not None and now is not target}
    urns: dict[str, str] = {}
    names: dict[str, str] = {}
    for item in targets:
        now = by_urn.get(item.urn)
        if now is None or item.urn not in kept or not _same_content(item, now):
            continue
        if now.urn != item.urn:
            urns[item.urn] = now.urn
        if item.object_name and now.object_name and item.object_name != now.object_name:
            names[item.object_name] = now.object_name
    return urns, names


def _renamed(item: Resource, urns: Mapping[str, str], names: Mapping[str, str]) -> Resource:
    """A resource with other URNs and other objects' names in the place of some."""
    return replace(
        item,
        urn=urns.get(item.urn, item.urn),
        inputs=_follow(item.inputs, names),
        outputs=_follow(item.outputs, names),
        parent=urns.get(item.parent, item.parent),
        dependencies=tuple(urns.get(urn, urn) for urn in item.dependencies),
        options=_follow(item.options, urns),
    )


def _follow(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - any property value
    """A value with every text that is one of the names changed."""
    if not names:
        return value
    if isinstance(value, Mapping):
        return {key: _follow(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [_follow(inner, names) for inner in value]
    return names.get(value, value) if isinstance(value, str) else value


def _same_content(one: Resource, other: Resource) -> bool:
    return bool(_content(one) == _content(other))


def _content(item: Resource) -> Any:  # noqa: ANN401 - any JSON value
    """A resource's inputs without the envelopes and without the object's own name."""
    content = opened(item.inputs)
    if isinstance(content.get("metadata"), dict):
        content["metadata"] = {
            key: value for key, value in content["metadata"].items() if key != "name"
        }
    return content


def _key(value: Any) -> str:  # noqa: ANN401 - a single value
    return json.dumps(value)


def _is_text(value: Any) -> bool:  # noqa: ANN401 - a single value
    return isinstance(value, str) and bool(value)


def _is_telling(value: Any) -> bool:  # noqa: ANN401 - a single value
    """Whether a value is long enough to be the same secret wherever it occurs."""
    return isinstance(value, str) and len(value) >= _SHORTEST_PART


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decoded(text: str) -> str | None:
    """The text that this one is the base64 of, if it is."""
    if len(text) % 4 or len(text) < 4:  # noqa: PLR2004 - base64 comes in fours
        return None
    try:
        bare = base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return bare if bare.isprintable() or "\n" in bare else None
