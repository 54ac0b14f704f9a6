"""Whether a state holds together, as the engine asks of it before it does anything. Pure.

The engine refuses to use a state in which a resource refers to one that is not there, or comes
after it ("snapshot integrity failure"): nothing goes any more, neither forward nor back. Releases
of `aegis` of before restored a stack across a renaming into such a state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aegis_deploy.model.predecessor import Name
from aegis_deploy.stack.renames import called_as_now, with_names

_HEAD = re.compile(r"urn:pulumi:([^:]*)::([^:]*)::")


def faults(deployment: Mapping[str, Any]) -> tuple[str, ...]:
    """Say what of a state does not hold together, a line each; nothing when it does.

    Args:
        deployment: The deployment, as a state has it.
    """
    found: list[str] = []
    seen: set[str] = set()
    providers: set[str] = set()
    alive: set[str] = set()
    for raw in deployment.get("resources") or ():
        urn = str(raw.get("urn"))
        name = urn.rpartition("::")[2]
        if raw.get("provider") and raw["provider"] not in providers:
            found.append(f"{name}: its provider is not there")
        found += [f"{name}: its {kind} is not there" for kind, it in _refers(raw) if it not in seen]
        if not raw.get("delete"):
            if urn in alive:
                found.append(f"{name}: it is there twice")
            alive.add(urn)
        seen.add(urn)
        if str(raw.get("type")).startswith("pulumi:providers:"):
            providers.add(f"{urn}::{raw.get('id')}")
    return tuple(dict.fromkeys(found))


def under_one_name(deployment: Mapping[str, Any], now: Name) -> Mapping[str, Any]:
    """Call by its present name whatever a state still calls by one that its stack had before.

    Args:
        deployment: The deployment, as a state has it.
        now: The stack's name.
    """
    named = called_as_now(deployment, now.stack, now.project)
    others = {
        Name(project, stack)
        for raw in named.get("resources") or ()
        for urn in (str(raw.get("urn")), str(raw.get("provider") or ""), *_urns(raw))
        for stack, project in _HEAD.findall(urn)
    }
    for before in sorted(others - {now}, key=lambda it: (it.project, it.stack)):
        named = with_names(named, before, now)
    kept: dict[tuple[str, str], Mapping[str, Any]] = {}
    resources = []
    for raw in named.get("resources") or ():
        # One that was there under both names is one object.
        key = (str(raw.get("urn")), str(raw.get("id") or ""))
        if key in kept and not raw.get("delete") and not kept[key].get("delete"):
            continue
        kept.setdefault(key, raw)
        resources.append(raw)
    return {**named, "resources": resources}


def _urns(raw: Mapping[str, Any]) -> Iterator[str]:
    return (urn for _, urn in _refers(raw))


def _refers(raw: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a resource refers to: a word for it, and its URN."""
    for key, word in (("parent", "parent"), ("deletedWith", "owner")):
        if raw.get(key):
            yield word, str(raw[key])
    for urn in raw.get("dependencies") or ():
        yield "dependency", str(urn)
    for urns in (raw.get("propertyDependencies") or {}).values():
        for urn in urns or ():
            yield "dependency", str(urn)
