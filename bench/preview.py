"""Previewing a pull request: all three stacks at once, and how a preview grows with the program.

First this project's own program: staging and production are deployed (by digest, from the image
that development runs, on the lab's own backend, where `make up` has deployed development), a
setting is changed as a pull request would, and `aegis preview` shows all three. Whatever was not
deployed before is destroyed at the end.

Then a program of n services, each a Deployment, a Service and a ConfigMap, in a namespace of its
own: deployed with no replicas, one label changed in every object, previewed. What a further service
costs is the slope of a straight line through the medians.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.preview [--runs 5] [--only stacks]
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.record import Took, repeat, run, save, say, shown, spread, table
from tests.e2e.stand import ROOT, Stand, execute, require_free

RUNS = 5
STACKS = ("development", "staging", "production")
SERVICES = (1, 10, 20, 40)
AEGIS = str(Path(sys.executable).with_name("aegis"))
PROGRAM = '''"""Some services; how many, and what each is labelled with, is the stack's to say."""

import pulumi
from pulumi_kubernetes.apps.v1 import Deployment
from pulumi_kubernetes.core.v1 import ConfigMap, Service

config = pulumi.Config()
namespace, label = config.require("namespace"), config.require("label")
for number in range(config.require_int("services")):
    name = f"service-{number}"
    labels = {"app": name}
    metadata = {"name": name, "namespace": namespace, "labels": {**labels, "release": label}}
    settings = ConfigMap(name, metadata=metadata, data={"number": str(number)})
    container = {
        "name": "web",
        "image": "registry.example.com/web:1",
        "env_from": [{"config_map_ref": {"name": settings.metadata.name}}],
    }
    Deployment(
        name,
        metadata=metadata,
        spec={
            "replicas": 0,
            "selector": {"match_labels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    )
    Service(
        name,
        metadata={**metadata, "annotations": {"pulumi.com/skipAwait": "true"}},
        spec={"selector": labels, "ports": [{"port": 80}]},
    )
'''


@contextmanager
def pull_request(directory: Path) -> Iterator[Stand]:
    """Deploy what is not deployed yet, and change a setting in all three stacks."""
    files = execute("git", "ls-files", "-co", "--exclude-standard", cwd=ROOT, env=dict(os.environ))
    for name in files.standard_output.splitlines():
        if not name.startswith(("tests/", ".ci/", "docs/")) and (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_bytes((ROOT / name).read_bytes())
    (directory / ".venv").symlink_to(ROOT / ".venv")
    own = {"PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true", "AEGIS_GIT_SHA": "0" * 40}
    at = Stand(directory, {**os.environ, **own})
    running = at.outputs("development")
    made = []
    try:
        for name in STACKS[1:]:
            require_free(at, name)
            at.pulumi("stack", "init", name)
            made.append(name)
            at.configure(name, "imageDigest", str(running["imageDigest"]))
            at.configure(name, "version", str(running["version"]))
            at.pulumi("up", "--stack", name, "--yes", "--skip-preview")
        for name in STACKS:
            at.configure(name, "logLevel", "debug")
        yield at
    finally:
        for name in made:
            at.pulumi("destroy", "--stack", name, "--yes", "--skip-preview", expect=None)
            at.pulumi("stack", "rm", name, "--yes", expect=None)


@contextmanager
def services(directory: Path, number: int, namespace: str) -> Iterator[Stand]:
    """Deploy a program of some services, and change a label of all of them."""
    (directory / "backend").mkdir(parents=True)
    (directory / "__main__.py").write_text(PROGRAM)
    (directory / ".venv").symlink_to(ROOT / ".venv")
    runtime = {"name": "python", "options": {"virtualenv": ".venv"}}
    (directory / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "many", "runtime": runtime}))
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the benchmark's own",
    }
    at = Stand(directory, environment)
    at.pulumi("stack", "init", "many")
    given = {"namespace": namespace, "services": str(number), "label": "one"}
    for key, value in given.items():
        at.pulumi("config", "set", key, value, "--stack", "many")
    at.pulumi("up", "--stack", "many", "--yes", "--skip-preview")
    at.pulumi("config", "set", "label", "two", "--stack", "many")
    yield at


def preview(at: Stand, runs: int, *stacks: str) -> list[Took]:
    """Time `aegis preview` of some stacks."""
    named = [word for stack in stacks for word in ("--stack", stack)]
    words = (AEGIS, "preview", *named, "--markdown")
    took = repeat(runs, *words, cwd=at.directory, environment=at.environment)
    rows = [line for line in took[0].output.splitlines() if line.startswith("|")]
    assert all(any(row.startswith(f"| {stack} ") for row in rows) for stack in stacks), rows
    assert " ? " not in "".join(rows), rows
    return took


def slope(medians: dict[int, float]) -> float:
    """Seconds a further service takes."""
    return statistics.linear_regression(list(medians), list(medians.values())).slope


def measure_stacks(runs: int) -> list[Took]:
    """Time the preview of this project's three stacks."""
    with (
        tempfile.TemporaryDirectory(prefix="aegis-bench-") as place,
        pull_request(Path(place)) as at,
    ):
        return preview(at, runs, *STACKS)


def measure_services(runs: int, number: int) -> list[Took]:
    """Time the preview of a program of some services."""
    namespace = f"bench-preview-{secrets.token_hex(3)}"
    run("kubectl", "create", "namespace", namespace)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="aegis-bench-") as place,
            services(Path(place), number, namespace) as at,
        ):
            return preview(at, runs, "many")
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=false")


def main() -> None:
    """Measure, print, and write the figures down."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--only", choices=("stacks", "services"), help="measure one part alone")
    asked = parser.parse_args()
    took: dict[str, list[Took]] = {}
    figures: dict[str, Any] = {"runs": asked.runs}
    if asked.only != "services":
        took["three stacks"] = measure_stacks(asked.runs)
        figures["threeStacks"] = spread([it.wall for it in took["three stacks"]])
    if asked.only != "stacks":
        medians = {}
        for number in SERVICES:
            its = took[f"{number} services"] = measure_services(asked.runs, number)
            medians[number] = statistics.median(it.wall for it in its)
            say(f"{number} services: {shown([it.wall for it in its])} s")
        figures["services"] = {
            n: spread([it.wall for it in took[f"{n} services"]]) for n in medians
        }
        figures["secondsAService"] = round(slope(medians), 4)
        say(f"a further service: {slope(medians):.3f} s")
    rows = [
        (name, shown([it.wall for it in its]), shown([it.cpu for it in its]))
        for name, its in took.items()
    ]
    say(table(("preview of", "wall, s", "processor, s"), rows))
    save(
        "preview",
        "`aegis preview --markdown`, whole processes: of this project's three stacks with one "
        "setting changed in each, and of programs of n services with a label changed in each of "
        "their three objects",
        figures,
    )


if __name__ == "__main__":
    main()
