"""Reading what the CLI writes: history files, its listing of history, compressed or not."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from aegis_deploy.model.release import UNKNOWN, ConfigValue, Release, ended_as, restored_by

UNREADABLE = "unreadable"
"""The result of a release whose history file cannot be read; its message says which and why."""
FAULTS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    EOFError,
    zlib.error,
)
"""What reading a file that is damaged raises."""
HEAD = 16_384
"""So many bytes of a checkpoint have the stack's outputs in them, unless they are very long."""
_STACK = "pulumi:pulumi:Stack"
_FIRST_RESOURCE = re.compile(r'"resources"\s*:\s*\[\s*\{')
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def make_release(number: int, key: str, raw: Mapping[str, Any]) -> Release:
    """Make a release of a history file's content or of an item of the CLI's listing."""
    environment = raw.get("environment") or {}
    message = raw.get("message") or ""
    kind, result = raw["kind"], raw.get("result") or "in-progress"
    if not isinstance(kind, str) or not isinstance(result, str):
        raise TypeError("its kind or its result is no text")
    return Release(
        number=number,
        key=key,
        kind=kind,
        result=ended_as(result, message),
        started=_time(raw["startTime"]),
        ended=_time(raw["endTime"]) if raw.get("endTime") else None,
        message=message,
        who=_who(environment),
        git_commit=environment.get("git.head"),
        config={name: _setting(value) for name, value in (raw.get("config") or {}).items()},
        environment=environment,
        changes=raw.get("resourceChanges") or {},
        restores=restored_by(message),
    )


def unreadable(number: int, key: str, place: str, error: Exception) -> Release:
    """Make a release of a history file that cannot be read; its message says which and why."""
    return Release(
        number=number,
        key=key,
        kind=UNKNOWN,
        result=UNREADABLE,
        started=datetime.fromtimestamp(int(key) / 1e9, UTC),
        message=f"{place}: {fault_of(error)}",
    )


def state_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state in a state file's content, as `pulumi stack export` has it.

    Raises:
        KeyError: It has another shape; so say all of `FAULTS`.
    """
    latest = content["checkpoint"]["latest"] or {}
    for resource in latest.get("resources") or ():
        _ = resource["urn"], resource["type"]
    return {"version": content["version"], "deployment": latest}


def outputs_in(head: bytes) -> dict[str, Any] | None:
    """Return the stack's outputs from a checkpoint's first bytes; None when they are not there.

    The stack is the first resource; the others, nearly all of the file, are not read.

    Raises:
        ValueError: The resource does not end in these bytes.
    """
    text = head.decode(errors="ignore")
    start = _FIRST_RESOURCE.search(text)
    found = json.JSONDecoder().raw_decode(text, start.end() - 1)[0] if start else {}
    return dict(found.get("outputs") or {}) if found.get("type") == _STACK else None


def _setting(raw: Any) -> ConfigValue:  # noqa: ANN401 - any JSON value
    if isinstance(raw, str):
        return ConfigValue(raw)
    if isinstance(raw, dict) and isinstance(raw.get("secret"), bool):
        # The CLI's listing, where a file has the value itself.
        return ConfigValue(raw.get("objectValue", raw.get("value")), secret=raw["secret"])
    return ConfigValue.recorded(raw)


def _who(environment: Mapping[str, str]) -> str:
    """Who ran an update: what a pipeline or `aegis` says, or else who made the commit."""
    system, build = environment.get("ci.system"), environment.get("ci.build.id", "")
    if system:
        return build if system == "aegis" else f"{system} {build}".strip()
    return environment.get("git.committer") or environment.get("git.author") or ""


def _time(raw: Any) -> datetime:  # noqa: ANN401 - seconds in a file, text from the CLI
    if isinstance(raw, (int, float)):
        return datetime.fromtimestamp(raw, UTC)
    return datetime.strptime(raw, _TIME).replace(tzinfo=UTC)


def key_of(name: str) -> str:
    """The nanoseconds in a history file's name."""
    return name.partition(".history.")[0].rpartition("-")[2]


def unpack(content: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Read JSON that may be compressed.

    Raises:
        ValueError: It is something else; so say all of `FAULTS`.
    """
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        content = _unpack_zstd(content)
    return json.loads(content)


def retagged(content: bytes | None, change: Mapping[str, str | None]) -> bytes:
    """Return the content of the CLI's file of tags with some set, or removed (None).

    Args:
        content: The file as it is; None where there is none yet.
        change: The tags.

    Raises:
        ValueError: It is something else; so say all of `FAULTS`.
    """
    whole: Any = {"version": 1, "tags": {}} if content is None else json.loads(content)
    tags = {**(whole["tags"] or {}), **change}
    whole["tags"] = {name: value for name, value in tags.items() if value is not None}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()


def numbered(
    names: Sequence[str], limit: int | None = None, newest: int | None = None
) -> list[tuple[int, str]]:
    """Number the records of a history, and return some of them, newest first.

    Args:
        names: The names of all, oldest first.
        limit: How many.
        newest: The number of the first one; None means the last there is.
    """
    found = list(enumerate(names[:newest], start=1))
    found.reverse()
    return found[:limit]


def restamped(before: Sequence[str], after: Sequence[str]) -> list[tuple[str, str]]:
    """Say which records of a history are new, and by which keys they count as the last ones.

    Args:
        before: The names of the records before.
        after: Their names now.

    Returns:
        The key and the one it is to have, the oldest record first.
    """
    known, last = set(before), int(key_of(before[-1])) if before else 0
    found = []
    for name in after:
        if name not in known:
            last = max(int(key_of(name)), last + 1)
            found.append((key_of(name), str(last)))
    return found


def has_zstd() -> bool:
    """Whether files compressed with zstd can be read here; the CLI always can."""
    try:
        import_module("zstandard")
    except ImportError:
        return False
    return True


def are_legible(names: Iterable[str]) -> bool:
    """Whether files of these names can be read here."""
    return not any(name.endswith(".zst") for name in names) or has_zstd()


def _unpack_zstd(content: bytes) -> bytes:
    try:
        zstandard: Any = import_module("zstandard")
    except ImportError as error:
        raise ValueError(
            "it is compressed with zstd, and there is no `zstandard` to read it"
        ) from error
    try:
        return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(content))
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error


def fault_of(error: Exception) -> str:
    """Why a file cannot be read, in a person's words."""
    said = str(error) or type(error).__name__
    if isinstance(error, json.JSONDecodeError):
        size = len(error.doc)
        where = f"it is not JSON: {error.msg} at character {error.pos} of {size}"
        return where if error.doc.strip() else "it is empty"
    if isinstance(error, OSError):
        return error.strerror or said
    for kind, words in (
        (UnicodeError, "it is not text"),
        ((TypeError, AttributeError), f"its content has another shape than it should: {said}"),
        (EOFError, "its compressed data end too early"),
        (KeyError, f"it lacks {said}"),
    ):
        if isinstance(error, kind):
            return words
    return said
