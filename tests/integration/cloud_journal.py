"""The journal of an update, replayed: what the stand-in of Pulumi Cloud makes a state of.

A CLI that was told so at an update's start sends no states but what it began and what it ended, in
``PATCH .../journalentries``. The service keeps them and makes the state of them and of the one
before. The rules are those by which the CLI checks itself (``JournalReplayer`` in
``pkg/backend/journal.go``, Pulumi 3.259.0; the entries: ``sdk/go/common/apitype/journal.go``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

Resource = dict[str, Any]
SCHEMA = 3


class Kind(IntEnum):
    """What an entry says."""

    BEGIN = 0
    SUCCESS = 1
    FAILURE = 2
    REFRESHED = 3
    OUTPUTS = 4
    WRITE = 5
    SECRETS = 6
    REBUILT = 7
    EXTENSION = 8
    SNIPPETS = 9


class Journal:
    """A state, and what was written down since.

    Args:
        base: The deployment of before.
    """

    def __init__(self, base: Mapping[str, Any] | None) -> None:
        self.entries: list[Mapping[str, Any]] = []
        self._base: dict[str, Any] = copy.deepcopy(dict(base or {}))
        self._clear()

    def _clear(self) -> None:
        self._made: list[Resource] = []
        self._place: dict[int, int] = {}
        self._begun: dict[int, Mapping[str, Any]] = {}
        self._unmade: set[int] = set()
        self._gone: set[int] = set()
        self._instead: dict[int, Resource] = {}
        self._dying: set[int] = set()
        self._replaced: set[int] = set()
        self._refreshed = False

    def add(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Write down what came; one that came twice counts once."""
        known = {entry["sequenceID"] for entry in self.entries}
        for entry in entries:
            if entry["sequenceID"] not in known:
                self.entries.append(entry)
                self._apply(entry)

    def _apply(self, entry: Mapping[str, Any]) -> None:
        kind, name, state = Kind(entry["kind"]), entry["operationID"], entry.get("state")
        if kind is Kind.BEGIN:
            self._begun[name] = entry
        elif kind in {Kind.SUCCESS, Kind.FAILURE, Kind.REFRESHED}:
            self._begun.pop(name, None)
        if kind is Kind.SUCCESS:
            self._succeed(entry, name, state)
        elif kind is Kind.REFRESHED:
            self._refreshed = True
            self._put(entry, state)
        elif kind is Kind.OUTPUTS and state is not None:
            self._put(entry, state)
        elif kind is Kind.WRITE:
            self._base = copy.deepcopy(dict(entry["newSnapshot"]))
        elif kind is Kind.SECRETS:
            self._base["secrets_providers"] = entry["secretsProvider"]
        elif kind is Kind.REBUILT:
            self._base = self.deployment()
            self._clear()
        elif kind in {Kind.EXTENSION, Kind.SNIPPETS}:
            raise NotImplementedError(f"journal entries of the kind {kind.name}")

    def _succeed(self, entry: Mapping[str, Any], name: int, state: Resource | None) -> None:
        if state is not None:
            self._place[name] = len(self._made)
            self._made.append(copy.deepcopy(state))
        for key, into in (
            ("removeOld", self._gone),
            ("removeNew", self._unmade),
            ("deleteOld", self._dying),
            ("pendingReplacementOld", self._replaced),
        ):
            if entry.get(key) is not None:
                into.add(entry[key])
        for key, mark in (("deleteNew", "delete"), ("pendingReplacementNew", "pendingReplacement")):
            if entry.get(key) is not None:
                self._made[self._place[entry[key]]][mark] = True
        self._refreshed = self._refreshed or bool(entry.get("isRefresh"))

    def _put(self, entry: Mapping[str, Any], state: Resource | None) -> None:
        """Another state, or none, in the place of an old or a new one."""
        old, new = entry.get("removeOld"), entry.get("removeNew")
        if old is not None and state is None:
            self._gone.add(old)
        elif old is not None and state is not None:
            self._instead[old] = copy.deepcopy(state)
        if new is not None and state is None:
            self._unmade.add(new)
        elif new is not None and state is not None:
            self._made[self._place[new]] = copy.deepcopy(state)

    def deployment(self) -> dict[str, Any]:
        """The state: what was made, what is left of before, what was begun and never ended."""
        unmade = {self._place[name] for name in self._unmade}
        resources = [it for place, it in enumerate(self._made) if place not in unmade]
        for place, old in enumerate(self._base.get("resources") or ()):
            if place in self._gone:
                continue
            if place in self._instead:
                resources.append(self._instead[place])
                continue
            kept = dict(old)
            if place in self._replaced:
                kept["pendingReplacement"] = True
            if place in self._dying:
                kept["delete"] = True
            resources.append(kept)
        if self._refreshed:
            _drop_dangling(resources)
        pending = [it["operation"] for it in self._begun.values() if it.get("operation")]
        # A creation that nobody has confirmed stays until somebody settles it.
        before = self._base.get("pending_operations") or ()
        pending += [it for it in before if it["type"] == "creating"]
        made = {key: it for key, it in self._base.items() if key != "pending_operations"}
        made["manifest"] = {**(made.get("manifest") or {}), "time": datetime.now(UTC).isoformat()}
        made["manifest"].setdefault("magic", "")
        made["manifest"].setdefault("version", "")
        made["metadata"] = made.get("metadata") or {}
        made["resources"] = copy.deepcopy(resources)
        if pending:
            made["pending_operations"] = copy.deepcopy(pending)
        return made


def _drop_dangling(resources: list[Resource]) -> None:
    """Forget references to what a refresh has found to be gone."""
    known: set[str] = set()
    parents: dict[str, str] = {}
    for resource in resources:
        if resource.get("dependencies"):
            resource["dependencies"] = [it for it in resource["dependencies"] if it in known]
        if resource.get("propertyDependencies"):
            kept = {
                key: [it for it in urns or () if it in known]
                for key, urns in resource["propertyDependencies"].items()
            }
            resource["propertyDependencies"] = {key: urns for key, urns in kept.items() if urns}
        if resource.get("deletedWith") and resource["deletedWith"] not in known:
            del resource["deletedWith"]
        known.add(resource["urn"])
    for resource in resources:
        parent = resource.get("parent")
        if parent and parent not in known:
            resource["parent"] = parents.get(parent, "")
        parents[resource["urn"]] = resource.get("parent", "")
