"""Why a run of the Pulumi CLI failed, put into words once. Pure: it reads what was printed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError

if TYPE_CHECKING:
    from aegis_deploy.model.events import UpdateFailure

_EXIT_STACK_NOT_FOUND = 6


@dataclass(frozen=True)
class Finished:
    """A run of the CLI that has ended.

    Attributes:
        code: Its exit code; negative when a signal ended it.
        stdout: What it printed.
        stderr: What it printed about its failure.
    """

    code: int
    stdout: str = field(repr=False)
    stderr: str = field(repr=False)


_FRAME = re.compile(
    r"\.go:\d+(?: \+0x[0-9a-f]+)?$|^goroutine \d+ \[|^(?:main\.main|panic|runtime[./]\S*)\("
    r"|^(?:[\w.-]+/)+[\w.-]+\.\S+\(.*\)$"
)
"""A line of the stack that a Go program prints: a place in its source, or a function's call."""
BROKEN = re.compile(r"snapshot integrity", re.IGNORECASE)
"""What the engine says of a state that does not hold together."""


def last_lines(text: str, count: int = 12) -> str:
    """The last lines of a text that say something to whoever did not write the program."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    told = [line for line in lines if not _FRAME.search(line.strip())]
    return "\n".join((told or lines)[-count:])


_LOCKED = re.compile(r"the stack is currently locked by|\[409\] Conflict: Another update")
_HOLDER = re.compile(r"created by (?P<who>\S+) \(pid (?P<pid>\d+)\) at (?P<since>\S+)")
_HOW_TO_DECRYPT = (
    "set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE to the one it was made with\n"
    "if it was changed since: give the one of before as PULUMI_CONFIG_PASSPHRASE_OLD\n"
    "if it is: the encryptionsalt in Pulumi.<stack>.yaml is damaged, or another stack's"
)
_WHO_ASKS = (
    "see that the credentials in KUBECONFIG, or those that the stack's settings give to its "
    "providers, have not expired: kubectl auth whoami\n"
    "where the settings have new ones already, a deploy, a rollback or a recovery takes them"
)
_CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"incorrect passphrase|passphrase must be set|failed to decrypt", re.IGNORECASE),
        "the stack's secrets cannot be decrypted with this passphrase",
        _HOW_TO_DECRYPT,
    ),
    (
        re.compile(r"no stack named .* found|stack .* not found", re.IGNORECASE),
        "there is no such stack in this backend",
        "pulumi stack ls",
    ),
    (
        re.compile(
            r"PULUMI_ACCESS_TOKEN must be set|not logged in|requires logging in"
            r"|invalid access token|\[401\]"
            r"|access token from PULUMI_ACCESS_TOKEN\s+error: Unauthorized"
        ),
        "the backend does not know who you are",
        "pulumi login; in a pipeline, a PULUMI_ACCESS_TOKEN that has not expired",
    ),
    (
        re.compile(r"client to provide credentials|\bUnauthorized\b"),
        "the cluster does not know who you are",
        _WHO_ASKS,
    ),
    (
        re.compile(r"no Docker daemon answers|Cannot connect to the Docker daemon", re.IGNORECASE),
        "the Docker daemon, which builds the image, cannot be reached",
        "start Docker, or set DOCKER_HOST to where it listens",
    ),
    (
        re.compile(
            r"no such host|connection refused|i/o timeout|unable to open bucket"
            r"|could not list bucket|could not connect|TLS handshake",
            re.IGNORECASE,
        ),
        "the backend or the cluster cannot be reached",
        "see that it is up and that PULUMI_BACKEND_URL and KUBECONFIG name it; nothing is lost",
    ),
    (
        re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE),
        "the disk that holds the state is full",
        "make room, then: aegis recover; a state that was cut short meanwhile has a copy beside it",
    ),
    (
        re.compile(
            r"could not unmarshal|failed to unmarshal|unexpected end of JSON|snapshot integrity"
            r"|invalid character .* looking for|could not deserialize",
            re.IGNORECASE,
        ),
        "a file of the state cannot be read",
        "aegis recover says which one and what to restore it from",
    ),
)


_INSTALL = re.compile(r"pulumi plugin install \w+ [\w.-]+ \S*[\w]")
_MISSING = re.compile(
    r"no (?P<kind>\w+) plugin 'pulumi-\w+-(?P<name>[\w-]+)' found in the workspace"
    r"(?: at version (?P<version>v\S*\w))?"
)
"""How the engine says it of a plugin that it looked for (`MissingError`, workspace/plugins.go)."""


def installing(text: str) -> str:
    """Return the command that installs the plugin which a run lacked; empty when it lacked none.

    Args:
        text: What the run said.
    """
    said, missing = _INSTALL.search(text), _MISSING.search(text)
    if said:
        return said[0]
    return " ".join(["pulumi plugin install", *filter(None, missing.groups())]) if missing else ""


def is_locked(done: Finished) -> bool:
    """Whether a run was refused because somebody else holds the stack's lock."""
    return bool(done.code and _LOCKED.search(done.stderr + done.stdout))


def explain(done: Finished, what: str) -> AegisError:
    """Put a failed run of the CLI into the project's one form, its cause named where it is known.

    Args:
        done: The run.
        what: What was tried, for the causes that are not known.
    """
    text = done.stderr + "\n" + done.stdout
    if is_locked(done):
        holder = _HOLDER.search(text)
        who = (
            f"{holder['who']} (pid {holder['pid']}) since {holder['since']}"
            if holder
            else last_lines(done.stderr, 3)
        )
        return AegisError(
            what="the stack is locked by another update",
            why=who,
            next="wait for it (--wait-lock 5m), or `aegis recover` if its process is gone",
        )
    why = last_lines(done.stderr or done.stdout)
    if done.code == _EXIT_STACK_NOT_FOUND:
        return AegisError(what="there is no such stack in this backend", why=why)
    for pattern, cause, following in _CAUSES:
        if pattern.search(text):
            return AegisError(what=cause, why=why, next=following)
    return AegisError(what=what, why=why)


def unusable(done: Finished, what: str, reasons: Sequence[UpdateFailure]) -> AegisError:
    """Put a failed run that did nothing into the same form, with what its resources said.

    Args:
        done: The run.
        what: What was tried, for the causes that are not known.
        reasons: What the engine told of it; one without a URN is of the whole run.
    """
    error = explain(done, what)
    # What a resource said is whole; the end of what was printed may begin in its middle.
    if not is_locked(done) and (error.what == what or any(reason.urn for reason in reasons)):
        error.why = "\n".join(reason.message for reason in reasons)
    return error
