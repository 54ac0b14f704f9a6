"""Runs a GitHub workflow's own ``run:`` steps on this machine, in the workflow's order.

What GitHub's runner does is done here in the little that our workflows use: expressions are looked
up in a table, and one that is not in it is an error, so that a workflow cannot use what is not
tested. Steps that ``uses:`` an action are GitHub's and are left out.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.expressions import asks_for_status, evaluate

WORKFLOWS = Path(__file__).resolve().parents[2] / ".github" / "workflows"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_SECONDS = 900
_LOOK_SECONDS = 0.05
_FILES = ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY")


@dataclass
class Job:
    """How a job went.

    Attributes:
        ran: The steps that were run, by name, with what they printed.
        failed: The step that failed; empty when none did.
        outputs: What the job hands on.
        summary: The job's summary, Markdown.
        result: success, failure or skipped.
    """

    ran: dict[str, str] = field(default_factory=dict)
    failed: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    result: str = "success"


@dataclass
class Runner:
    """A runner for one event.

    Attributes:
        workflow: The workflow's file name.
        directory: The checkout.
        environment: What the runner's shell has.
        values: What each expression is, text or truth, without its braces.
        skipped: Names of steps that are left out.
        dies_at: The moment at which the machine dies, by the name of the step that it is in.
    """

    workflow: str
    directory: Path
    environment: Mapping[str, str]
    values: Mapping[str, Any]
    skipped: frozenset[str] = frozenset()
    dies_at: Mapping[str, Callable[[], bool]] = field(default_factory=dict)

    def play(self, room: Path, before: Mapping[str, Job] | None = None) -> dict[str, Job]:
        """Run the jobs that the event starts, in the workflow's order; return all of them.

        Args:
            room: A directory for the runner's files.
            before: Jobs that count as run already.
        """
        done = dict(before or {})
        for name in self._jobs():
            if name in done:
                continue
            begins = self.wanted(name, done)
            done[name] = self.run(name, room, done) if begins else Job(result="skipped")
        return done

    def wanted(self, job: str, done: Mapping[str, Job]) -> bool:
        """Whether a job begins, after the jobs before it."""
        spec = self._jobs()[job]
        needs = _before(spec, done)
        return self._begins(spec.get("if"), _known(needs), [it.result for it in needs.values()])

    def run(self, job: str, room: Path, before: Mapping[str, Job] | None = None) -> Job:
        """Run a job's steps until one fails; those that always run, run then too.

        Args:
            job: The job's name.
            room: A directory for the runner's files.
            before: The jobs that were run before it.
        """
        spec = self._jobs()[job]
        done = Job()
        local = _known(_before(spec, before or {}))
        entered: dict[str, str] = {}
        for step in self._steps(spec):
            scope = {**local, **{f"env.{k}": v for k, v in entered.items()}}
            environment = {
                **self._texts(self._workflow().get("env"), scope),
                **self._texts(spec.get("env"), scope),
                **self._texts(step.get("env"), scope),
            }
            scope |= {f"env.{key}": value for key, value in environment.items()}
            if not self._begins(step.get("if"), scope, [done.result]):
                continue
            files = {name: room / name for name in _FILES}
            for path in files.values():
                path.write_text("")
            code, text = self._step(
                step["name"],
                self._text(step["run"], scope),
                {
                    **self.environment,
                    **{key: value for key, value in environment.items() if value},
                    **entered,
                    **{name: str(path) for name, path in files.items()},
                    "RUNNER_TEMP": str(room),
                },
            )
            done.ran[step["name"]] = text
            done.summary += files["GITHUB_STEP_SUMMARY"].read_text()
            entered |= dict(_pairs(files["GITHUB_ENV"]))
            if "id" in step:
                found = _pairs(files["GITHUB_OUTPUT"])
                local |= {f"steps.{step['id']}.outputs.{key}": value for key, value in found}
            if code:
                done.failed = done.failed or step["name"]
                done.result = "failure"
            if step["name"] in self.dies_at:
                return done
        done.outputs = {
            key: self._text(value, local)
            for key, value in spec.get("outputs", {}).items()
            if not done.failed
        }
        return done

    def _begins(
        self, condition: str | None, scope: Mapping[str, Any], results: Sequence[str]
    ) -> bool:
        """Whether a job or a step begins, after others with these results."""
        status = {
            "always()": True,
            "success()": all(it == "success" for it in results),
            "failure()": "failure" in results,
        }
        wanted = condition or "success()"
        if not asks_for_status(wanted):
            wanted = f"success() && ({wanted})"
        return bool(self._value(wanted, {**scope, **status}))

    def _steps(self, spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for step in spec["steps"]:
            if "run" in step and step["name"] not in self.skipped:
                yield step

    def _step(self, name: str, script: str, environment: Mapping[str, str]) -> tuple[int, str]:
        dies = self.dies_at.get(name, lambda: False)
        with (Path(environment["RUNNER_TEMP"]) / "printed").open("w+") as printed:
            process = subprocess.Popen(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=self.directory,
                env=dict(environment),
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            deadline = time.monotonic() + _SECONDS
            while process.poll() is None:
                late = time.monotonic() > deadline
                if late or dies():
                    _kill(process.pid)
                    process.wait(_SECONDS)
                    assert not late, f"{name} did not end within {_SECONDS} s"
                time.sleep(_LOOK_SECONDS)
            printed.seek(0)
            return process.returncode, printed.read()

    def _workflow(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((WORKFLOWS / self.workflow).read_text())
        return found

    def _jobs(self) -> dict[str, Any]:
        found: dict[str, Any] = self._workflow()["jobs"]
        return found

    def _texts(self, given: Mapping[str, Any] | None, scope: Mapping[str, Any]) -> dict[str, str]:
        return {key: self._text(str(value), scope) for key, value in (given or {}).items()}

    def _text(self, text: str, scope: Mapping[str, Any]) -> str:
        return _EXPRESSION.sub(lambda found: str(self._value(found[1], scope)), text)

    def _value(self, expression: str, scope: Mapping[str, Any]) -> Any:
        known = {**self.values, **scope}

        def lookup(name: str) -> Any:
            if name in known:
                return known[name]
            if name.startswith(("secrets.", "vars.", "env.")) or ".outputs." in name:
                # What nobody set is an empty text, on GitHub as here.
                return ""
            raise AssertionError(f"{self.workflow} uses {name}, which no test knows")

        return evaluate(expression, lookup)


def _before(spec: Mapping[str, Any], done: Mapping[str, Job]) -> dict[str, Job]:
    """The jobs that a job needs, as far as they were run."""
    needed = spec.get("needs", [])
    return {
        name: done[name]
        for name in ([needed] if isinstance(needed, str) else needed)
        if name in done
    }


def _known(jobs: Mapping[str, Job]) -> dict[str, Any]:
    """What a job knows of the jobs that it needs."""
    known: dict[str, Any] = {"needs.*.result": [it.result for it in jobs.values()]}
    for name, it in jobs.items():
        known[f"needs.{name}.result"] = it.result
        known |= {f"needs.{name}.outputs.{key}": value for key, value in it.outputs.items()}
    return known


def _kill(pid: int) -> None:
    """Kill a process and everything under it, as the end of a machine does."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
    doomed = [pid]
    for it in doomed:
        doomed += [child for child, parent in parents.items() if parent == it]
    for it in doomed:
        with suppress(ProcessLookupError):
            os.kill(it, signal.SIGKILL)


def _pairs(path: Path) -> list[tuple[str, str]]:
    rows = (line.partition("=") for line in path.read_text().splitlines())
    return [(key, value) for key, _, value in rows if key]
