"""The gate's hooks in a real engine, without a cluster: what a failed gate leaves behind."""

from __future__ import annotations

import json
from typing import Any

from aegis_deploy.history import verification_store
from aegis_deploy.model import declared
from aegis_deploy.model.fingerprint import declared_by_steps, fingerprint
from aegis_deploy.stack.session import Session
from tests.integration.conftest import Project

WITHOUT_CLUSTER = "there is no usable kubeconfig"


def _marker(project: Project) -> dict[str, Any] | None:
    exported = json.loads(project.expect("stack", "export", "--stack", project.stack).text)
    found = [
        item for item in exported["deployment"]["resources"] if item["type"] == "pulumi:index:Stash"
    ]
    return found[0] if found else None


class TestAGateThatDoesNotPass:
    """The update fails, says why, and leaves no mark that it passed."""

    def test_fails_the_update_with_the_reason_and_no_traceback(self, project: Project) -> None:
        project.set("aegis:gate.bakeSeconds", "1", "--path")
        shown = project.up()
        assert shown.code != 0
        assert WITHOUT_CLUSTER in shown.text
        assert "Traceback" not in shown.text
        assert _marker(project) is None

    def test_is_run_again_by_the_next_update(self, project: Project) -> None:
        project.set("aegis:gate.bakeSeconds", "1", "--path")
        assert project.up().code != 0
        project.steps()
        shown = project.up()
        assert shown.code != 0
        assert WITHOUT_CLUSTER in shown.text
        assert [step for step in project.steps() if "Deployment" in step] == []

    def test_deletes_nothing_of_the_release_before(self, deployed: Project) -> None:
        deployed.set("aegis:gate.bakeSeconds", "1", "--path")
        deployed.set("aegis:logLevel", "debug")
        for _ in range(2):
            assert deployed.up().code != 0
            assert [step for step in deployed.steps() if step.startswith("delete")] == []


class TestAPreview:
    """No hook runs in a preview, with or without a cluster."""

    def test_works_without_a_cluster(self, project: Project) -> None:
        project.set("aegis:gate.bakeSeconds", "1", "--path")
        shown = project.expect("preview", "--stack", project.stack)
        assert "aegis-api-gate" in shown.text
        assert WITHOUT_CLUSTER not in shown.text


class TestAReleaseThatWasRolledBack:
    """It is remembered where only `pulumi` is run."""

    WHY = "container a of pod b ended with exit code 1"

    def _refused(self, deployed: Project) -> None:
        """Remember the release with a gate as rolled back, while the one without runs."""
        deployed.set("aegis:gate.bakeSeconds", "1", "--path")
        found = next(it for it in deployed.state() if it["type"].endswith(":Deployment"))
        image = found["inputs"]["spec"]["template"]["spec"]["containers"][0]["image"]
        session = Session.open(deployed.stack, deployed.directory, deployed.environment)
        newest = session.store.releases(1)[0]
        verification_store.refuse(session, newest, fingerprint(image, session.settings()), self.WHY)

    def test_is_told_from_a_mended_program_by_what_a_preview_and_the_state_declare(
        self, deployed: Project
    ) -> None:
        session = Session.open(deployed.stack, deployed.directory, deployed.environment)
        runs = declared.of_state(session.resources())
        assert declared_by_steps(session.preview().steps) == runs != ""
        deployed.set("aegis:memoryLimit", "300Mi")
        assert declared_by_steps(session.preview().steps) != runs

    def test_is_warned_about_by_a_preview_and_an_update(self, deployed: Project) -> None:
        self._refused(deployed)
        shown = deployed.expect("preview", "--stack", deployed.stack)
        assert f"this release was rolled back before: {self.WHY}" in shown.text
        assert "aegis config restore --stack staging" in shown.text
        assert self.WHY in deployed.up().text
        assert "update Deployment aegis-api" in deployed.steps(), "a warning is no refusal"
        deployed.set("aegis:logLevel", "debug")
        shown = deployed.expect("preview", "--stack", deployed.stack)
        assert self.WHY not in shown.text, "with another setting it is another release"

    def test_is_refused_before_its_rollout_when_a_deployer_judges(self, deployed: Project) -> None:
        self._refused(deployed)
        deployed.environment["AEGIS_GATE"] = "deployer"
        assert self.WHY not in deployed.expect("preview", "--stack", deployed.stack).text
        shown = deployed.up()
        assert shown.code != 0
        assert f"this release was rolled back before: {self.WHY}" in shown.text
        assert "Traceback" not in shown.text
        assert [step for step in deployed.steps() if "Deployment" in step] == []
        deployed.environment["AEGIS_FORCE"] = "true"
        deployed.up()
        assert "update Deployment aegis-api" in deployed.steps()
