"""A history of 5,000 updates: listing it, and choosing where to roll back to.

Two releases are deployed for real (a Deployment, a ConfigMap, a Secret), then their records and
checkpoints are copied until the history has as many updates as asked for, each at a time of its
own; all but the last three of the newest 700 are marked as verified, as many as the ledger holds.

The same commands run on the history as it was before, of two updates: what they take longer is
what the length costs. `files` are those of the history that `aegis` itself opens; what the Pulumi
CLI opens, for itself or for `aegis`, is not counted.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.history [updates] [runs]
"""

from __future__ import annotations

import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.history.rollback_target import choose
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.stack.session import Session
from bench.record import Took, repeat, run, save, say, shown, spread, table
from bench.rollback import LETTERS, open_stack, program

UPDATES = 5000
RUNS = 5
VERIFIED, SINCE = 700, 3
AEGIS = str(Path(sys.executable).with_name("aegis"))
STACK = "bench"
NAMED = ("--stack", STACK)
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "aegis history": (AEGIS, "history", *NAMED),
    "aegis history --all": (AEGIS, "history", "--all", *NAMED),
    "aegis rollback --preview": (AEGIS, "rollback", "--preview", *NAMED),
    "aegis rollback --to 1 --preview": (AEGIS, "rollback", "--to", "1", "--preview", *NAMED),
    "pulumi stack history": ("pulumi", "stack", "history", *NAMED),
    "pulumi stack history, all of it": (
        *("pulumi", "stack", "history", *NAMED, "--json", "--page-size", str(10**6)),
    ),
}
_COUNTING = """
import sys
opened = set()
def note(event, given):
    if event == "open" and "/.pulumi/history/" in str(given[0]):
        opened.add(str(given[0]))
sys.addaudithook(note)
from aegis_deploy.cli.main import main
main(sys.argv[1:])
print(len(opened), file=sys.stderr)
"""


def lengthen(backend: Path, updates: int) -> None:
    """Copy the records of a history of two until it has some thousands, older and older."""
    [directory] = (backend / ".pulumi" / "history").glob(f"*/{STACK}")
    newest = sorted(int(path.name.split("-")[1].split(".")[0]) for path in _records(directory))
    real = [_read(directory, key) for key in newest]
    keys = [newest[0] - 60 * 10**9 * back for back in range(1, updates - len(real) + 1)][::-1]
    for place, key in enumerate(keys):
        record, checkpoint = real[place % len(real)]
        began = key // 10**9
        moved = {**record, "startTime": began - 5, "endTime": began}
        (directory / f"{STACK}-{key}.history.json").write_text(json.dumps(moved))
        (directory / f"{STACK}-{key}.checkpoint.json").write_bytes(checkpoint)
    tags: dict[str, str] = {}
    for key in [*keys, *newest][-VERIFIED - SINCE : -SINCE]:
        for name, value in verification_store.verified_after(tags, str(key)).items():
            if value is None:
                del tags[name]
            else:
                tags[name] = value
    [state] = (backend / ".pulumi" / "stacks").glob(f"*/{STACK}.json")
    state.with_suffix(".pulumi-tags").write_text(json.dumps({"version": 1, "tags": tags}))


def _records(directory: Path) -> list[Path]:
    return list(directory.glob(f"{STACK}-*.history.json"))


def _read(directory: Path, key: int) -> tuple[dict[str, Any], bytes]:
    record = json.loads((directory / f"{STACK}-{key}.history.json").read_text())
    return record, (directory / f"{STACK}-{key}.checkpoint.json").read_bytes()


def measure(runs: int, directory: Path, variables: Mapping[str, str]) -> dict[str, list[Took]]:
    """Run every command some times."""
    environment = {**os.environ, **variables}
    took = {}
    for name, words in COMMANDS.items():
        took[name] = repeat(runs, *words, cwd=directory, environment=environment)
        say(f"  {name}: {shown([it.wall for it in took[name]])} s")
    return took


def choices(runs: int, session: Session, to: int | None) -> list[float]:
    """Time the choice alone, as a rollback makes it: the marks, the records, the decision."""
    took = []
    for _ in range(runs):
        began = time.monotonic()
        choose(stack_history.reading(session), to)
        took.append(time.monotonic() - began)
    return took


def opened(directory: Path, variables: Mapping[str, str], *words: str) -> int:
    """Count the history's files that a run of `aegis` opens."""
    environment = {**os.environ, **variables}
    counting = (sys.executable, "-c", _COUNTING, *words, *NAMED)
    return int(run(*counting, cwd=directory, environment=environment).messages.split()[-1])


def main() -> None:
    """Measure, print, and write the figures down."""
    updates = int(sys.argv[1]) if len(sys.argv) > 1 else UPDATES
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else RUNS  # noqa: PLR2004
    namespace = f"bench-history-{secrets.token_hex(3)}"
    run("kubectl", "create", "namespace", namespace)
    try:
        with tempfile.TemporaryDirectory() as place:
            directory = Path(place)
            session, variables = open_stack(directory, STACK)
            for letter in LETTERS:
                config = {"bench:letter": ConfigValue(letter)}
                made = session.update(
                    program=program("aegis", namespace, letter), message=letter, config=config
                )
                if not made.succeeded:
                    raise SystemExit(made.why)
            verification_store.mark_verified(session, stack_history.releases(session)[-1])
            say(f"a history of {len(LETTERS)}:")
            short = measure(runs, directory, variables)
            lengthen(directory / "backend", updates)
            say(f"a history of {updates}:")
            long = measure(runs, directory, variables)
            chosen = {
                "the last verified": choices(runs, session, None),
                "--to 1": choices(runs, session, 1),
            }
            files = {
                name: opened(directory, variables, *words[1:-2])
                for name, words in COMMANDS.items()
                if words[0] == AEGIS
            }
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=false")
    walls = {name: [it.wall for it in its] for name, its in long.items()}
    before = {name: [it.wall for it in its] for name, its in short.items()}
    rows = [
        (
            *(f"`{name}`", shown(walls[name]), f"{statistics.median(before[name]):.2f}"),
            files.get(name, "-"),
        )
        for name in COMMANDS
    ]
    columns = ("command", f"of {updates}, s", f"of {len(LETTERS)}, s", "files")
    say(table(columns, rows))
    for name, took in chosen.items():
        say(f"the choice alone, {name}: {shown(took)} s")
    save(
        "history",
        f"whole processes on a history of {updates} updates, and on one of {len(LETTERS)}; and "
        "the choice of a rollback's target alone, inside a process",
        {
            "updates": updates,
            "runs": runs,
            "wall": {name: spread(its) for name, its in walls.items()},
            "cpu": {name: spread([it.cpu for it in its]) for name, its in long.items()},
            "wallOfTwo": {name: spread(its) for name, its in before.items()},
            "choice": {name: spread(its) for name, its in chosen.items()},
            "files": files,
        },
    )


if __name__ == "__main__":
    main()
