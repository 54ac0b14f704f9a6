"""An image that crashes: how long until everything is restored, by three tools in turn.

    python -m lab exec -- python -m bench.crash --rounds 5

All three deploy the same release of the same workload (image and one setting changed) on the same
cluster in the same run, one after the other, so that a machine that slows down slows all of them:
`aegis deploy`, Helm's `upgrade --rollback-on-failure --wait`, and what a person types with kubectl
(`apply`, `rollout status`, and once that has failed `rollout undo`, `rollout status`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.staging import BAD, NAMESPACE, Staging, staging
from lab import settings
from lab.progress import Steps
from lab.toolchain import HELM, HELM_VERSION, Toolchain
from tests.e2e.stand import Stand, execute

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
HELM_NAMESPACE, KUBECTL_NAMESPACE = "bench-helm", "bench-kubectl"
LEVEL = "AEGIS_LOG_LEVEL"
SPANS = ("first crash to restored", "first crash to the command's end", "start to first crash")
"""What is timed; each as median, minimum to maximum."""
_SETTLE_SECONDS = 60
_NOT_DECLARED = ("managedFields", "annotations", "namespace", "resourceVersion", "uid")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One bad release and the way back.

    Attributes:
        tool: Who deployed it.
        crashed: From the command's start to the first crash.
        restored: From the first crash until the cluster runs the good release alone, all ready.
        ended: From the first crash to the end of the command (for kubectl: of the last one).
        configuration: Whether the setting was back as well.
    """

    tool: str
    crashed: float
    restored: float
    ended: float
    configuration: bool


class Eye:
    """Sees when the first container of a bad image ends, and when the good release is back."""

    def __init__(self, at: Stand, namespace: str, good: str, bad: str) -> None:
        self.crashed: float | None = None
        self.restored: float | None = None
        self._good, self._bad, self._bad_pods = good, bad, set[str]()
        self._deployment = ("", "", "", "", "", "")
        self._lock = threading.Lock()
        container = "{.spec.containers[0].image}"
        ended = ".terminated.exitCode}"
        state = "{.status.containerStatuses[0]"
        pods = [
            *("{.type}", "{.object.metadata.name}", "{.object.metadata.deletionTimestamp}"),
            container.replace("{.", "{.object."),
            state.replace("{.", "{.object.") + ".state" + ended,
            state.replace("{.", "{.object.") + ".lastState" + ended,
        ]
        counts = ("updatedReplicas", "readyReplicas", "replicas", "observedGeneration")
        deployment = [
            "{.object.spec.template" + container.removeprefix("{"),
            "{.object.metadata.generation}",
            *(f"{{.object.status.{count}}}" for count in counts),
        ]
        self._watches = [
            (at, namespace, "pods", pods, self._pod),
            (at, namespace, "deployments", deployment, self._rollout),
        ]

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look while the block runs."""
        processes, threads = [], []
        for at, namespace, kind, columns, tell in self._watches:
            process = subprocess.Popen(
                [
                    *("kubectl", "--namespace", namespace, "get", kind, "--watch"),
                    *("--output-watch-events", "--output"),
                    "jsonpath=" + "|".join(columns) + '{"\\n"}',
                ],
                cwd=at.directory,
                env=at.environment,
                stdout=subprocess.PIPE,
                text=True,
            )
            thread = threading.Thread(target=self._read, args=(process, tell), daemon=True)
            thread.start()
            processes.append(process)
            threads.append(thread)
        time.sleep(1)
        try:
            yield
        finally:
            for process in processes:
                process.terminate()
                process.wait()
            for thread in threads:
                thread.join(timeout=5)

    def wait_restored(self) -> float:
        """Return when the good release was back alone."""
        end = time.monotonic() + _SETTLE_SECONDS
        while self.restored is None:
            assert time.monotonic() < end, f"not restored: {self._deployment} {self._bad_pods}"
            time.sleep(0.05)
        return self.restored

    def _read(self, process: subprocess.Popen[str], tell: Callable[[list[str]], None]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            now = time.monotonic()
            with self._lock:
                tell(line.rstrip("\n").split("|"))
                if self.crashed is None or not self._is_back():
                    self.restored = None
                elif self.restored is None:
                    self.restored = now

    def _pod(self, seen: list[str]) -> None:
        event, name, going, image, ended, before = seen
        if image != self._bad:
            return
        if self.crashed is None and (ended or before):
            self.crashed = time.monotonic()
        if going or event == "DELETED":
            self._bad_pods.discard(name)
        else:
            self._bad_pods.add(name)

    def _rollout(self, seen: list[str]) -> None:
        self._deployment = (seen[0], seen[1], seen[2], seen[3], seen[4], seen[5])

    def _is_back(self) -> bool:
        image, generation, updated, ready, replicas, observed = self._deployment
        counted = updated == ready == replicas != ""
        return image == self._good and generation == observed and counted and not self._bad_pods


class Peers:
    """The same workload for Helm and for kubectl, each in a namespace of its own."""

    def __init__(self, stack: Staging, helm: str, directory: Path) -> None:
        self.stack, self.helm, self.directory = stack, helm, directory
        self.at = stack.at
        self.chart = directory / "chart"
        (self.chart / "templates").mkdir(parents=True)
        about = {"apiVersion": "v2", "name": "aegis-api", "version": "1.0.0"}
        (self.chart / "Chart.yaml").write_text(json.dumps(about))
        templates = self._objects("{{ .Values.image }}", "{{ .Values.level }}")
        for item in templates:
            name = f"{item['kind'].lower()}-{item['metadata']['name']}.yaml"
            (self.chart / "templates" / name).write_text(json.dumps(item, indent=1))
        for namespace in (HELM_NAMESPACE, KUBECTL_NAMESPACE):
            self.at.kubectl("delete", "namespace", namespace, "--ignore-not-found")
            self.at.kubectl("create", "namespace", namespace)
        self.upgrade(stack.good, "warning", "--install")
        self.apply(stack.good, "warning")
        self.status()

    def _objects(self, image: str, level: str) -> list[dict[str, Any]]:
        """Return staging's objects as somebody would write them by hand: under plain names."""
        wanted = "deployment,service,configmap,secret,serviceaccount,poddisruptionbudget"
        shown = self.at.kubectl("--namespace", NAMESPACE, "get", wanted, "--output", "json")
        items = []
        for item in json.loads(shown.standard_output)["items"]:
            metadata = item["metadata"]
            if not metadata["name"].startswith("aegis-api"):
                continue
            name, kind = metadata["name"], item["kind"]
            if kind in ("ConfigMap", "Secret"):
                name = f"aegis-api-{kind.lower()}"
                item.pop("immutable", None)
            if kind == "ConfigMap":
                item["data"][LEVEL] = level
            if kind == "Service":
                for key in ("clusterIP", "clusterIPs"):
                    item["spec"].pop(key)
            if kind == "Deployment":
                container = item["spec"]["template"]["spec"]["containers"][0]
                container["image"] = image
                for source in container["envFrom"]:
                    if "configMapRef" in source:
                        source["configMapRef"]["name"] = "aegis-api-configmap"
                    if "secretRef" in source:
                        source["secretRef"]["name"] = "aegis-api-secret"
            item.pop("status", None)
            item["metadata"] = {"name": name, "labels": metadata.get("labels", {})}
            items.append(item)
        return items

    def upgrade(self, digest: str, level: str, *words: str) -> int:
        """Upgrade the Helm release."""
        done = execute(
            *(self.helm, "upgrade", "aegis-api", str(self.chart), *words),
            *("--namespace", HELM_NAMESPACE, "--rollback-on-failure", "--wait"),
            *("--set", f"image={self.stack.image(digest)}", "--set", f"level={level}"),
            cwd=self.directory,
            env={**self.at.environment, "HELM_CACHE_HOME": str(self.directory)},
        )
        assert "--install" not in words or done.code == 0, done.output
        return done.code

    def apply(self, digest: str, level: str) -> None:
        """Apply the manifests with kubectl."""
        path = self.directory / "manifests.json"
        items = self._objects(self.stack.image(digest), level)
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        where = ("--namespace", KUBECTL_NAMESPACE)
        self.at.kubectl(*where, "apply", "--server-side", "--force-conflicts", "-f", str(path))

    def status(self, expect: int | None = 0) -> int:
        """Wait for kubectl's rollout."""
        where = ("--namespace", KUBECTL_NAMESPACE)
        return self.at.kubectl(
            *where, "rollout", "status", "deployment/aegis-api", expect=expect
        ).code

    def level(self, namespace: str) -> str:
        """Return the log level that a namespace's configuration says now."""
        found = self.at.live("configmap", "aegis-api-configmap", namespace)
        return str(found["data"][LEVEL])

    def remove(self) -> None:
        """Remove both namespaces."""
        names = (HELM_NAMESPACE, KUBECTL_NAMESPACE)
        self.at.kubectl("delete", "namespace", *names, "--wait=false")


def by_aegis(peers: Peers) -> bool:
    """Deploy the bad release with `aegis`; return whether the setting is back."""
    stack = peers.stack
    stack.change({"imageDigest": stack.crashing, "version": BAD, "logLevel": "error"})
    report = stack.report("deploy", "--yes", "--force", expect=4)
    assert report["error"]["state"].startswith("rolled back"), report["error"]
    stack.change({"imageDigest": stack.good, "version": "1.0.0", "logLevel": "warning"})
    found = stack.at.kubectl("--namespace", NAMESPACE, "get", "configmap", "--output", "json")
    levels = [it["data"].get(LEVEL) for it in json.loads(found.standard_output)["items"]]
    return [level for level in levels if level] == ["warning"]


def by_helm(peers: Peers) -> bool:
    """Deploy it with Helm; return whether the setting is back."""
    assert peers.upgrade(peers.stack.crashing, "error") != 0
    return peers.level(HELM_NAMESPACE) == "warning"


def by_kubectl(peers: Peers) -> bool:
    """Deploy it with kubectl and undo it; return whether the setting is back."""
    peers.apply(peers.stack.crashing, "error")
    assert peers.status(expect=None) != 0
    where = ("--namespace", KUBECTL_NAMESPACE)
    peers.at.kubectl(*where, "rollout", "undo", "deployment/aegis-api")
    peers.status()
    return peers.level(KUBECTL_NAMESPACE) == "warning"


TOOLS: dict[str, tuple[str, Callable[[Peers], bool]]] = {
    "aegis": (NAMESPACE, by_aegis),
    "helm": (HELM_NAMESPACE, by_helm),
    "kubectl": (KUBECTL_NAMESPACE, by_kubectl),
}


def measure(peers: Peers, tool: str) -> Run:
    """Let a tool deploy the bad release, and look at what becomes of it."""
    namespace, deploy = TOOLS[tool]
    stack = peers.stack
    eye = Eye(peers.at, namespace, stack.image(stack.good), stack.image(stack.crashing))
    with eye.looking():
        began = time.monotonic()
        configuration = deploy(peers)
        ended = time.monotonic()
        restored = eye.wait_restored()
    if not configuration:
        peers.apply(stack.good, "warning")
    assert eye.crashed is not None, "no container was seen to crash"
    return Run(
        tool=tool,
        crashed=eye.crashed - began,
        restored=restored - eye.crashed,
        ended=ended - eye.crashed,
        configuration=configuration,
    )


def table(runs: list[Run]) -> str:
    """Return the figures as a Markdown table."""
    columns = ("tool", "runs", *(f"{what}, s" for what in SPANS), "settings restored")
    rows = ["| " + " | ".join(columns) + " |"]
    rows.append("|---|---|---|---|---|---|")
    for tool in TOOLS:
        mine = [run for run in runs if run.tool == tool]
        if mine:
            spans = [[r.restored for r in mine], [r.ended for r in mine], [r.crashed for r in mine]]
            back = "yes" if all(run.configuration for run in mine) else "no"
            cells = [tool, str(len(mine)), *map(_spread, spans), back]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}; {min(values):.1f} to {max(values):.1f}"


def main() -> None:
    """Measure, print the table, and write every run down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, choices=range(1, 21), metavar="1..20")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    asked = parser.parse_args()
    lab = settings.load(os.environ, ROOT)
    with Steps(1).step("build helm") as step:
        helm = str(Toolchain(lab).build(HELM, step))
    runs: list[Run] = []
    with staging() as stack, tempfile.TemporaryDirectory() as directory:
        peers = Peers(stack, helm, Path(directory))
        try:
            for turn in range(asked.rounds):
                shift = turn % len(asked.tools)
                for tool in asked.tools[shift:] + asked.tools[:shift]:
                    runs.append(measure(peers, tool))
                    print(f"{turn + 1}: {runs[-1]}", flush=True)
        finally:
            peers.remove()
    print(table(runs))
    now = datetime.now(UTC)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"crash-{now:%Y-%m-%dT%H%M%SZ}.json").write_text(
        json.dumps(
            {
                "measured": f"{now:%Y-%m-%d %H:%M} UTC",
                "helm": HELM_VERSION,
                "processors": os.cpu_count(),
                "progressDeadlineSeconds": 20,
                "bakeSeconds": 2,
                "runs": [asdict(run) for run in runs],
            },
            indent=1,
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
