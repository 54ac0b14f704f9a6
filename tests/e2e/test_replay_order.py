"""The order of a rollback on a real cluster: nothing the pods of now need goes before they do."""

from __future__ import annotations

import io
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Signals
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.flows.rollback import RollbackRequest, rollback
from aegis_deploy.flows.rollback_report import RollbackReport
from aegis_deploy.kubernetes.client import ApiError, Cluster, connect
from aegis_deploy.kubernetes.informer import read_snapshot
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.model.workloads.rollout import Snapshot, Workload, rollout
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.stack.session import Session
from tests.e2e.comparison import unlike_release
from tests.e2e.stand import execute

STACK = "order"
LABELS = {"app": "web"}
CONFIG = {"order:gate": ConfigValue('{"bakeSeconds": 0, "versionCheck": false}')}
SECONDS = 300
SERVER = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
http.server.HTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@dataclass
class Order:
    """A program whose Deployment nobody awaits, in a namespace of its own."""

    directory: Path
    environment: dict[str, str]
    namespace: str
    cluster: Cluster

    @property
    def web(self) -> Workload:
        """Its Deployment."""
        return Workload(namespace=self.namespace, name="web")

    def up(self, release: str, server: str = SERVER) -> None:
        """Deploy a release, and wait until it serves."""
        session = Session.open(STACK, self.directory, self.environment)
        program = self._program(release, server)
        outcome = session.update(program=program, message=release, config=CONFIG)
        assert outcome.succeeded, outcome.failures

    def serving(self) -> None:
        """Wait until its rollout is complete."""
        end = time.monotonic() + SECONDS
        while not rollout(self.now()).complete:
            assert time.monotonic() < end
            time.sleep(0.1)

    def now(self) -> Snapshot:
        """What the cluster holds of the Deployment."""
        return read_snapshot(self.cluster, self.web)

    def has_config(self, release: str) -> bool:
        """Whether the release's ConfigMap is in the cluster."""
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/web-{release}"
        try:
            self.cluster.get(path)
        except ApiError as error:
            assert error.code == 404
            return False
        return True

    def back(self, to: int) -> RollbackReport:
        """Roll back as `aegis rollback --to N --yes` does."""
        session = Session.open(STACK, self.directory, self.environment)
        out = Output(results=io.StringIO(), messages=io.StringIO())
        return rollback(FlowContext.of(session, out, Signals()), RollbackRequest(to=to, yes=True))

    def _program(self, release: str, server: str) -> Callable[[], None]:
        def run() -> None:
            import pulumi
            import pulumi_kubernetes as kubernetes

            own = f"web-{release}"
            config = kubernetes.core.v1.ConfigMap(
                own, metadata={"name": own, "namespace": self.namespace}, data={"RELEASE": release}
            )
            container = {
                "name": "web",
                "image": os.environ["AEGIS_RUNTIME_IMAGE"],
                "command": ["python3", "-c", server],
                "envFrom": [{"configMapRef": {"name": own}}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
            }
            kubernetes.apps.v1.Deployment(
                "web",
                metadata={
                    "name": "web",
                    "namespace": self.namespace,
                    "annotations": {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"},
                },
                spec={
                    "replicas": 2,
                    "minReadySeconds": 4,
                    "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                    "selector": {"matchLabels": LABELS},
                    "template": {
                        "metadata": {"labels": LABELS},
                        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
                    },
                },
                opts=pulumi.ResourceOptions(depends_on=[config]),
            )

        return run


@dataclass
class Witness(threading.Thread):
    """Sees whether the newer release's config goes while its pods serve; has one start anew."""

    order: Order
    release: str
    restarts: bool = True
    missed: list[str] = field(default_factory=list)
    restarted: str = ""
    recovered: bool = False
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(name="witness", daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        """Watch until it is over."""
        while not self.over.wait(0.05):
            # In this order: a config that is gone before a rollout is still incomplete went early.
            there = self.order.has_config(self.release)
            snapshot = self.order.now()
            if not there and not rollout(snapshot).complete:
                self.missed.append(f"{len(snapshot.old_pods)} pods still need web-{self.release}")
            old = [pod for pod in snapshot.old_pods if "deletionTimestamp" not in pod["metadata"]]
            if snapshot.new_pods and old and self.restarts and not self.restarted:
                self.restarted = old[-1]["metadata"]["name"]
                self._end(self.restarted)
            for pod in old:
                status: Any = (pod["status"].get("containerStatuses") or [{}])[0]
                if pod["metadata"]["name"] == self.restarted and status.get("restartCount"):
                    self.recovered |= bool(status.get("ready"))

    def _end(self, pod: str) -> None:
        words = ("kubectl", "--namespace", self.order.namespace, "exec", pod, "--")
        end = ("python3", "-c", "import os; os.kill(1, 15)")
        execute(*words, *end, cwd=self.order.directory, env=self.order.environment)


@pytest.fixture
def order(tmp_path: Path) -> Iterator[Order]:
    """The program, its stack and its namespace."""
    (tmp_path / "backend").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: order\nruntime: python\n")
    environment = {
        **{k: v for k, v in os.environ.items() if k != "PULUMI_CONFIG_PASSPHRASE_FILE"},
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "the tests' own",
    }
    Engine(tmp_path, environment).expect("stack", "init", STACK)
    it = Order(tmp_path, environment, f"replay-{secrets.token_hex(3)}", connect())

    def kubectl(*words: str) -> None:
        assert execute("kubectl", *words, cwd=tmp_path, env=environment).code == 0

    kubectl("create", "namespace", it.namespace)
    try:
        yield it
    finally:
        kubectl("delete", "namespace", it.namespace, "--wait=false")


def test_the_newer_releases_config_is_there_as_long_as_its_pods_are(order: Order) -> None:
    order.up("one")
    order.serving()
    order.up("two")
    order.serving()
    witness = Witness(order, "two")
    witness.start()
    try:
        report = order.back(1)
    finally:
        witness.over.set()
        witness.join()
    assert witness.missed == []
    assert witness.restarted, "no pod of the newer release was there during the rollback"
    assert witness.recovered, "a pod of the newer release did not come back without its config"
    assert not order.has_config("two"), "it is deleted in the end"
    assert rollout(order.now()).complete
    assert report.verdict is not None
    assert report.verdict.passed
    assert unlike_release(order, STACK, 1) == []


def test_a_rollback_that_does_not_come_up_deletes_nothing(order: Order) -> None:
    order.up("bad", "raise SystemExit('no such host')")
    order.up("good")
    order.serving()
    with pytest.raises(AegisError) as raised:
        order.back(1)
    assert raised.value.code is ExitCode.NOT_ROLLED_BACK
    assert "no such host" in raised.value.why
    assert order.has_config("good")
    serving = [pod for pod in order.now().old_pods if pod["status"].get("phase") == "Running"]
    assert len(serving) == 2, "what served goes on serving"
