"""Staging, deployed for a measurement: the program's own stack on the lab, with short timings."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.releases import push_release
from tests.e2e.stand import Finished, Stand, execute, stand

NAMESPACE = "aegis-staging"
STACK = ("--stack", "staging")
SETTINGS = {
    "minReadySeconds": 1,
    "preStopSeconds": 2,
    "drainSeconds": 5,
    "progressDeadlineSeconds": 20,
    "logLevel": "warning",
}
GATE = {"bakeSeconds": 2, "unreadySeconds": 5}
TOKEN = "a-token-of-the-measurement-0123"  # noqa: S105 - of this measurement only
GOOD, BAD = "1.0.0", "2.0.0"


class Staging:
    """The stack, with the good release deployed and verified.

    Attributes:
        at: The stand it is deployed from.
        good: The digest of the good release.
    """

    def __init__(self, at: Stand) -> None:
        self.at = at
        at.pulumi("stack", "init", "staging")
        at.stacks.append("staging")
        self.change(SETTINGS, GATE)
        at.pulumi("config", "set", "--secret", f"{at.project}:apiToken", TOKEN, *STACK)
        self.aegis("deploy", "--yes")
        built = str(at.outputs("staging")["imageDigest"])
        self.good = push_release(at.environment, built, GOOD)
        self.crashing = push_release(at.environment, built, BAD, "crash")
        self.change({"imageDigest": self.good, "version": GOOD})
        self.aegis("deploy", "--yes")

    def aegis(self, *words: str, expect: int = 0) -> Finished:
        """Run `aegis` on the stack."""
        at = self.at
        done = execute("aegis", *words, *STACK, cwd=at.directory, env=at.environment)
        assert done.code == expect, f"aegis {' '.join(words)}: {done.code}\n{done.output}"
        return done

    def report(self, *words: str, expect: int = 0) -> dict[str, Any]:
        """Run `aegis` on the stack and return its report."""
        shown = self.aegis(*words, "--json", expect=expect).standard_output
        report: dict[str, Any] = json.loads(shown)
        return report

    def change(
        self, settings: Mapping[str, object], gate: Mapping[str, object] | None = None
    ) -> None:
        """Edit the stack's file; a setting that is None is left out of it."""
        path = self.at.directory / "Pulumi.staging.yaml"
        content = yaml.safe_load(path.read_text())
        config, project = content["config"], self.at.project
        for key, value in settings.items():
            config[f"{project}:{key}"] = value
            if value is None:
                del config[f"{project}:{key}"]
        config[f"{project}:gate"] = {**config.get(f"{project}:gate", {}), **(gate or {})}
        path.write_text(yaml.safe_dump(content))

    def image(self, digest: str) -> str:
        """Name an image of the service in full."""
        return f"{self.at.environment['AEGIS_REGISTRY']}/aegis@{digest}"


@contextmanager
def staging() -> Iterator[Staging]:
    """Deploy staging from a copy of the program; it is destroyed at the end."""
    with tempfile.TemporaryDirectory(prefix="aegis-bench-") as place, stand(Path(place)) as at:
        yield Staging(at)
