"""A program beside an autoscaler: the number of pods is its, whoever deploys or goes back.

The tests of this file run in order on one stack. The autoscaler has no metrics; that it keeps to
its least number is enough to be one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.e2e.small_program import STACK, SmallProgram
from tests.series import every

PROGRAM = """
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
version, replicas = config.require("version"), config.get_int("replicas")
run = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(0)); time.sleep(9999)"
metadata = {"name": "web", "namespace": config.require("namespace")}
container = {
    "name": "web",
    "image": config.require("image"),
    "command": ["python3", "-c", run],
    "env": [{"name": "VERSION", "value": version}],
    "resources": {"requests": {"cpu": "10m"}},
}
web = kubernetes.apps.v1.Deployment(
    "web",
    metadata=metadata,
    spec={
        **({} if replicas is None else {"replicas": replicas}),
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 3, "containers": [container]},
        },
    },
)
if config.get_bool("scaled"):
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}
    kubernetes.autoscaling.v2.HorizontalPodAutoscaler(
        "web",
        metadata=metadata,
        spec={
            "scaleTargetRef": target,
            "minReplicas": 3,
            "maxReplicas": 4,
            "metrics": [{"type": "Resource", "resource": cpu}],
        },
        opts=pulumi.ResourceOptions(depends_on=[web]),
    )
"""
DECLARED, SCALED = 1, 3
PLAIN, AUTOSCALED, UNDECLARED = (
    {"version": "v1", "replicas": str(DECLARED), "scaled": "false"},
    {"version": "v2", "replicas": str(DECLARED), "scaled": "true"},
    {"version": "v3", "replicas": "", "scaled": "true"},
)
SECONDS = 120


class Scaled(SmallProgram):
    """The program, its stack and its namespace."""

    def deploys(self, settings: dict[str, str]) -> int:
        """Deploy something; return the release's number."""
        self.configure(settings)
        return int(self.told("deploy", "--yes")["release"])

    def replicas(self) -> int:
        """How many pods the Deployment is to have."""
        return int(self.live("deployment", "web")["spec"]["replicas"])

    def wait_for(self, replicas: int) -> None:
        """Wait until the Deployment is to have so many pods."""
        deadline = time.monotonic() + SECONDS
        while self.replicas() != replicas:
            assert time.monotonic() < deadline, f"{self.replicas()} in place of {replicas}"
            time.sleep(0.2)

    def drifted(self) -> list[str]:
        """The fields that drifted."""
        found = self.told("drift", expect=None)
        return sorted(it["path"] for item in found["objects"] for it in item["fields"])

    def drifted_to_all(self) -> list[str]:
        """The fields that drifted, of which all who look say the same."""
        fields = self.drifted()
        said = self.told("status")["drift"]
        assert said["unknown"] == ""
        named: list[str] = []
        for line in said["found"]:
            named += filter(None, line.partition("declared: ")[2].split(", "))
        assert sorted(named) == fields
        return fields

    def unchanged(self) -> None:
        """Require that a plain preview finds nothing to do."""
        self.run("pulumi", "preview", "--expect-no-changes", "--non-interactive", *STACK)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scaled]:
    """A stack that nothing was deployed from."""
    directory = tmp_path_factory.mktemp("autoscaled")
    it = Scaled.written(directory, PROGRAM, {"gate.bakeSeconds": "0"})
    it.run("kubectl", "create", "namespace", it.namespace)
    try:
        yield it
    finally:
        it.leave()


@pytest.fixture(scope="module")
def scaled(shop: Scaled) -> dict[str, int]:
    """The numbers of the releases without and with an autoscaler, which has scaled."""
    numbers = {"plain": shop.deploys(PLAIN)}
    shop.kubectl("scale", "deployment", "web", "--replicas=2")
    assert shop.drifted_to_all() == ["spec.replicas"], "nothing but a person's hand did this"
    shop.aegis("drift", "--fix", "--yes")
    assert shop.replicas() == DECLARED
    numbers["autoscaled"] = shop.deploys(AUTOSCALED)
    shop.wait_for(SCALED)
    return numbers


@pytest.mark.usefixtures("scaled")
def test_what_an_autoscaler_wrote_is_no_drift_to_anybody(shop: Scaled) -> None:
    assert "no drift" in shop.aegis("drift").output
    shop.kubectl("scale", "deployment", "web", "--replicas=4")
    assert shop.drifted_to_all() == [], "within what it allows, which it lets be"
    shop.kubectl("label", "deployment", "web", "who=me")
    shop.kubectl("annotate", "deployment", "web", "--field-manager=some-loop", "its=own")
    assert shop.drifted() == ["metadata.labels.who"]
    shop.aegis("drift", "--fix", "--yes")
    shop.wait_for(4)
    assert shop.drifted() == []
    metadata = shop.live("deployment", "web")["metadata"]
    assert metadata["annotations"]["its"] == "own"
    assert "who" not in metadata.get("labels", {})


@pytest.mark.usefixtures("scaled")
def test_a_program_that_wants_another_number_is_told_and_takes_none_away(shop: Scaled) -> None:
    before = shop.replicas()
    shop.configure({**AUTOSCALED, "version": "v2b"})
    # The provider forces its previews only as long as it has applied nothing.
    refused = shop.aegis("deploy", "--yes", expect=None)
    assert refused.code in (3, 4), refused.output
    assert "leave spec.replicas out of the program" in refused.output
    assert shop.replicas() == before
    assert shop.drifted() == []


def test_going_back_leaves_the_number_and_the_next_update_finds_nothing_to_do(
    shop: Scaled, scaled: dict[str, int]
) -> None:
    shop.deploys(UNDECLARED)
    before = shop.replicas()
    assert before >= SCALED
    back = shop.aegis("rollback", "--yes", "--to", str(scaled["autoscaled"]))
    assert "spec.replicas is for HorizontalPodAutoscaler web to decide" in back.output
    assert shop.replicas() == before
    assert shop.drifted() == []
    assert "far is in order" in shop.aegis("recover", "--preview").output
    shop.configure(AUTOSCALED)
    shop.unchanged()


@every
def test_without_its_autoscaler_the_number_is_the_releases_again(
    shop: Scaled, scaled: dict[str, int]
) -> None:
    # From the rollback's own record, which never had the number that was declared.
    shop.kubectl("delete", "horizontalpodautoscaler", "web")
    assert "spec.replicas" in shop.drifted()
    shop.aegis("drift", "--fix", "--yes")
    shop.wait_for(SCALED)
    shop.aegis("rollback", "--yes", "--to", str(scaled["plain"]))
    assert shop.replicas() == DECLARED
    assert shop.drifted() == []
    shop.configure(PLAIN)
    shop.unchanged()
