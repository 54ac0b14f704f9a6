"""components.gate: what a stack with a gate declares, and that one without pays nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.rendering import ROOT, Rendering, render

WAIT_FOR = "pulumi.com/waitFor"
GATE = json.dumps({"bakeSeconds": 5})


class TestAStackWithAGate:
    """The gate waits, judges, and notes in the state what has passed."""

    @pytest.fixture(params=["development", "staging", "production"])
    def rendering(self, request: pytest.FixtureRequest) -> Rendering:
        return render(str(request.param), gate=GATE)

    def test_leaves_the_waiting_for_the_rollout_to_the_gate(self, rendering: Rendering) -> None:
        annotations = rendering.one("Deployment").manifest["metadata"]["annotations"]
        assert annotations == {WAIT_FOR: "jsonpath={.metadata.uid}"}

    def test_still_waits_for_the_end_of_the_pods(self, rendering: Rendering) -> None:
        annotations = rendering.one("Deployment").manifest["metadata"]["annotations"]
        assert "pulumi.com/skipAwait" not in annotations

    def test_marks_what_has_passed_after_the_deployment(self, rendering: Rendering) -> None:
        marker = rendering.one("pulumi:index:Stash")
        assert rendering.one("Deployment").urn in marker.dependencies

    def test_the_marker_names_all_that_makes_a_release(self, rendering: Rendering) -> None:
        marker = rendering.one("pulumi:index:Stash").inputs["input"]
        pod = rendering.one("Deployment").manifest["spec"]["template"]
        assert marker["image"] == pod["spec"]["containers"][0]["image"]
        assert marker["version"] == pod["metadata"]["labels"]["app.kubernetes.io/version"]
        references = pod["spec"]["containers"][0]["envFrom"]
        assert marker["configMap"] == references[0]["configMapRef"]["name"]

    def test_the_marker_changes_with_the_secret_and_does_not_show_it(self) -> None:
        token = "a-token-nobody-may-see-0001"
        marker = render("staging", gate=GATE, token=token).one("pulumi:index:Stash")
        assert marker.inputs["input"]["secret"].startswith("aegis-api-secret-")
        assert token not in json.dumps(dict(marker.inputs))


class TestACanaryStep:
    """One new pod at a time, and as long at each as the setting says."""

    def test_holds_the_rollout_at_each_pod(self) -> None:
        spec = render("production", gate='{"canary": 45}').one("Deployment").manifest["spec"]
        assert spec["minReadySeconds"] == 45
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}

    def test_never_shortens_what_a_pod_must_be_ready_for(self) -> None:
        rendering = render("production", gate='{"canary": 1}', minReadySeconds="7")
        assert rendering.one("Deployment").manifest["spec"]["minReadySeconds"] == 7

    def test_surges_by_one_also_where_a_rollout_would_by_more(self) -> None:
        rendering = render("production", gate='{"canary": 5}', productionReplicas="20")
        rolling = rendering.one("Deployment").manifest["spec"]["strategy"]["rollingUpdate"]
        assert rolling["maxSurge"] == 1


class TestAStackWithoutAGate:
    """Nothing of the gate is there."""

    @pytest.fixture
    def rendering(self) -> Rendering:
        return render("staging", gate=None)

    def test_waits_as_pulumi_does(self, rendering: Rendering) -> None:
        assert "annotations" not in rendering.one("Deployment").manifest["metadata"]

    def test_has_no_marker(self, rendering: Rendering) -> None:
        assert rendering.of_type("pulumi:index:Stash") == []


def test_importing_the_hooks_imports_nothing_heavy() -> None:
    program = (
        "import sys, pulumi, pulumi_kubernetes, aegis_deploy.program.hooks;"
        "slow = ('kubernetes', 'aegis_deploy.gate.analysis', 'aegis_deploy.kubernetes.client');"
        "print([m for m in slow if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"
