"""From a push to develop to a verified staging: the pipeline's own steps, timed.

Runs the `run:` steps of `.github/workflows/ci-cd.yaml` that a push to develop starts, job after job
as the workflow orders them, in a copy of the program and on a state backend of its own: twice, for
a push that deploys staging for the first time and for one that changes the service. Each job has a
new Python environment, as a new runner does, and the gate is the committed one.

Left out: `Run checks` and `Run tests` of the job `test`, which are the suites themselves, and what
actions do (checkout, attestation, uploads), which is GitHub's.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.chain
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.record import save, say, table
from tests.e2e.stand import ROOT, Stand, execute, stand
from tests.e2e.workflow import Job, Runner

JOBS = ("test", "build", "deploy-staging")
LEFT_OUT = frozenset({"Run checks", "Run tests"})
STAGING = "Pulumi.staging.yaml"


class Timed(Runner):
    """A runner that notes how long each step takes."""

    took: list[float]

    def _step(self, name: str, script: str, environment: Mapping[str, str]) -> tuple[int, str]:
        began = time.monotonic()
        done = super()._step(name, script, environment)
        self.took.append(time.monotonic() - began)
        return done


@contextmanager
def checkout() -> Iterator[Stand]:
    """A copy of the program, its settings as they are committed, and a stack of staging."""
    with (
        tempfile.TemporaryDirectory(prefix="aegis-bench-") as place,
        stand(Path(place)) as at,
    ):
        rows = (ROOT / STAGING).read_text().splitlines(keepends=True)
        kept = [row for row in rows if not row.startswith("encryptionsalt:")]
        (at.directory / STAGING).write_text("".join(kept))
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
        yield at


def runner(at: Stand, sha: str) -> Timed:
    """A runner for a push to develop."""
    environment = {**at.environment, "GITHUB_SHA": sha, "DOCKER_BUILDKIT": "0"}
    del environment["AEGIS_GIT_SHA"]
    kubeconfig = Path(environment.pop("KUBECONFIG")).read_text()
    values: dict[str, Any] = {
        "github.event_name": "push",
        "github.ref": "refs/heads/develop",
        "vars.AEGIS_REGISTRY": environment["AEGIS_REGISTRY"],
        "vars.PULUMI_BACKEND_URL": environment.pop("PULUMI_BACKEND_URL"),
        "secrets.PULUMI_CONFIG_PASSPHRASE": environment.pop("PULUMI_CONFIG_PASSPHRASE"),
        "secrets.KUBECONFIG": kubeconfig,
    }
    made = Timed("ci-cd.yaml", at.directory, environment, values, LEFT_OUT)
    made.took = []
    return made


def push(at: Stand, sha: str) -> dict[str, dict[str, float]]:
    """Run what a push starts; return the seconds of each step, by job."""
    took: dict[str, dict[str, float]] = {}
    done: dict[str, Job] = {}
    with tempfile.TemporaryDirectory() as room:
        for name in JOBS:
            _new_environment(at)
            run = runner(at, sha)
            assert run.wanted(name, done), name
            done[name] = run.run(name, Path(room), done)
            if done[name].failed:
                raise SystemExit(f"{name}: {done[name].failed}\n{done[name].ran}")
            took[name] = dict(zip(done[name].ran, run.took, strict=True))
    shown = execute(
        *(str(Path(sys.executable).with_name("aegis")), "history", "--stack", "staging", "--json"),
        cwd=at.directory,
        env=at.environment,
    )
    current = next(it for it in json.loads(shown.standard_output)["releases"] if it["current"])
    assert current["verified"], current
    assert current["imageDigest"] == done["build"].outputs["digest"], current
    return took


def _new_environment(at: Stand) -> None:
    """A new runner has no environments yet."""
    for place in (at.directory / ".venv", at.directory / "policy" / ".venv"):
        if place.is_symlink():
            place.unlink()
        shutil.rmtree(place, ignore_errors=True)


def change(at: Stand) -> None:
    """Change the service, and what it is built from, as a commit would."""
    for name, line in (
        ("app/requirements.txt", "# A comment, so that what is installed is installed again.\n"),
        ("app/__init__.py", "# A change.\n"),
    ):
        path = at.directory / name
        path.write_text(path.read_text() + line)


def main() -> None:
    """Measure, print, and write the figures down."""
    with checkout() as at:
        pushes = {}
        for place, name in enumerate(("first push", "a change"), start=1):
            change(at)
            pushes[name] = push(at, f"{place}" * 40)
            say(f"{name}: {_total(pushes[name]):.1f} s")
    rows = [
        (job, step, *(f"{it[job][step]:.1f}" for it in pushes.values()))
        for job, steps in pushes["first push"].items()
        for step in steps
    ]
    rows.append(("all", "", *(f"{_total(it):.1f}" for it in pushes.values())))
    say(table(("job", "step", *(f"{name}, s" for name in pushes)), rows))
    save(
        "chain",
        "the pipeline's own `run:` steps for a push to develop, one job after the other, without "
        "`Run checks` and `Run tests`, and without what actions do",
        {
            "seconds": {
                name: {
                    job: {step: round(took, 2) for step, took in steps.items()}
                    for job, steps in it.items()
                }
                for name, it in pushes.items()
            },
            "all": {name: round(_total(it), 2) for name, it in pushes.items()},
        },
    )


def _total(took: Mapping[str, Mapping[str, float]]) -> float:
    return sum(seconds for steps in took.values() for seconds in steps.values())


if __name__ == "__main__":
    main()
