"""What a database costs a deploy, how soon it is back in use, and what it takes of memory.

Figures of the service with a PostgreSQL outside the cluster, which is the lab's own:

- Deploys in turn, each of an image that is built anew: without a pending revision, and with an
  expand that adds a column. Each of them runs the migration's Job, which finds nothing to do in
  the first kind. How long the migration itself took is what its log says.
- The server is killed and started again. From the moment at which it takes connections, which is
  asked for every few milliseconds, until the service has acknowledged a write.
- The memory of all the lab's processes with that stack and its server idle, each page counted once
  (the kernel's proportional set size), and what of it the server and the stack's pods have.
- The first deploy of staging without a database and with one in its own namespace, and how long it
  took beforehand to have that server's image: made of Debian's packages, unless the lab has it.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.database [rounds]

Nobody else may use the lab's database meanwhile: it is killed.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import psycopg
import yaml

from bench.record import save, say, shown, spread, table
from lab import cgroup, database, images, settings
from lab.command import wait_until
from tests.e2e.data_traffic import AWAY
from tests.e2e.stand import ROOT, execute, stand
from tests.e2e.stored_stand import STACK, Stored, stored_stand

ROUNDS = 5
SECONDS = 120
GATE = {"bakeSeconds": 0, "unreadySeconds": 60, "p99Ms": 60_000}
"""The bake time is the same with and without; it would only be added to both."""
_LOOK_SECONDS = 0.005
_ASK_SECONDS = 0.05
_IDLE_SECONDS = 20
"""For so long nothing is asked before memory is looked at."""
_TOOK = re.compile(r"^applied .*, (\d+(?:\.\d+)?) s$", re.MULTILINE)
_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)


def firsts(rounds: int) -> dict[str, list[float]]:
    """Deploy staging for the first time, in turn without a database and with one of its own."""
    began = time.monotonic()
    image = images.push_postgres_image(settings.load(os.environ, ROOT))
    took: dict[str, list[float]] = {"image": [time.monotonic() - began], "none": [], "own": []}
    for _ in range(rounds):
        for name, group in (("none", None), ("own", {"image": image})):
            took[name].append(_first(group))
            say(f"first deploy, database: {name}: {took[name][-1]:.2f} s")
    return took


def _first(group: Mapping[str, str] | None) -> float:
    with (
        tempfile.TemporaryDirectory(prefix="aegis-bench-") as place,
        stand(Path(place), "bench-first") as at,
    ):
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
        path = at.directory / "Pulumi.staging.yaml"
        content = yaml.safe_load(path.read_text())
        more = {} if group is None else {f"{at.project}:postgres": dict(group)}
        content["config"].update(more)
        content["config"][f"{at.project}:gate"].update(GATE)
        path.write_text(yaml.safe_dump(content))
        began = time.monotonic()
        done = execute(*("aegis", "deploy", "--yes", *STACK), cwd=at.directory, env=at.environment)
        if done.code:
            raise SystemExit(done.output)
        return time.monotonic() - began


def deploy(stored: Stored) -> float:
    """Deploy, and return how long that took, in seconds."""
    stored.commit()
    # Else an image without a new revision would be built of layers that are there.
    code = stored.at.directory / "app" / "__init__.py"
    code.write_text(f"{code.read_text()}# {stored.at.environment['AEGIS_GIT_SHA']}\n")
    began = time.monotonic()
    stored.aegis("deploy", "--yes")
    return time.monotonic() - began


def migrated(stored: Stored) -> float:
    """How long the last migration itself took, by its log, in seconds."""
    where = ("--namespace", stored.namespace)
    jobs = stored.at.kubectl(*where, "get", "jobs", "--output", "json").standard_output
    newest = max(json.loads(jobs)["items"], key=lambda it: it["metadata"]["creationTimestamp"])
    log = stored.at.kubectl(*where, "logs", f"job/{newest['metadata']['name']}").output
    return sum(float(it) for it in _TOOK.findall(log))


def deploys(stored: Stored, rounds: int) -> dict[str, list[float]]:
    """Deploy in turn without and with a pending expand."""
    took: dict[str, list[float]] = {"without": [], "with": [], "migration": []}
    for number in range(2, rounds + 2):
        took["without"].append(deploy(stored))
        column = f'op.add_column("records", sa.Column("of_round_{number}", sa.Text))'
        stored.adds(number, column)
        took["with"].append(deploy(stored))
        took["migration"].append(migrated(stored))
        if stored.schema()[0] != number:
            raise SystemExit(f"the database is not at revision {number}")
        say(", ".join(f"{name} {its[-1]:.2f} s" for name, its in took.items()))
    return took


def returns(stored: Stored, rounds: int) -> list[float]:
    """Kill the server and start it again; return how long the service then took each time."""
    lab = settings.load(os.environ, ROOT)
    took = []
    for _ in range(rounds):
        database.stop(lab)
        wait_until(lambda: _write(stored) == AWAY, what="a refusal", timeout=SECONDS)
        database.start(lab)
        began = _accepts(stored)
        while _write(stored):
            time.sleep(_ASK_SECONDS)
        took.append(time.monotonic() - began)
        say(f"answers again {took[-1]:.2f} s after its database")
    return took


def _accepts(stored: Stored) -> float:
    """The moment at which the server takes connections, on the monotonic clock."""
    while True:
        try:
            with psycopg.connect(stored.server.url(), connect_timeout=2):
                return time.monotonic()
        except psycopg.OperationalError:
            time.sleep(_LOOK_SECONDS)


def _write(stored: Stored) -> str:
    """Create a record; return why it was not, empty when it was."""
    key = f"bench-{time.monotonic_ns()}"
    answer = httpx.post(
        f"{stored.url}/v1/records",
        json={"name": key},
        headers={"Idempotency-Key": key},
        trust_env=False,
        timeout=SECONDS,
    )
    return "" if answer.is_success else str(answer.json()["type"])


def memory(stored: Stored) -> dict[str, float]:
    """Return the lab's memory in MB: all of it, the server's, that of the stack's pods."""
    time.sleep(_IDLE_SECONDS)
    uid = re.compile("pod[0-9a-f-]{36}")
    shown = stored.at.kubectl("--namespace", stored.namespace, "get", "pods", "--output", "json")
    pods = {f"pod{it['metadata']['uid']}" for it in json.loads(shown.standard_output)["items"]}
    found = {"all": 0.0, "server": 0.0, "pods": 0.0}
    for pid in cgroup.members():
        used = _used(pid)
        found["all"] += used
        of = uid.search(_text(pid, "cgroup"))
        if of is not None and of[0] in pods:
            found["pods"] += used
        elif _text(pid, "comm").startswith("postgres"):
            found["server"] += used
    return found


def _used(pid: int) -> float:
    used = _PSS.search(_text(pid, "smaps_rollup"))
    return 0.0 if used is None else int(used[1]) / 1000


def _text(pid: int, name: str) -> str:
    """A file of a process that may have ended."""
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return ""


def main() -> None:
    """Measure, print, and write the result down."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    first = firsts(max(1, rounds // 2))
    with (
        tempfile.TemporaryDirectory(prefix="aegis-bench-") as place,
        stored_stand(Path(place), "bench-stored", GATE) as stored,
    ):
        stored.aegis("deploy", "--yes")
        used = memory(stored)
        took = deploys(stored, rounds)
        back = returns(stored, rounds)
    more = [
        more - less - itself
        for less, more, itself in zip(took["without"], took["with"], took["migration"], strict=True)
    ]
    say(
        table(
            ("what", "seconds: median (least to most)"),
            [
                ("deploy without a pending expand", shown(took["without"])),
                ("deploy with one", shown(took["with"])),
                ("the migration itself", shown(took["migration"])),
                ("what it costs beside that, pair by pair", shown(more)),
                ("from a server that takes connections to a write", shown(back)),
                ("first deploy of staging without a database", shown(first["none"])),
                ("with one in its namespace", shown(first["own"])),
                ("the image of that, before", shown(first["image"])),
            ],
        )
    )
    say(
        f"memory of the lab, idle: {used['all']:.0f} MB; the server {used['server']:.0f} MB, the "
        f"stack's pods {used['pods']:.0f} MB"
    )
    save(
        "database",
        "Deploys with and without a pending expand, in turn, bake time 0; from a server that "
        "takes connections again to an acknowledged write; memory of the lab, idle, in MB "
        "(proportional set size)",
        {
            "rounds": rounds,
            **{
                f"deploy {name}" if name != "migration" else name: spread(its)
                for name, its in took.items()
            },
            "beside the migration": spread(more),
            "answers again": spread(back),
            "first deploy": {name: spread(its) for name, its in first.items()},
            "memory": {name: round(it, 1) for name, it in used.items()},
        },
    )


if __name__ == "__main__":
    main()
