"""Runs a GitHub workflow's own ``run:`` steps on this machine, in the workflow's order.

What GitHub's runner does is done here in the little that our workflows use: expressions are looked
up in a table, and one that is not in it is an error, so that a workflow cannot use what is not
tested. Steps that ``uses:`` an action are GitHub's and are left out.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

WORKFLOWS = Path(__file__).resolve().parents[2] / ".github" / "workflows"
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_SECONDS = 300


@dataclass
class Job:
    """How a job went.

    Attributes:
        ran: The steps that were run, by name, with what they printed.
        failed: The step that failed; empty when none did.
        outputs: What the job hands on.
        summary: The job's summary, Markdown.
    """

    ran: dict[str, str] = field(default_factory=dict)
    failed: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""


@dataclass
class Runner:
    """A runner for one event.

    Attributes:
        workflow: The workflow's file name.
        directory: The checkout.
        environment: What the runner's shell has.
        values: What each expression is, text or truth, without its braces.
        skipped: Names of steps that are left out.
    """

    workflow: str
    directory: Path
    environment: Mapping[str, str]
    values: Mapping[str, Any]
    skipped: frozenset[str] = frozenset()

    def wanted(self, job: str) -> bool:
        """Whether the event starts a job."""
        condition = self._jobs()[job].get("if")
        return condition is None or bool(self._value(str(condition), {}))

    def run(self, job: str, room: Path, **needs: Job) -> Job:
        """Run a job's steps until one fails; those that always run, run then too.

        Args:
            job: The job's name.
            room: A directory for the runner's files.
            needs: The jobs before it, by name with `_` for `-`.
        """
        spec = self._jobs()[job]
        done = Job()
        local = {
            f"needs.{name.replace('_', '-')}.outputs.{key}": value
            for name, it in needs.items()
            for key, value in it.outputs.items()
        }
        entered: dict[str, str] = {}
        for step in self._steps(spec):
            scope = {**local, **{f"env.{k}": v for k, v in entered.items()}}
            environment = {
                **self._texts(self._workflow().get("env"), scope),
                **self._texts(spec.get("env"), scope),
                **self._texts(step.get("env"), scope),
            }
            scope |= {f"env.{key}": value for key, value in environment.items()}
            condition = str(step.get("if", "success()"))
            if done.failed and condition != "always()":
                continue
            if not self._value(condition, {**scope, "always()": True, "success()": True}):
                continue
            files = {
                name: room / name for name in ("GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_STEP_SUMMARY")
            }
            for path in files.values():
                path.write_text("")
            code, text = self._step(
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
        done.outputs = {
            key: self._text(value, local)
            for key, value in spec.get("outputs", {}).items()
            if not done.failed
        }
        return done

    def _steps(self, spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for step in spec["steps"]:
            if "run" in step and step["name"] not in self.skipped:
                yield step

    def _step(self, script: str, environment: Mapping[str, str]) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=self.directory,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

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
        for comparison in (" == ", " != "):
            left, found, right = expression.partition(comparison)
            if found and "(" not in expression and "&&" not in expression:
                same = self._value(left, scope) == self._value(right, scope)
                return same if comparison == " == " else not same
        if expression.startswith("'"):
            return expression.strip("'")
        if expression in known:
            return known[expression]
        if expression.startswith(("secrets.", "vars.", "env.")):
            # What nobody set is an empty text, on GitHub as here.
            return ""
        raise AssertionError(f"{self.workflow} uses {expression}, which no test knows")


def _pairs(path: Path) -> list[tuple[str, str]]:
    rows = (line.partition("=") for line in path.read_text().splitlines())
    return [(key, value) for key, _, value in rows if key]
