"""The program as a whole: one provider, one table of contents, the outputs people rely on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.rendering import ROOT, Rendering, render
from tests.unit.components.conftest import STACKS

UNUSED = ("pulumi_docker", "pydantic", "pulumi_kubernetes.helm.v3", "pulumi_kubernetes.rbac.v1")


class TestCluster:
    """Every Kubernetes object goes to the one cluster that is named."""

    def test_all_objects_have_the_explicit_provider(self, rendering: Rendering) -> None:
        cluster = rendering.one("pulumi:providers:kubernetes")
        for item in rendering.resources:
            if item.is_manifest:
                assert item.provider.startswith(f"{cluster.urn}::"), item.name

    def test_server_side_apply_is_on(self, rendering: Rendering) -> None:
        inputs = rendering.one("pulumi:providers:kubernetes").inputs
        assert inputs["enableServerSideApply"] in (True, "true")

    def test_it_is_the_kubeconfigs_current_one_by_default(self, rendering: Rendering) -> None:
        assert not {"context", "kubeconfig"} & rendering.one("providers:kubernetes").inputs.keys()

    def test_where_one_machine_keeps_its_kubeconfig_is_not_in_the_state(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBECONFIG", "/home/somebody/.kube/config")
        # A setting no other test has, so that this rendering is a fresh one.
        rendering = render("staging", preStopSeconds="6")
        assert "kubeconfig" not in rendering.one("providers:kubernetes").inputs

    def test_a_changed_kubeconfig_replaces_nothing(self, stack: str, rendering: Rendering) -> None:
        inputs = rendering.one("providers:kubernetes").inputs
        assert inputs["clusterIdentifier"] == f"aegis-{stack}"

    @pytest.mark.parametrize("key", ["context", "kubeconfig", "clusterIdentifier"])
    def test_the_providers_own_setting_names_another(self, key: str) -> None:
        rendering = render("staging", **{f"kubernetes:{key}": "elsewhere"})
        assert rendering.one("providers:kubernetes").inputs[key] == "elsewhere"

    def test_a_kubeconfig_is_a_secret(self) -> None:
        rendering = render("staging", **{"kubernetes:kubeconfig": "elsewhere"})
        assert "kubeconfig" in rendering.one("providers:kubernetes").secret_inputs


class TestOutputs:
    """The outputs have the names that operations rely on."""

    def test_are_these(self, rendering: Rendering) -> None:
        assert list(rendering.outputs) == [
            "namespace",
            "imageDigest",
            "version",
            "replicas",
            "serviceUrl",
            "schema",
        ]

    def test_are_all_known(self, rendering: Rendering) -> None:
        assert None not in rendering.outputs.values()


class TestTheTableOfContents:
    """``__main__.py`` can be read at a glance."""

    def test_is_short(self) -> None:
        assert len((ROOT / "__main__.py").read_text(encoding="utf-8").splitlines()) < 80

    def test_names_no_stack(self) -> None:
        program = (ROOT / "__main__.py").read_text(encoding="utf-8")
        assert not [stack for stack in STACKS if stack in program]

    def test_a_stack_that_builds_nothing_imports_no_more_than_it_needs(self) -> None:
        code = (
            "import sys; sys.path.insert(0, '.')\n"
            "import components.api_service, components.image, components.settings\n"
            f"print([name for name in {UNUSED!r} if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"
