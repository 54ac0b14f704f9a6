"""How long `aegis rollback` takes beside `kubectl rollout undo` and `kubectl rollout status`.

What is measured: wall time of the commands, from start to exit, in turn on the same cluster in the
same run. Two Deployments are alike (image, replicas, strategy, probes, a ConfigMap and a Secret
that differ between the releases). One is a Pulumi stack's and is rolled back by `aegis rollback
--to N --yes`, from one release to the other and back; the other is kubectl's own. kubectl's
ConfigMaps and Secrets of both releases are left in place, for it restores none; `aegis` restores
them, records the update, refuses the release that was left, and deletes what that one had.

Each begins at a random moment of a second (seeded): Kubernetes counts `minReadySeconds` and probes
in whole seconds, and in a fixed rhythm one of the two would meet them at its best every time.

The bake time is 0 for `aegis`, for kubectl has none: both end when the rollout is complete.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.rollback [pairs]
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aegis_deploy.model.release import ConfigValue
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.stack.session import Session
from bench.record import Took, run, save, say, shown, spread, table

PAIRS = 10
SEED = 4
SECONDS = 180
STACK = "bench"
GATE = {"bakeSeconds": 0}
LETTERS = ("a", "b")


def manifests(name: str, namespace: str, letter: str) -> dict[str, dict[str, Any]]:
    """A release: what it reads, under names of its own, and the Deployment."""
    labels = {"app": name}
    own = f"{name}-{letter}"
    pod = {
        "terminationGracePeriodSeconds": 2,
        "containers": [
            {
                "name": "web",
                "image": os.environ["AEGIS_RUNTIME_IMAGE"],
                "command": ["python3", "-m", "http.server", "8000"],
                "envFrom": [{"configMapRef": {"name": own}}, {"secretRef": {"name": own}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
            }
        ],
    }
    metadata = {"name": own, "namespace": namespace}
    return {
        "config": {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"LETTER": letter},
        },
        "secret": {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "stringData": {"PASSWORD": f"password-{letter}"},
        },
        "deployment": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "replicas": 2,
                "minReadySeconds": 1,
                "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            },
        },
    }


def program(namespace: str, letter: str) -> Callable[[], None]:
    """The Pulumi program of a release; like this project's, its Deployment is not awaited."""

    def run() -> None:
        import pulumi
        import pulumi_kubernetes as kubernetes

        made = manifests("aegis", namespace, letter)
        secret = made["secret"]
        read = [
            kubernetes.core.v1.ConfigMap(f"config-{letter}", **_arguments(made["config"])),
            kubernetes.core.v1.Secret(
                f"secret-{letter}",
                metadata=secret["metadata"],
                string_data=pulumi.Output.secret(secret["stringData"]),
            ),
        ]
        deployment = _arguments(made["deployment"])
        deployment["metadata"]["annotations"] = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
        kubernetes.apps.v1.Deployment(
            "web", **deployment, opts=pulumi.ResourceOptions(depends_on=read)
        )

    return run


def _arguments(manifest: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind")}


def open_stack(directory: Path) -> tuple[Session, dict[str, str]]:
    """Make a project with a stack and a state backend of its own; return what finds the latter."""
    (directory / "backend").mkdir()
    (directory / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
    variables = {
        "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the benchmark's own",
    }
    inherited = {k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"}
    environment = {**inherited, **variables}
    Engine(directory, environment).expect("stack", "init", STACK)
    return Session.open(STACK, directory, environment), variables


def measure(pairs: int, namespace: str, directory: Path) -> dict[str, list[Took]]:
    """Deploy both releases of both, then roll back in turn."""
    session, variables = open_stack(directory)
    environment = {**os.environ, **variables}
    config = {"bench:gate": ConfigValue(json.dumps(GATE))}
    for letter in LETTERS:
        outcome = session.update(program=program(namespace, letter), message=letter, config=config)
        if not outcome.succeeded:
            raise SystemExit(outcome.why)
        for manifest in manifests("kubectl", namespace, letter).values():
            text = json.dumps(manifest)
            run("kubectl", "apply", "--server-side", "--filename", "-", given=text)
        for name in ("aegis", "kubectl"):
            run(*_status(namespace, name))
    aegis = str(Path(sys.executable).with_name("aegis"))
    took: dict[str, list[Took]] = {"aegis": [], "kubectl": []}
    chance = random.Random(SEED)  # noqa: S311 - not for secrets
    for pair in range(pairs):
        time.sleep(chance.random())
        number = str(1 + pair % 2)
        words = (aegis, "rollback", "--to", number, "--yes", "--stack", STACK)
        took["aegis"].append(run(*words, cwd=directory, environment=environment))
        time.sleep(chance.random())
        undo = ("kubectl", "rollout", "undo", "deployment/kubectl", "--namespace", namespace)
        began, status = run(*undo), run(*_status(namespace, "kubectl"))
        took["kubectl"].append(
            Took(began.wall + status.wall, began.cpu + status.cpu, status.output, status.messages)
        )
        row = ", ".join(f"{name} {its[-1].wall:.2f} s" for name, its in took.items())
        say(f"{pair + 1:>3} {row}")
    return took


def _status(namespace: str, name: str) -> tuple[str, ...]:
    return (
        *("kubectl", "rollout", "status", f"deployment/{name}"),
        *("--namespace", namespace, "--timeout", f"{SECONDS}s"),
    )


def main() -> None:
    """Measure, print, and write the result down."""
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else PAIRS
    namespace = f"bench-rollback-{secrets.token_hex(3)}"
    run("kubectl", "create", "namespace", namespace)
    try:
        with tempfile.TemporaryDirectory() as directory:
            took = measure(pairs, namespace, Path(directory))
    finally:
        run("kubectl", "delete", "namespace", namespace, "--wait=false")
    walls = {name: [it.wall for it in its] for name, its in took.items()}
    ratios = [ours / theirs for ours, theirs in zip(walls["aegis"], walls["kubectl"], strict=True)]
    say(
        table(
            ("by", "wall, s", "processor, s"),
            [
                (name, shown(its), shown([it.cpu for it in took[name]]))
                for name, its in walls.items()
            ],
        )
    )
    say(f"ratio, pair by pair: {shown(ratios)}")
    save(
        "rollback",
        "`aegis rollback` beside `kubectl rollout undo` + `kubectl rollout status`, in turn; bake "
        "time 0; 2 replicas, minReadySeconds 1",
        {
            "pairs": pairs,
            "seconds": {name: [round(it, 3) for it in its] for name, its in walls.items()},
            "wall": {name: spread(its) for name, its in walls.items()},
            "cpu": {name: spread([it.cpu for it in its]) for name, its in took.items()},
            "ratio": spread(ratios),
        },
    )


if __name__ == "__main__":
    main()
