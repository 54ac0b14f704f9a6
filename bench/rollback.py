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

Beside them goes the least that Pulumi's engine takes for the same: one update of a stack of its
own from a process that has everything loaded, looks at nothing and proves nothing, and `kubectl
rollout status`. What `aegis` takes over that is its own.

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
from bench.record import Took, measured, run, save, say, shown, spread, table

PAIRS = 10
SEED = 4
SECONDS = 180
AEGIS, ENGINE = "aegis", "engine"
"""What is rolled back by which of the two."""
STACKS = {AEGIS: "bench", ENGINE: "engine"}
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


def program(name: str, namespace: str, letter: str) -> Callable[[], None]:
    """The Pulumi program of a release; like this project's, its Deployment is not awaited."""

    def run() -> None:
        import pulumi
        import pulumi_kubernetes as kubernetes

        made = manifests(name, namespace, letter)
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


def open_stack(directory: Path, stack: str) -> tuple[Session, dict[str, str]]:
    """Make a stack in a project with a state backend of its own; return what finds the latter."""
    (directory / "backend").mkdir(exist_ok=True)
    (directory / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
    variables = {
        "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the benchmark's own",
    }
    inherited = {k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"}
    environment = {**inherited, **variables}
    Engine(directory, environment).expect("stack", "init", stack)
    return Session.open(stack, directory, environment), variables


def by_engine(session: Session, namespace: str, letter: str) -> Took:
    """Update the engine's own stack to a release, and wait for its rollout."""
    wall, cpu, _ = measured(lambda: update(session, ENGINE, namespace, letter))
    status = run(*_status(namespace, ENGINE))
    return Took(wall + status.wall, cpu + status.cpu, status.output, status.messages)


def update(session: Session, name: str, namespace: str, letter: str) -> None:
    """Update a stack to a release."""
    outcome = session.update(
        program=program(name, namespace, letter),
        message=letter,
        config={"bench:gate": ConfigValue(json.dumps(GATE))},
    )
    if not outcome.succeeded:
        raise SystemExit(outcome.why)


def measure(pairs: int, namespace: str, directory: Path) -> dict[str, list[Took]]:
    """Deploy both releases of each, then roll back in turn."""
    sessions = {}
    for name, stack in STACKS.items():
        sessions[name], variables = open_stack(directory, stack)
    environment = {**os.environ, **variables}
    for letter in LETTERS:
        for name, session in sessions.items():
            update(session, name, namespace, letter)
        for manifest in manifests("kubectl", namespace, letter).values():
            text = json.dumps(manifest)
            run("kubectl", "apply", "--server-side", "--filename", "-", given=text)
        for name in (*sessions, "kubectl"):
            run(*_status(namespace, name))
    aegis = str(Path(sys.executable).with_name("aegis"))
    took: dict[str, list[Took]] = {AEGIS: [], "kubectl": [], ENGINE: []}
    chance = random.Random(SEED)  # noqa: S311 - not for secrets
    for pair in range(pairs):
        time.sleep(chance.random())
        number = str(1 + pair % 2)
        words = (aegis, "rollback", "--to", number, "--yes", "--stack", STACKS[AEGIS])
        took[AEGIS].append(run(*words, cwd=directory, environment=environment))
        time.sleep(chance.random())
        undo = ("kubectl", "rollout", "undo", "deployment/kubectl", "--namespace", namespace)
        began, status = run(*undo), run(*_status(namespace, "kubectl"))
        took["kubectl"].append(
            Took(began.wall + status.wall, began.cpu + status.cpu, status.output, status.messages)
        )
        time.sleep(chance.random())
        took[ENGINE].append(by_engine(sessions[ENGINE], namespace, LETTERS[pair % 2]))
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
    ratios = {
        name: [ours / theirs for ours, theirs in zip(walls[name], walls["kubectl"], strict=True)]
        for name in STACKS
    }
    say(
        table(
            ("by", "wall, s", "processor, s"),
            [
                (name, shown(its), shown([it.cpu for it in took[name]]))
                for name, its in walls.items()
            ],
        )
    )
    for name, its in ratios.items():
        say(f"{name} beside kubectl, pair by pair: {shown(its)}")
    save(
        "rollback",
        "`aegis rollback` beside `kubectl rollout undo` + `kubectl rollout status` and beside an "
        "update of Pulumi's engine alone, in turn; bake time 0; 2 replicas, minReadySeconds 1",
        {
            "pairs": pairs,
            "seconds": {name: [round(it, 3) for it in its] for name, its in walls.items()},
            "wall": {name: spread(its) for name, its in walls.items()},
            "cpu": {name: spread([it.cpu for it in its]) for name, its in took.items()},
            "ratio": {name: spread(its) for name, its in ratios.items()},
        },
    )


if __name__ == "__main__":
    main()
