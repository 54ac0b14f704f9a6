"""What is collected when a test fails: the machine, the stacks, the daemons, the cluster."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any

from tests.evidence import plain
from tests.evidence.box import FILE_BYTES, Box, Refused, end_of

LOG_LINES = 400
PODS = 5
"""Pods whose description and log are kept."""
FILES = 60
"""Files of one backend that are kept, the newest."""
SAMPLE_SECONDS = 0.3
IN_SHORT = 5
OUTPUT_BYTES = 256 * 1024
_STATE = (".json", ".claim", ".tags", ".pulumi-tags", ".lock")


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a test deploys from.

    Attributes:
        environment: The environment of its commands.
        directory: Its program's directory.
    """

    environment: Mapping[str, str]
    directory: Path | None = None


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a test that failed leaves to be looked at.

    Attributes:
        begun: When it began, seconds since the epoch.
        lab: The lab's state directory; None when the test does not use the lab.
        logs: The lab's logs.
        offsets: How long each log was when the test began.
        places: Where the test deploys from.
        temporary: The directory of all temporary directories of this run.
    """

    begun: float
    lab: Path | None = None
    logs: Path | None = None
    offsets: Mapping[str, int] = dataclasses.field(default_factory=dict)
    places: tuple[Place, ...] = ()
    temporary: Path | None = None


def places(values: Iterable[object], depth: int = 2) -> Iterator[Place]:
    """Yield where a test deploys from: its fixtures that have an environment of commands."""
    for value in values:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            continue
        held = {it.name: getattr(value, it.name, None) for it in dataclasses.fields(value)}
        environment, directory = held.get("environment"), held.get("directory")
        if isinstance(environment, Mapping) and "PULUMI_BACKEND_URL" in environment:
            yield Place(environment, directory if isinstance(directory, Path) else None)
        elif depth > 1:
            yield from places(held.values(), depth - 1)


def offsets(logs: Path) -> dict[str, int]:
    """Return how long each log is."""
    with suppress(OSError):
        return {it.name: it.stat().st_size for it in os.scandir(logs) if it.name.endswith(".log")}
    return {}


def collect(box: Box, asked: Asked) -> list[str]:
    """Fill a box and return what was seen, in short; what cannot be had is noted in it."""
    # What is soon gone comes first; logs stay where they are.
    steps: list[Callable[[Box, Asked], list[str]]] = [_machine, _stacks]
    if asked.lab is not None:
        steps += [_cluster, _daemons]
    said: list[str] = []
    for step in steps:
        try:
            said += step(box, asked)
        except Exception as error:  # whatever it is, the test's own failure matters more
            box.notes.append(f"{step.__name__.strip('_')}: {error}")
    return [plain.redacted(row, box.secrets) for row in said]


def _machine(box: Box, asked: Asked) -> list[str]:
    del asked
    load = Path("/proc/loadavg").read_text().strip()
    memory = Path("/proc/meminfo").read_text().splitlines()
    before = _ticks()
    sleep(SAMPLE_SECONDS)
    rate = os.sysconf("SC_CLK_TCK") * SAMPLE_SECONDS
    used = plain.busiest(before, _ticks(), rate, 15)
    processors = os.cpu_count()
    rows = [
        f"{processors} processors, load {load}",
        *memory[:6],
        *(f"{percent:4.0f} % {pid:7} {_command(pid)}" for pid, percent in used),
    ]
    box.write("machine.txt", "\n".join(rows) + "\n")
    free = next((row.split()[1] for row in memory if row.startswith("MemAvailable")), "0")
    names = ", ".join(f"{_name(pid)} {percent:.0f} %" for pid, percent in used[:4])
    averages = " ".join(load.split()[:3])
    memory_left = f"{int(free) // 1024} MiB available"
    return [f"load {averages} on {processors} processors, {memory_left}; busiest: {names}"]


def _stacks(box: Box, asked: Asked) -> list[str]:
    backends: dict[Path, None] = {}
    homes: dict[Path, None] = {}
    for environment in [box.environment, *(place.environment for place in asked.places)]:
        if "PULUMI_HOME" in environment:
            homes[Path(environment["PULUMI_HOME"])] = None
    for place in asked.places:
        url = place.environment["PULUMI_BACKEND_URL"]
        if url.startswith("file:///"):
            backends[Path(url.removeprefix("file://")) / ".pulumi"] = None
    for root in filter(None, (asked.temporary, asked.lab)):
        for path in _below(root, ".pulumi"):
            if any(_changed(it, asked.begun) for it in _files(path)):
                backends[path] = None
    for backend in backends:
        _backend(box, backend)
    for log in _outputs(asked):
        _note_missing(box, log, f"outputs/{log.parent.name}-{log.name}", OUTPUT_BYTES)
    for home in homes:
        guards = sorted(home.glob("aegis/guard-*.log"), key=_time)
        recent = [it for it in guards if _changed(it, asked.begun)] or guards[-3:]
        for log in recent[-FILES:]:
            _note_missing(box, log, f"guards/{log.name}", OUTPUT_BYTES)
    return []


def _backend(box: Box, backend: Path) -> None:
    """Copy claims, timelines, states and locks of a backend, and list the rest."""
    name = f"backends/{plain.slug(str(backend.parent))}"
    found = sorted(_files(backend), key=_time)
    rows = [f"{_time(it):.3f} {it.stat().st_size:9} {it.relative_to(backend)}" for it in found]
    box.write(f"{name}/files.txt", "\n".join([str(backend), *rows]) + "\n")
    wanted = [
        it
        for it in found
        if it.relative_to(backend).parts[0] in ("aegis", "stacks", "locks") and it.suffix in _STATE
    ]
    for path in wanted[-FILES:]:
        _note_missing(box, path, f"{name}/{path.relative_to(backend)}")


def _daemons(box: Box, asked: Asked) -> list[str]:
    said: list[str] = []
    logs = sorted(asked.logs.glob("*.log")) if asked.logs is not None else []
    for log in logs:
        text, since = daemon_log(log, asked.offsets.get(log.name))
        box.write(f"daemons/{log.name}", text)
        said += [f"  {log.stem}: {row}" for row in plain.alarms(since)[-IN_SHORT:]]
    if not said:
        return []
    return ["errors of daemons since the test began:", *said[-2 * IN_SHORT :]]


def daemon_log(log: Path, offset: int | None) -> tuple[str, str]:
    """Return a log's end, and of it what was written since it was so long.

    The end has at least the last lines, and what was written since if that is more.
    """
    length = log.stat().st_size
    text = end_of(log, FILE_BYTES)
    since = text
    if offset is not None and 0 <= length - offset < FILE_BYTES:
        since = end_of(log, length - offset) if length > offset else ""
    last = "\n".join(text.splitlines()[-LOG_LINES:]) + "\n"
    return (since if len(since) > len(last) else last), since


def _cluster(box: Box, asked: Asked) -> list[str]:
    def get(*words: str) -> str:
        # An API server that does not answer the first question is not asked the others.
        return box.command("kubectl", "--request-timeout=6s", *words)

    said: list[str] = []
    found = plain.events(_json(get("get", "events", "-A", "-o", "json")), asked.begun)
    box.write("events.txt", "".join(f"{it}\n" for it in found))
    warnings = [it for it in found if it.kind == "Warning"]
    if warnings:
        said.append(f"warnings of the cluster since the test began, {len(warnings)} in all:")
        said += [f"  {it}" for it in warnings[-IN_SHORT:]]
    pods = plain.not_ready(_json(get("get", "pods", "-A", "-o", "json")))
    if pods:
        shown = ", ".join(f"{space}/{name} ({phase})" for space, name, phase in pods[:IN_SHORT])
        said.append(f"pods that are not ready, {len(pods)} in all: {shown}")
    for name, words in {
        "pods.txt": ("get", "pods", "-A", "-o", "wide"),
        "endpointslices.yaml": ("get", "endpointslices", "-A", "-o", "yaml"),
        "workloads.txt": ("get", "nodes,deployments,replicasets,jobs", "-A", "-o", "wide"),
    }.items():
        box.write(name, get(*words))
    for space, pod, _ in pods[:PODS]:
        where = ("--namespace", space)
        asks: dict[str, tuple[str, ...]] = {
            "describe": ("describe", "pod", pod),
            "log": ("logs", pod, "--all-containers", "--prefix", "--tail=60"),
        }
        for what, asked_for in asks.items():
            # It may be gone by now, or have no log yet.
            try:
                box.write(f"pods/{space}-{pod}-{what}.txt", get(*where, *asked_for))
            except Refused as error:
                box.notes.append(str(error))
    return said


def _json(text: str) -> Any:
    return json.loads(text)


def _note_missing(box: Box, source: Path, name: str, size: int = FILE_BYTES) -> None:
    """Copy a file that whoever runs still may remove at this moment."""
    try:
        text = end_of(source, size)
    except OSError as error:
        box.notes.append(f"{source}: {error.strerror}")
        return
    box.write(name, text)


def _outputs(asked: Asked) -> list[Path]:
    """Return what commands in the background have written."""
    found: dict[Path, None] = {}
    for place in asked.places:
        if place.directory is not None:
            own = [*place.directory.glob("*.out"), place.directory / "said"]
            found.update(dict.fromkeys(it for it in own if it.is_file()))
    if asked.temporary is not None:
        recent = [it for it in _below(asked.temporary, "*.out") if _changed(it, asked.begun)]
        found.update(dict.fromkeys(recent))
    return sorted(found, key=_time)[-20:]


def _below(root: Path, pattern: str) -> list[Path]:
    """Return what lies one or two levels below; deeper it is a program's, of many files."""
    found = [*root.glob(f"*/{pattern}"), *root.glob(f"*/*/{pattern}")]
    # Pytest links the newest of its directories under a second name.
    return [*dict.fromkeys(it.resolve() for it in found)]


def _files(root: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory, name)
            if path.is_file():
                yield path


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _changed(path: Path, since: float) -> bool:
    return _time(path) >= since


def _ticks() -> dict[int, int]:
    """Return the clock ticks that each process has used."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            fields = path.read_text().rpartition(")")[2].split()
            found[int(path.parent.name)] = int(fields[11]) + int(fields[12])
    return found


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "gone"


def _command(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except (OSError, UnicodeDecodeError):
        words = ""
    return words[:160].strip() or f"[{_name(pid)}]"
