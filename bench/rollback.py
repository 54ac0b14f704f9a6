"""How long `aegis rollback` takes beside `kubectl rollout undo` and `kubectl rollout status`.

What is measured: wall time of the commands, from start to exit, in turn on the same cluster in the
same run. Two Deployments are alike (image, replicas, strategy, probes, a ConfigMap and a Secret
that differ between the releases). One is a Pulumi stack's and is rolled back by `aegis rollback
--to N --yes`, from one release to the other and back; the other is kubectl's own. kubectl's
ConfigMaps and Secrets of both releases are left in place, for it restores none; `aegis` restores
them, records the update, refuses the release that was left, and deletes what that one had.

The bake time is 0 for `aegis`, for kubectl has none: both end when the rollout is complete.

    .venv/bin/python -m lab exec -- .venv/bin/python -m bench.rollback [pairs]
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.engine import Engine
from ops.release import ConfigValue
from ops.stack import Session

PAIRS = 10
SECONDS = 180
RESULTS = Path(__file__).with_name("results") / "rollback.json"
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


def run(*words: str, given: object = None, cwd: Path | None = None, **variables: str) -> float:
    """Run a command to its end and return how long it took."""
    began = time.monotonic()
    done = subprocess.run(
        words,
        input=None if given is None else json.dumps(given),
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **variables},
        timeout=SECONDS,
        check=False,
    )
    took = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return took


def measure(pairs: int, namespace: str, directory: Path) -> dict[str, list[float]]:
    """Deploy both releases of both, then roll back in turn."""
    (directory / "backend").mkdir()
    (directory / "Pulumi.yaml").write_text("name: bench\nruntime: python\n")
    variables = {
        "PULUMI_BACKEND_URL": f"file://{directory / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the benchmark's own",
    }
    inherited = {k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"}
    environment = {**inherited, **variables}
    Engine(directory, environment).expect("stack", "init", STACK)
    session = Session.open(STACK, directory, environment)
    config = {"bench:gate": ConfigValue(json.dumps(GATE))}
    for letter in LETTERS:
        outcome = session.update(program=program(namespace, letter), message=letter, config=config)
        if not outcome.succeeded:
            raise SystemExit(outcome.why)
        for manifest in manifests("kubectl", namespace, letter).values():
            run("kubectl", "apply", "--server-side", "--filename", "-", given=manifest)
        for name in ("aegis", "kubectl"):
            _status(namespace, name)
    aegis = str(Path(sys.executable).with_name("aegis"))
    took: dict[str, list[float]] = {"aegis": [], "kubectl": []}
    for pair in range(pairs):
        number = str(1 + pair % 2)
        words = ("rollback", "--to", number, "--yes", "--stack", STACK)
        took["aegis"].append(run(aegis, *words, cwd=directory, **variables))
        undo = ("rollout", "undo", "deployment/kubectl", "--namespace", namespace)
        took["kubectl"].append(run("kubectl", *undo) + _status(namespace, "kubectl"))
        say(f"{pair + 1:>3}", *(f"{name} {its[-1]:.2f} s" for name, its in took.items()))
    return took


def _status(namespace: str, name: str) -> float:
    return run(
        *("kubectl", "rollout", "status", f"deployment/{name}"),
        *("--namespace", namespace, "--timeout", f"{SECONDS}s"),
    )


def say(*words: str) -> None:
    """Print a line."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


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
    medians = {name: statistics.median(values) for name, values in took.items()}
    ratio = medians["aegis"] / medians["kubectl"]
    say(
        f"median of {pairs}: aegis rollback {medians['aegis']:.2f} s,",
        f"kubectl rollout undo + status {medians['kubectl']:.2f} s, ratio {ratio:.2f}",
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(
        json.dumps(
            {
                "measures": "wall time of `aegis rollback` and of `kubectl rollout undo` + "
                "`kubectl rollout status`, in turn; bake time 0; 2 replicas, minReadySeconds 1",
                "when": datetime.now(UTC).isoformat(timespec="seconds"),
                "cores": os.cpu_count(),
                "load": round(os.getloadavg()[0], 2),
                "python": platform.python_version(),
                "pairs": pairs,
                "seconds": {name: [round(it, 3) for it in its] for name, its in took.items()},
                "median": {name: round(it, 3) for name, it in medians.items()},
                "ratio": round(ratio, 3),
            },
            indent=2,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
