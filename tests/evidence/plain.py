"""What of a text is kept for whoever asks why a test failed: its end, what alarms, no secret."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

SHORTEST_SECRET = 8
"""Characters; what is shorter would be struck out of words that are none."""
WIDTH = 220
SMALLEST_SHARE = 6
GONE = "[not shown]"

_TELLING = r"[A-Z0-9_]*(?:PASSPHRASE|PASSWORD|TOKEN|SECRET|ACCESS_KEY|PRIVATE_KEY)[A-Z0-9_]*"
_PATTERNS = (
    re.compile(
        r"()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    # A PEM file in base64, as a kubeconfig has it, and a signed token.
    re.compile(r"()\bLS0tLS1CRUdJTi[\w+/=-]{20,}"),
    re.compile(r"()\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    re.compile(r"(\b[Bb]earer\s+)[\w.~+/=-]{8,}"),
    re.compile(rf"(\b{_TELLING}['\"]?\s*[:=]\s*)(?:\"[^\"\n]*\"|'[^'\n]*'|[^\s,;}}'\"]+)"),
    re.compile(r"(^\s*(?:token|password|client-key-data):\s*)\S+", re.MULTILINE),
)
_ALARM = re.compile(
    r"^[EF]\d{4} |\blevel=(?:error|fatal|panic)|\"level\":\s*\"(?:error|fatal|panic)|\bpanic\b"
    r"|\[(?:ERROR|FATAL)\]"
)


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text without secrets: those that are known, and what looks like one.

    Args:
        text: Any text.
        secrets: Known ones.
    """
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<1>{GONE}", text)
    return text


def secrets_in(environment: Mapping[str, str], *texts: str) -> set[str]:
    """Return the values that must never be written down.

    Args:
        environment: Variables; those whose names tell hold one, unless they name a file.
        texts: What a passphrase file or a kubeconfig says.
    """
    found = {
        value
        for name, value in environment.items()
        if re.fullmatch(_TELLING, name) and not name.endswith("_FILE")
    }
    for text in texts:
        rows = re.findall(r"^\s*(?:token|password|client-key-data):\s*(\S+)", text, re.MULTILINE)
        found.update(rows or [text.strip()])
    return {value for value in found if len(value) >= SHORTEST_SECRET}


def slug(node: str) -> str:
    """Return a test's name as that of a directory, no other test's."""
    name = re.sub(r"[^A-Za-z0-9_.]+", "-", node.rpartition("/")[2]).strip("-.")
    return f"{name[:80]}-{hashlib.sha256(node.encode()).hexdigest()[:6]}"


def excerpt(report: str, lines: int = 15) -> list[str]:
    """Return the end of a failure's report, and what was asserted when that is further up."""
    rows = [row for row in report.splitlines() if row.strip()]
    first = next((index for index, row in enumerate(rows) if row.startswith("E ")), None)
    if first is None or first >= len(rows) - lines:
        return rows[-lines:]
    return [rows[first], "  ...", *rows[2 - lines :]]


def last_part(text: str, size: int) -> str:
    """Return the end of a text, whole lines, and say so when something is left out."""
    if len(text) <= size:
        return text
    kept = text[-size:]
    return f"[the last {size} characters of {len(text)}]\n{kept.partition(chr(10))[2] or kept}"


def alarms(text: str) -> list[str]:
    """Return the lines of a daemon's log that are errors, in the formats the lab's have."""
    return [row for row in text.splitlines() if _ALARM.search(row)]


@dataclass(frozen=True)
class Event:
    """An event of the cluster.

    Attributes:
        time: When it was last seen.
        kind: Normal or Warning.
        text: The rest, on one line.
    """

    time: datetime
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.time:%H:%M:%S.%f} {self.kind} {self.text}"


def events(document: Any, begun: float) -> list[Event]:
    """Return the events since a moment, oldest first.

    Args:
        document: What `kubectl get events --output json` says.
        begun: Seconds since the epoch.
    """
    found = []
    # The cluster's times are whole seconds.
    since = datetime.fromtimestamp(int(begun), UTC)
    for item in document.get("items", ()):
        stamp = (
            (item.get("series") or {}).get("lastObservedTime")
            or item.get("lastTimestamp")
            or item.get("eventTime")
            or item["metadata"]["creationTimestamp"]
        )
        about = item.get("involvedObject") or {}
        count = (item.get("series") or {}).get("count") or item.get("count") or 1
        text = (
            f"{item.get('reason', '')} {str(about.get('kind', '')).lower()} "
            f"{about.get('namespace', '')}/{about.get('name', '')}: "
            f"{' '.join(str(item.get('message', '')).split())}"
        )
        event = Event(
            datetime.fromisoformat(stamp),
            item.get("type", ""),
            f"{text} (x{count})" if count > 1 else text,
        )
        if event.time >= since:
            found.append(event)
    return sorted(found, key=lambda it: it.time)


def not_ready(document: Any) -> list[tuple[str, str, str]]:
    """Return the pods that are not ready and have not ended well: namespace, name, phase.

    Args:
        document: What `kubectl get pods --output json` says.
    """
    found = []
    for item in document.get("items", ()):
        status, metadata = item.get("status", {}), item["metadata"]
        ready = any(
            it["type"] == "Ready" and it["status"] == "True" for it in status.get("conditions", ())
        )
        if not ready and status.get("phase") != "Succeeded":
            phase = "Terminating" if "deletionTimestamp" in metadata else status.get("phase", "")
            found.append((metadata["namespace"], metadata["name"], phase))
    return found


def busiest(
    before: Mapping[int, int], after: Mapping[int, int], per_second: float, count: int
) -> list[tuple[int, float]]:
    """Return the processes that used the most of a processor: id, percent.

    Args:
        before: Clock ticks that each process had used.
        after: The same a while later.
        per_second: How many ticks went by for a processor that was always busy.
        count: How many processes.
    """
    used = {pid: ticks - before.get(pid, ticks) for pid, ticks in after.items()}
    ranked = sorted(used.items(), key=lambda it: -it[1])[:count]
    return [(pid, 100 * ticks / per_second) for pid, ticks in ranked if ticks > 0]


def in_short(failures: Sequence[tuple[str, Sequence[str], Sequence[str]]], lines: int) -> list[str]:
    """Return what a pipeline's log ends with: failures, in at most so many lines.

    Args:
        failures: A title each, the end of the report, and what was seen around it.
        lines: The most there may be.
    """
    shown = min(len(failures), max(1, (lines - 1) // SMALLEST_SHARE))
    share = (lines - 1) // shown if shown else 0
    found: list[str] = []
    for title, failure, around in failures[:shown]:
        room = share - 1
        beside = min(len(around), max(room // 2, room - len(failure)))
        of_report = room - beside
        found += [f"--- {title}", *failure[-of_report:], *around[:beside]]
    if shown < len(failures):
        found.append(f"... and {len(failures) - shown} more failed; the folder has them")
    return [row if len(row) <= WIDTH else f"{row[:WIDTH]} ..." for row in found]
