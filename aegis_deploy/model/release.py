"""What a stack's history is made of: releases, their settings, and what each one deployed.

Owns the words only. Reading them is `backend` and `history`; deciding with them is `target`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aegis_deploy.model.database.schema import CodeSchema

SECURE = "secure"
MASK = "[secret]"
AUTOMATED = "aegis: automated rollback"
"""What the message of a rollback begins with that nobody typed."""
BEGUN = "begun"
"""The result of a rollback's first step, which took away what was in the way of the rest."""
_BEGINS = re.compile(r"aegis: (?:automated )?rollback to release \d+ begins\b")

_PARTLY = frozenset({"target", "target-replace", "exclude", "exclude-protected"})
"""The CLI's flags by which an operation leaves resources alone."""
_SPOKEN = {"resource-import": "resource import"}
_RESTORES = re.compile(r"aegis: (?:automated )?rollback to release (\d+)\b")


@dataclass(frozen=True)
class ConfigValue:
    """One setting, in the form Pulumi records it.

    Attributes:
        value: The setting: text, or nested objects and lists. Where a secret is still encrypted
            its place is taken by ``{"secure": ciphertext}``; None when it was never read.
        secret: Whether the setting is a secret or holds one.
        encrypted: Whether the secrets in it are ciphertexts. A secret that is not must not be
            printed or written.
    """

    value: Any = field(repr=False)
    secret: bool = False
    encrypted: bool = False

    @classmethod
    def recorded(cls, raw: Any) -> ConfigValue:  # noqa: ANN401 - any JSON value
        """Make a setting from its place in a config file or a history file."""
        secret = _holds_secret(raw)
        return cls(raw, secret=secret, encrypted=secret)

    @property
    def as_recorded(self) -> Any:  # noqa: ANN401 - any JSON value
        """The setting as a history has it, where a file has numbers and truth values as such."""
        if isinstance(self.value, (bool, int, float)):
            return json.dumps(self.value)
        return self.value

    @property
    def shown(self) -> str:
        """The setting as a person may see it: secrets are masked."""
        if not self.secret:
            return self.value if isinstance(self.value, str) else _compact(self.value)
        if self.encrypted and not _is_ciphertext(self.value):
            return _compact(opened(self.value, lambda _: MASK))
        return MASK


Config = Mapping[str, ConfigValue]
"""Settings, by their whole names."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One operation of a stack's history.

    Attributes:
        number: 1 is the stack's first recorded operation.
        key: What names it in the backend: the nanoseconds in a history file's name, a service's
            version, or the start and the place in the history where a store has neither.
        kind: update, refresh, destroy, import and so on.
        result: succeeded, failed, in-progress; or begun, of a rollback that another goes on with.
        started: When it began.
        ended: When it ended; None when it has not, or was never recorded to.
        message: What was given as its message.
        who: Who ran it, as far as it says.
        git_commit: The commit it ran from.
        config: The settings it ran with.
        environment: Everything else recorded about the run.
        changes: How many resources were created, updated, deleted, left the same.
        verified: Whether its gate passed.
        current: Whether it is the last one that could change what is deployed.
        refused: Whether it was rolled back, and may not be deployed again unless insisted on.
        restores: The release it restored, when it is a rollback.
    """

    number: int
    key: str
    kind: str
    result: str
    started: datetime
    ended: datetime | None = None
    message: str = ""
    who: str = ""
    git_commit: str | None = None
    config: Mapping[str, ConfigValue] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    changes: Mapping[str, int] = field(default_factory=dict)
    verified: bool = False
    current: bool = False
    refused: bool = False
    restores: int | None = None

    @property
    def succeeded(self) -> bool:
        """Whether it ended well."""
        return self.result == "succeeded"

    @property
    def deploys(self) -> bool:
        """Whether it is of a kind that can change what is deployed."""
        return self.kind in DEPLOYING or self.kind == UNKNOWN

    @property
    def begun(self) -> bool:
        """Whether it is only the first step of a rollback, and another release goes on with it."""
        return self.result == BEGUN

    @property
    def targeted(self) -> bool:
        """Whether it was told to leave some resources alone: ``--target``, ``--exclude``.

        The CLI records the names of the flags that it was given, and of the environment variables
        that stand for them (3.259.0: ``pkg/cmd/pulumi/metadata``). A rollback leaves images alone,
        which is no part of the release left out.
        """
        return self.restores is None and not _PARTLY.isdisjoint(_flags(self.environment))

    @property
    def whole(self) -> bool:
        """Whether it deployed a release, all of it.

        A targeted update deployed a part, a destroy left nothing, an import brings what was made
        elsewhere: none of them is what somebody goes back to.
        """
        return self.kind == UNKNOWN or (self.kind == "update" and not self.targeted)

    @property
    def emptied(self) -> bool:
        """Whether it left nothing of the stack."""
        return self.kind == "destroy" and not self.targeted

    @property
    def operation(self) -> str:
        """What it was, in a person's words: ``update``, ``targeted update``, ``destroy``."""
        word = _SPOKEN.get(self.kind, self.kind)
        return f"targeted {word}" if self.targeted else word

    @property
    def automated(self) -> bool:
        """Whether it is a rollback that nobody typed."""
        return self.restores is not None and self.message.startswith(AUTOMATED)

    @property
    def unchanged(self) -> bool:
        """Whether it changed nothing, so that it is the release before it once more."""
        kinds = {kind for kind, count in self.changes.items() if count}
        return self.kind == "update" and self.succeeded and kinds == {"same"}


UNKNOWN = "unknown"
"""The kind of one whose record cannot be read: it may have deployed, and counts as if it had."""
DEPLOYING = frozenset({"update", "destroy", "resource-import"})
"""The kinds after which something else may be running than before.

A refresh only looks. An ``import`` is a state put in the place of the stack's by hand, or by
`aegis recover`, which a service alone records: what runs is what ran before.
"""


@dataclass(frozen=True)
class Deployed:
    """What a release deployed, as its checkpoint says.

    Attributes:
        version: The service's version, from the program's outputs or the objects' labels.
        image_digest: The image's digest, ``sha256:...``; the main workload's where there are many.
        images: Every image its workloads ran.
        schema: Which databases its code works with; None when it does not say.
        dataset: The data set that it works on; empty when it names none.
    """

    version: str | None = None
    image_digest: str | None = None
    images: tuple[str, ...] = ()
    schema: CodeSchema | None = None
    dataset: str = ""


def restored_by(message: str) -> int | None:
    """The release that an update with this message restored; None when it is no rollback."""
    match = _RESTORES.match(message)
    return int(match[1]) if match else None


def beginning(message: str, what: str) -> str:
    """Word the message of a rollback's first step.

    Args:
        message: The message of the rollback.
        what: What the step does.
    """
    match = _RESTORES.match(message)
    return f"{match[0] if match else message} begins: {what}"


def ended_as(result: str, message: str) -> str:
    """What an operation came to: a rollback's first step is no rollback, however well it ended.

    Args:
        result: What the history says it came to.
        message: Its message.
    """
    return BEGUN if result == "succeeded" and _BEGINS.match(message) else result


def _flags(environment: Mapping[str, str]) -> set[str]:
    """The flags that the CLI was given, as far as its record says."""
    found = set()
    for name, value in environment.items():
        _, is_flag, flag = name.partition("pulumi.flag.")
        _, is_option, option = name.partition("pulumi.env.PULUMI_OPTION_")
        if value != "false" and (is_flag or is_option):
            found.add(flag if is_flag else option.lower().replace("_", "-"))
    return found


def _is_ciphertext(raw: Any) -> bool:  # noqa: ANN401 - any JSON value
    return isinstance(raw, dict) and list(raw) == [SECURE] and isinstance(raw[SECURE], str)


def _holds_secret(raw: Any) -> bool:  # noqa: ANN401 - any JSON value
    if _is_ciphertext(raw):
        return True
    inner = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, list) else ()
    return any(_holds_secret(item) for item in inner)


def opened(raw: Any, decrypted: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON value
    """Return a setting with each ciphertext in it replaced by what is in it.

    Args:
        raw: The setting as Pulumi records it.
        decrypted: Decrypts a ciphertext.
    """
    if _is_ciphertext(raw):
        return decrypted(raw[SECURE])
    if isinstance(raw, dict):
        return {key: opened(inner, decrypted) for key, inner in raw.items()}
    return [opened(inner, decrypted) for inner in raw] if isinstance(raw, list) else raw


def _compact(raw: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(raw, sort_keys=True, ensure_ascii=False)
