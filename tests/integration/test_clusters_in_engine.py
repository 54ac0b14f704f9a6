"""A stack in two clusters, by providers of its own: the real engine, and everybody who looks.

Where the stack's settings lead there is a third one, which is nobody's business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import ResourceOptions

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import ExitCode
from aegis_deploy.common.signals import Signals
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.flows.workloads import to_watch
from aegis_deploy.history import stack_history, verification_store
from tests.integration.accepting_provider import VERSIONS
from tests.integration.attached_providers import VARIABLE
from tests.integration.cluster_over_http import CONFIG_MAPS, ClusterOverHttp
from tests.integration.isolation import write_program
from tests.integration.shop import CONFIG_MAP, Stand

pytestmark = pytest.mark.integration
DEPLOYMENT = "kubernetes:apps/v1:Deployment"


@dataclass
class Regions:
    """A stack with a ConfigMap `settings` in each of two clusters.

    Attributes:
        stand: The stack.
        east: The cluster whose kubeconfig is a secret of the state's.
        west: The one whose kubeconfig is a file of the project's.
        decoy: The one that the stack's settings lead to.
    """

    stand: Stand
    east: ClusterOverHttp
    west: ClusterOverHttp
    decoy: ClusterOverHttp

    def program(self, data: str) -> Callable[[], None]:
        """What is deployed."""

        def provider(name: str, kubeconfig: Any) -> pulumi.ProviderResource:
            options = ResourceOptions(version=VERSIONS["kubernetes"])
            return pulumi.ProviderResource("kubernetes", name, {"kubeconfig": kubeconfig}, options)

        def program() -> None:
            for by in (
                provider("east", pulumi.Output.secret(self.east.kubeconfig())),
                provider("west", "clusters/west"),
            ):
                metadata = {"name": "settings", "namespace": "shop"}
                given = {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": metadata,
                    "data": {"x": data},
                }
                name = f"settings-{by._name}"
                pulumi.CustomResource(CONFIG_MAP, name, given, ResourceOptions(provider=by))

        return program

    def deploy(self, data: str) -> None:
        """Deploy it, and mark it as verified."""
        session = self.stand.open()
        outcome = session.update(program=self.program(data), message="deploy")
        assert outcome.succeeded, outcome.why
        verification_store.mark_verified(session, stack_history.releases(session)[0])

    def data(self) -> list[dict[str, str]]:
        """What is in the clusters."""
        return [it.data() for it in (self.east, self.west, self.decoy)]

    def said(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
        """Run `aegis`; return its exit code and what it said."""
        capsys.readouterr()
        code = self.stand.aegis(*words)
        done = capsys.readouterr()
        return code, done.out + done.err

    def document(self, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
        """Run `aegis`; return its exit code and its document."""
        capsys.readouterr()
        code = self.stand.aegis(*words, "--json")
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def regions(stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Regions]:
    """The stack, deployed once; its provider is the lab's stand-in."""
    clusters = [ClusterOverHttp() for _ in range(3)]
    try:
        made = Regions(stand, *clusters)
        place = stand.open().directory / "clusters"
        place.mkdir()
        made.west.place_kubeconfig(place / "west")
        made.decoy.place_kubeconfig(tmp_path / "kubeconfig")
        for name, value in (("kubeconfig", str(tmp_path / "kubeconfig")), ("context", "fake")):
            stand.set(f"kubernetes:{name}", value)
        # A kubeconfig is looked for from where the provider runs, so the engine starts it there.
        version = VERSIONS["kubernetes"]
        plugin = tmp_path / "home" / "plugins" / f"resource-kubernetes-v{version}"
        write_program(plugin / "pulumi-resource-kubernetes", "lab.plugins.kubernetes")
        del stand.environment[VARIABLE]
        monkeypatch.delenv(VARIABLE)
        made.deploy("1")
        yield made
    finally:
        for it in clusters:
            it.close()


def test_drift_is_looked_for_where_each_object_is(
    regions: Regions, capsys: pytest.CaptureFixture[str]
) -> None:
    assert regions.data() == [{"settings": "1"}, {"settings": "1"}, {}]
    code, said = regions.said(capsys, "drift")
    assert code == ExitCode.OK, said
    regions.west.put("settings", "by hand", manager="kubectl-edit")
    code, found = regions.document(capsys, "drift")
    assert code == ExitCode.DIFFERENT
    (item,) = found["objects"]
    assert (item["kind"], item["name"], item["provider"]) == ("ConfigMap", "settings", "west")
    assert regions.decoy.requests == []


def test_a_fix_changes_what_drifted_where_it_is(
    regions: Regions, capsys: pytest.CaptureFixture[str]
) -> None:
    regions.decoy.put("settings", "nobody's business")
    regions.west.put("settings", "by hand", manager="kubectl-edit")
    regions.west.changes()
    regions.east.changes()
    code, said = regions.said(capsys, "drift", "--fix", "--yes")
    assert code == ExitCode.OK, said
    assert regions.data() == [
        {"settings": "1"},
        {"settings": "1"},
        {"settings": "nobody's business"},
    ]
    assert regions.east.changes() == []
    assert regions.west.changes() != []
    assert regions.decoy.changes() == []


def test_what_is_in_the_others_is_told_while_one_cannot_be_asked(
    regions: Regions, capsys: pytest.CaptureFixture[str]
) -> None:
    regions.east.put("settings", "by hand", manager="kubectl-edit")
    regions.west.close()
    code, said = regions.said(capsys, "drift")
    assert code == ExitCode.DIFFERENT, said
    assert "ConfigMap shop/settings (provider east)" in said
    assert "NOT compared, for its cluster could not be asked: provider west: " in said
    code, said = regions.said(capsys, "status")
    assert "ConfigMap settings (provider east) is not as it was declared" in said
    assert "not compared: provider west: " in said
    code, said = regions.said(capsys, "drift", "--fix", "--yes")
    assert code == ExitCode.REFUSED, said
    assert "provider west" in said
    assert regions.data()[0] == {"settings": "by hand"}


def test_without_any_drift_in_the_others_that_is_no_success(
    regions: Regions, capsys: pytest.CaptureFixture[str]
) -> None:
    regions.west.close()
    code, said = regions.said(capsys, "drift")
    assert code == ExitCode.REFUSED, said
    assert "no drift in what could be compared" in said


def test_a_rollback_takes_back_what_is_in_each(
    regions: Regions, capsys: pytest.CaptureFixture[str]
) -> None:
    regions.deploy("2")
    del regions.west.objects[f"{CONFIG_MAPS}/settings"]
    code, said = regions.said(capsys, "rollback", "--to", "1", "--yes")
    assert code == ExitCode.OK, said
    assert regions.data() == [{"settings": "1"}, {"settings": "1"}, {}]
    assert regions.decoy.requests == []


def test_what_an_update_will_roll_out_is_watched_where_its_new_providers_lead(
    regions: Regions,
) -> None:
    """As far as a preview can tell: a secret that the update makes anew, it cannot."""
    workload = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
    }
    before = regions.program("1")

    def program() -> None:
        before()
        for name, kubeconfig in (
            ("north", regions.decoy.kubeconfig()),
            ("south", pulumi.Output.secret(regions.decoy.kubeconfig())),
        ):
            options = ResourceOptions(version=VERSIONS["kubernetes"])
            by = pulumi.ProviderResource("kubernetes", name, {"kubeconfig": kubeconfig}, options)
            options = ResourceOptions(provider=by)
            pulumi.CustomResource(DEPLOYMENT, f"web-{name}", dict(workload), options)

    session = regions.stand.open()
    changes = session.preview(program=program)
    flow = FlowContext.of(session, Output(), Signals())
    (found,) = to_watch(flow, changes)
    assert str(found) == "shop/web (provider north)"
    assert flow.clusters.of(found).address == regions.decoy.url
