"""The order of things in the real engine: configuration before pods, old configuration last."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Project
from tests.rendering import TOKEN
from tests.series import every

pytestmark = pytest.mark.integration


def position(steps: list[str], start: str) -> int:
    """Where the only step that starts so is."""
    (index,) = [number for number, step in enumerate(steps) if step.startswith(start)]
    return index


class TestFirstDeploy:
    """Everything a stack declares is made, once."""

    @pytest.mark.parametrize(
        "project",
        [
            pytest.param("development", marks=every),
            pytest.param("staging", marks=every),
            "production",
        ],
        indirect=True,
    )
    def test_each_stack_deploys_and_then_has_nothing_to_do(self, project: Project) -> None:
        done = project.up()
        assert done.code == 0, done.text
        steps = project.steps()
        assert len(steps) == 12
        assert steps.index(f"create Namespace aegis-{project.stack}") == min(
            index for index, step in enumerate(steps) if "Image" not in step
        )
        assert position(steps, "create Deployment") > position(steps, "create ConfigMap")
        assert position(steps, "create Deployment") > position(steps, "create Image")
        assert position(steps, "create Deployment") > max(
            position(steps, f"create {kind}")
            for kind in (
                "ResourceQuota",
                "LimitRange",
                f"NetworkPolicy aegis-{project.stack}-default-deny",
            )
        )
        project.expect("preview", "--expect-no-changes", "--stack", project.stack)
        assert project.steps() == []

    def test_a_given_digest_needs_no_docker_at_all(self, project: Project) -> None:
        project.set("aegis:imageDigest", f"sha256:{'a' * 64}")
        assert project.up().code == 0
        assert not [step for step in project.steps() if "Image" in step]

    def test_a_secret_is_nowhere_to_be_read(self, project: Project) -> None:
        project.set("aegis:apiToken", TOKEN, "--secret")
        done = project.up()
        assert done.code == 0, done.text
        assert TOKEN not in done.text
        kept = [path for path in project.directory.parent.rglob("*.json*") if path.is_file()]
        assert kept
        assert not [path for path in kept if TOKEN.encode() in path.read_bytes()]


class TestChangedConfiguration:
    """Old and new configuration live side by side until the new pods run."""

    def test_new_comes_before_the_pods_and_old_goes_after_them(self, deployed: Project) -> None:
        deployed.set("aegis:logLevel", "error")
        deployed.set("aegis:apiToken", f"{TOKEN}-2", "--secret")
        done = deployed.up()
        assert done.code == 0, done.text
        steps = deployed.steps()
        kinds = [step.rpartition(" ")[0] for step in steps]
        assert sorted(kinds[:2]) == ["create ConfigMap", "create Secret"]
        assert kinds[2] == "update Deployment"
        assert sorted(kinds[3:]) == ["delete ConfigMap", "delete Secret"]

    def test_a_rollout_that_fails_deletes_nothing(self, deployed: Project) -> None:
        before = {item["urn"] for item in deployed.state()}
        deployed.set("aegis:logLevel", "error")
        deployed.fail("update Deployment")
        assert deployed.up().code != 0
        assert [step.split()[0] for step in deployed.steps()] == ["create"]
        assert before < {item["urn"] for item in deployed.state()}

    def test_and_going_back_finds_the_old_one_untouched(self, deployed: Project) -> None:
        deployed.set("aegis:logLevel", "error")
        deployed.fail("update Deployment")
        assert deployed.up().code != 0
        deployed.steps()
        deployed.fail(None)
        deployed.expect("config", "rm", "--stack", deployed.stack, "aegis:logLevel")
        assert deployed.up().code == 0
        assert [step.rpartition(" ")[0] for step in deployed.steps()] == ["delete ConfigMap"]


class TestDestroy:
    """A stack goes in the opposite order, and goes whole."""

    def test_pods_go_before_what_they_need(self, deployed: Project) -> None:
        deployed.expect("destroy", "--yes", "--skip-preview", "--stack", deployed.stack)
        steps = deployed.steps()
        assert position(steps, "delete Deployment") < position(steps, "delete ConfigMap")
        assert position(steps, "delete Deployment") < position(steps, "delete ServiceAccount")
        assert position(steps, "delete Deployment") < position(
            steps, f"delete NetworkPolicy aegis-{deployed.stack}-default-deny"
        )
        assert position(steps, "delete Namespace") == max(
            index for index, step in enumerate(steps) if "Image" not in step
        )
        assert deployed.state() == []
