"""What the stand-in of Pulumi Cloud keeps: stacks with tags and states, updates, leases, secrets.

No word of HTTP here; what is wrong is a `Refused` with the status the service would answer.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from tests.integration.cloud_journal import SCHEMA, Journal

LEASE_SECONDS = 300.0
"""The longest lease; the CLI renews it when half of it is over."""
PREVIEW = "preview"
_TAG = re.compile(r"[a-zA-Z0-9-_.:]{1,40}")
_LONGEST_TAG = 256
_VERBATIM = re.compile(r'"untypedDeployment"\s*:\s*')


class Refused(Exception):  # noqa: N818 - it is an answer, not a fault
    """A request that is answered with a status of its own.

    Attributes:
        status: The HTTP status.
        message: What the answer says.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass
class Update:
    """An operation of the engine: an update, a preview, a refresh, a destroy, an import.

    Attributes:
        kind: Which.
        request: The body it was created with.
        who: Whose token created it.
        id: Names it.
        version: Its number in the stack's history; None before its start, and for previews.
        result: As history has it.
        token: Authorizes what belongs to it, until it expires.
        expires: When that is.
        state: The state as it is now: ``{"version": 3, "deployment": {...}}``.
        text: The very bytes of that state, which deltas refer to.
        journal: What was begun and ended, when it keeps one.
    """

    kind: str
    request: Mapping[str, Any]
    who: str
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    version: int | None = None
    result: str = "not-started"
    token: str = ""
    expires: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    state: dict[str, Any] = field(default_factory=dict)
    text: bytes = b""
    journal: Journal | None = None
    changes: Mapping[str, int] = field(default_factory=dict)
    cancelled: bool = False

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self.result == "in-progress"

    def authorize(self, token: str, now: float) -> None:
        """Refuse whoever does not hold the lease."""
        if not self.runs:
            raise Refused(409, "Conflict: The Update has already completed")
        if token != self.token or now > self.expires:
            raise Refused(403, "Forbidden: the lease of the update is not held")

    def save(self, body: Mapping[str, Any]) -> None:
        """A whole state, in whatever form the service likes."""
        self.state = {"version": body["version"], "deployment": body.get("deployment")}

    def save_verbatim(self, raw: bytes) -> None:
        """A whole state, to the byte."""
        text = raw.decode()
        start = _VERBATIM.search(text)
        if start is None:
            raise Refused(400, "Bad Request: no untypedDeployment")
        state, end = json.JSONDecoder().raw_decode(text, start.end())
        self.state, self.text = state, text[start.end() : end].encode()

    def save_delta(self, body: Mapping[str, Any]) -> None:
        """What differs from the state before, to the byte."""
        made, place = bytearray(), 0
        for edit in body["deploymentDelta"]:
            start, end = (edit["Span"][side]["offset"] for side in ("start", "end"))
            made += self.text[place:start] + edit["NewText"].encode()
            place = end
        made += self.text[place:]
        if hashlib.sha256(made).hexdigest() != body["checkpointHash"]:
            raise Refused(400, "Bad Request: the checkpoint's hash is another")
        self.text, self.state = bytes(made), json.loads(made)

    def end(self, result: str, now: float) -> None:
        """End it."""
        self.result, self.ended = result, now
        if self.journal is not None:
            self.state = {"version": SCHEMA, "deployment": self.journal.deployment()}

    def info(self) -> dict[str, Any]:
        """What history says of it."""
        metadata = self.request.get("metadata") or {}
        return {
            "kind": self.kind,
            "startTime": int(self.started),
            "message": metadata.get("message", ""),
            "environment": metadata.get("environment") or {},
            "config": self.request.get("config") or {},
            "result": self.result,
            "endTime": int(self.ended),
            "version": self.version,
            "resourceChanges": dict(self.changes),
        }


@dataclass
class Stack:
    """A stack.

    Attributes:
        name: ``org/project/stack``.
        tags: Its tags, all of which are replaced whenever one is changed.
        state: Its state; None until there is one.
        updates: Its operations but for previews, oldest first.
        previews: Its previews.
        crypter: Encrypts what belongs to it.
    """

    name: str
    tags: dict[str, str]
    clock: Callable[[], float] = time.time
    lease_seconds: float = LEASE_SECONDS
    journals: bool = True
    state: dict[str, Any] | None = None
    updates: list[Update] = field(default_factory=list)
    previews: list[Update] = field(default_factory=list)
    waiting: dict[str, Update] = field(default_factory=dict)
    crypter: Fernet = field(default_factory=lambda: Fernet(Fernet.generate_key()), repr=False)

    @property
    def running(self) -> Update | None:
        """The operation that is in progress and holds its lease; one that lost it has failed."""
        last = self.updates[-1] if self.updates else None
        if last is None or not last.runs:
            return None
        if self.clock() > last.expires:
            self.settle(last, "failed")
            return None
        return last

    def settle(self, update: Update, result: str) -> None:
        """End an operation; what it left is the stack's state now."""
        update.end(result, self.clock())
        if update.kind != PREVIEW and update.state:
            self.state = update.state

    def find(self, name: str) -> Update:
        """An operation."""
        for update in (*self.updates, *self.previews, *self.waiting.values()):
            if update.id == name:
                return update
        raise Refused(404, "Not Found: Update not found")

    def create(self, kind: str, request: Mapping[str, Any], who: str) -> Update:
        """Create an operation, which does nothing yet."""
        made = Update(kind, request, who)
        self.waiting[made.id] = made
        return made

    def start(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Start an operation: only one at a time, of those that change anything."""
        update = self.waiting.get(name)
        if update is None:
            raise Refused(409, "Conflict: The Update has already been started")
        self.require_free(update.kind)
        if body.get("tags") is not None:
            self.retag(body["tags"])
        del self.waiting[name]
        now = self.clock()
        update.result, update.started, update.token = "in-progress", now, uuid.uuid4().hex
        update.expires = now + self.lease_seconds
        update.state = dict(self.state or {})
        if update.kind == PREVIEW:
            self.previews.append(update)
        else:
            self.updates.append(update)
            update.version = len(self.updates)
            if self.journals and body.get("journalVersion") == 1:
                update.journal = Journal((self.state or {}).get("deployment"))
        return {
            "version": len(self.updates),
            "token": update.token,
            "tokenExpiration": int(update.expires),
            "journalVersion": 0 if update.journal is None else 1,
        }

    def require_free(self, kind: str) -> None:
        """Refuse what would change a stack that somebody changes."""
        if kind != PREVIEW and self.running is not None:
            raise Refused(409, "Conflict: Another update is currently in progress.")

    def retag(self, tags: Mapping[str, str]) -> None:
        """Replace all tags."""
        for name, value in tags.items():
            if not _TAG.fullmatch(name):
                raise Refused(400, f"Bad Request: {name!r} is no name of a tag")
            if len(value) > _LONGEST_TAG:
                raise Refused(400, f"Bad Request: the tag {name} is too long")
        self.tags = dict(tags)

    def imported(self, state: Mapping[str, Any], who: str) -> Update:
        """Put a state in the place of the stack's, as an operation of its own."""
        self.require_free("import")
        update = self.create("import", {}, who)
        self.start(update.id, {})
        update.journal, update.state = None, dict(state)
        self.settle(update, "succeeded")
        return update

    def exported(self, version: int | None) -> dict[str, Any]:
        """The state now, or as one operation left it."""
        running = self.running
        if version is None:
            if running is not None and running.journal is not None:
                return {"version": SCHEMA, "deployment": running.journal.deployment()}
            state = self.state if running is None else running.state
            return dict(state or {"version": SCHEMA, "deployment": None})
        if not 1 <= version <= len(self.updates):
            raise Refused(404, f"Not Found: there is no version {version}")
        return dict(self.updates[version - 1].state)

    def cancel(self, name: str) -> None:
        """End the operation that runs, whoever runs it."""
        update = self.find(name)
        if not update.runs:
            raise Refused(409, "Conflict: The Update has already completed")
        update.cancelled = True
        self.settle(update, "failed")

    def encrypt(self, plain: bytes) -> bytes:
        """Encrypt."""
        return self.crypter.encrypt(plain)

    def decrypt(self, sealed: bytes) -> bytes:
        """Decrypt what was encrypted for this stack."""
        try:
            return self.crypter.decrypt(sealed)
        except InvalidToken as error:
            raise Refused(400, "Bad Request: the ciphertext is not of this stack") from error

    def described(self) -> dict[str, Any]:
        """What the service says of the stack."""
        org, project, name = self.name.split("/")
        last = self.updates[-1] if self.updates else None
        running = self.running
        said: dict[str, Any] = {
            "id": self.name,
            "orgName": org,
            "projectName": project,
            "stackName": name,
            "activeUpdate": "" if last is None else last.id,
            "tags": self.tags,
            "version": len(self.updates),
        }
        if running is not None:
            said["currentOperation"] = {
                "kind": running.kind,
                "author": running.who,
                "started": int(running.started),
            }
        return said
