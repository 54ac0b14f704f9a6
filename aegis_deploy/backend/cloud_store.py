"""A service as the store: it numbers updates, keeps their checkpoints, lets one run at a time.

It is asked directly (:mod:`backend.cloud_api`); what changes a state goes through the CLI.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from aegis_deploy.backend.artifacts import ArtifactStore, own_shelf
from aegis_deploy.backend.cloud_api import Service
from aegis_deploy.backend.history_files import make_release
from aegis_deploy.backend.protocol import Lock, Recorded
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.release import SECURE, Release
from aegis_deploy.pulumi_cli.cli_errors import explain
from aegis_deploy.pulumi_cli.engine import Engine

CLAIM = "aegis:claim"
_CLAIM_SECONDS = 2.0
_MARK_SECONDS = 0.5
"""Longer than another takes between reading all tags and writing them back."""
_TRIES = 5
_ID = 15
"""A claim begins with what names it: a bracket, a quote and twelve digits, a quote."""
_WHOLE = 3
_ENDED = "has already completed"
_PREVIEW = "preview"
_RUNNING = "in-progress"
_AUTOMATED = "auto."


@dataclass
class ServiceStore:
    """A stack at a service.

    Attributes:
        engine: The CLI.
        reference: The stack's name on its command line.
        url: The service's address.
        token: What it knows the caller by; None when that is not to be found.
        sleep: Waits.
    """

    engine: Engine = field(repr=False)
    reference: str
    url: str
    token: str | None = field(repr=False)
    insecure: bool = False
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    @cached_property
    def service(self) -> Service:
        """The stack at the service."""
        if self.token is None:
            raise AegisError(
                what="the backend does not know who you are",
                why=f"neither PULUMI_ACCESS_TOKEN nor the CLI's credentials.json has a token for "
                f"{self.url}, or that file is encrypted",
                next="set PULUMI_ACCESS_TOKEN, or: pulumi login",
            )
        whole = self.reference
        if whole.count("/") != _WHOLE - 1:
            # Whose stack it is, and of which project, only the CLI knows.
            flags = ["--show-name", "--fully-qualify-stack-names", "--stack", self.reference]
            done = self.engine.run(["stack", *flags])
            if done.code:
                raise explain(done, f"the stack {self.reference} could not be opened")
            whole = done.stdout.strip()
        return Service(self.url, self.token, whole, self.insecure)

    def require(self) -> None:  # noqa: D102 - the protocol says it
        self.service.described()

    def count(self) -> int | None:  # noqa: D102
        return None

    def releases(  # noqa: D102
        self, limit: int | None = None, *, newest: int | None = None
    ) -> list[Release]:
        if newest is not None:
            return [it for it in self.releases() if it.number <= newest][:limit]
        found = self.service.updates(limit)
        if limit is not None and len(found) < limit and found and found[-1]["version"] > 1:
            found = self.service.updates()[:limit]  # It gives fewer on a page than were asked for.
        return [
            make_release(int(item["version"]), str(item["version"]), _as_a_file(item))
            for item in found
        ]

    def state(self) -> dict[str, Any] | None:  # noqa: D102
        return self.service.exported()

    def checkpoint(self, release: Release) -> dict[str, Any] | None:  # noqa: D102
        return dict(self.service.exported(release.number)["deployment"])

    def outputs(self, release: Release) -> dict[str, Any] | None:  # noqa: D102, ARG002
        return None

    def recorded(self, release: Release) -> Recorded | None:  # noqa: D102, ARG002
        return None

    def tags(self) -> Mapping[str, str]:  # noqa: D102
        return {**(self.service.described().get("tags") or {})}

    def change_tags(self, change: Mapping[str, str | None]) -> bool:  # noqa: D102
        for _ in range(_TRIES):
            self._write(change)
            # Whoever changes another tag just now writes all of them back as they had read them.
            self.sleep(_MARK_SECONDS)
            now = self.tags()
            if all(now.get(name) == value for name, value in change.items()):
                return True
        raise AegisError(
            what=f"the tags of {self.reference} could not be changed",
            why=f"somebody else changed them {_TRIES} times meanwhile: {', '.join(change)}",
            state="what they say of the stack's releases is as it was",
            next="try again",
        )

    def adopt(self) -> None:  # noqa: D102
        return  # The service renames all that it has.

    def require_room(self) -> None:  # noqa: D102
        return

    def keep_tags(self) -> None:  # noqa: D102
        return

    @contextmanager
    def recording(self) -> Iterator[list[str]]:  # noqa: D102
        before, made = self._last(), list[str]()
        try:
            yield made
        finally:
            with suppress(AegisError):
                made += [str(it) for it in range(before + 1, self._last() + 1)]

    def stamp(self, key: str, stamp: str) -> None:  # noqa: D102, ARG002
        return  # It counts by itself.

    def _last(self) -> int:
        """The number that the service gave its last operation."""
        return max((it.number for it in self.releases(1)), default=0)

    def locks(self) -> list[Lock]:  # noqa: D102
        described = self.service.described()
        operation = described.get("currentOperation")
        if not operation or operation.get("kind") == _PREVIEW:
            return []
        author, started = str(operation.get("author") or ""), operation.get("started")
        newest = next(iter(self.releases(1)), None)
        told = {} if newest is None or newest.result != _RUNNING else newest.environment
        aegis = told.get("ci.system") == "aegis"
        who = newest.who if aegis and newest is not None else author
        return [
            Lock(
                place=f"the {operation.get('kind')} that {self.url} has in progress, of {author},",
                who=who,
                host=who.rpartition("@")[2] if aegis else "",
                since=datetime.fromtimestamp(started, UTC) if started else None,
                key=str(described.get("activeUpdate") or ""),
                automated=told.get("exec.kind", "").startswith(_AUTOMATED),
            )
        ]

    def release_lock(self, lock: Lock) -> None:  # noqa: D102
        if lock.key and self.service.described().get("activeUpdate") not in (None, "", lock.key):
            return  # That one is over, and somebody else's has begun, which is not to be cancelled.
        done = self.engine.run(["cancel", "--yes", "--stack", self.reference])
        if done.code and _ENDED not in done.stderr + done.stdout:
            raise explain(done, f"the update of {self.reference} could not be cancelled")

    def unfinished(self) -> bool:  # noqa: D102
        try:
            return bool(self.locks())
        except AegisError:
            return True  # It is not there, so that it was not told of any end.

    @property
    def beat_seconds(self) -> float:  # noqa: D102
        return 15.0  # Each is two requests to somebody else's service.

    @property
    def timelines(self) -> ArtifactStore:  # noqa: D102
        # Tags are too short, and nothing else of ours can be kept there.
        stack = self.reference.rpartition("/")[2]
        names = ("timelines", self.url, str(self.engine.directory), stack)
        return own_shelf(self.engine.environment, *names)

    def claim(self) -> str | None:  # noqa: D102
        return self.tags().get(CLAIM)

    def swap_claim(self, before: str | None, after: str | None) -> bool:  # noqa: D102
        found, own = self.claim(), _is_same(before, after)
        # An update's start writes all tags back as its CLI had read them, so that a claim's own
        # older beat may be there again.
        if found != before and not (own and _is_same(found, before)):
            return False
        with self.engine.tagging:
            self._write({CLAIM: after})
        if after is None or own:
            return True
        # Tags know no "only if absent": whoever wrote last has it, once both have looked again.
        self.sleep(_CLAIM_SECONDS)
        return _is_same(self.claim(), after)

    def _write(self, changes: Mapping[str, str | None]) -> None:
        tags = {**self.tags(), **changes}
        self.service.retag({name: value for name, value in tags.items() if value is not None})


def _is_same(one: str | None, other: str | None) -> bool:
    """Whether two texts are the same claim, at whatever beat."""
    return one is not None and other is not None and one[:_ID] == other[:_ID]


def _as_a_file(item: Mapping[str, Any]) -> dict[str, Any]:
    """An operation as a history file has it: each setting is its own value."""
    config = {name: _setting(value) for name, value in (item.get("config") or {}).items()}
    return {**item, "config": config}


def _setting(value: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON value
    text = value.get("string", "")
    if value.get("object"):
        return json.loads(text)
    return {SECURE: text} if value.get("secret") else text
