"""The gate's hooks in a real engine, without a cluster: what a failed gate leaves behind."""

from __future__ import annotations

import json
from typing import Any

from ops import ledger
from ops.stack import Session
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
        project.expect("config", "set", "--path", "aegis:gate.bakeSeconds", "1")
        shown = project.up()
        assert shown.code != 0
        assert WITHOUT_CLUSTER in shown.text
        assert "Traceback" not in shown.text
        assert _marker(project) is None

    def test_is_run_again_by_the_next_update(self, project: Project) -> None:
        project.expect("config", "set", "--path", "aegis:gate.bakeSeconds", "1")
        assert project.up().code != 0
        project.steps()
        shown = project.up()
        assert shown.code != 0
        assert WITHOUT_CLUSTER in shown.text
        assert [step for step in project.steps() if "Deployment" in step] == []

    def test_deletes_nothing_of_the_release_before(self, project: Project) -> None:
        assert project.up().code == 0
        project.steps()
        project.expect("config", "set", "--path", "aegis:gate.bakeSeconds", "1")
        project.set("aegis:logLevel", "debug")
        for _ in range(2):
            assert project.up().code != 0
            assert [step for step in project.steps() if step.startswith("delete")] == []


class TestAPreview:
    """No hook runs in a preview, with or without a cluster."""

    def test_works_without_a_cluster(self, project: Project) -> None:
        project.expect("config", "set", "--path", "aegis:gate.bakeSeconds", "1")
        shown = project.expect("preview", "--stack", project.stack)
        assert "aegis-api-gate" in shown.text
        assert WITHOUT_CLUSTER not in shown.text


class TestAReleaseThatWasRolledBack:
    """It is remembered where only `pulumi` is run."""

    WHY = "container a of pod b ended with exit code 1"

    def _refused(self, project: Project) -> None:
        """Deploy a release, without a gate, and remember the one with a gate as rolled back."""
        assert project.up().code == 0
        project.expect("config", "set", "--path", "aegis:gate.bakeSeconds", "1")
        deployed = next(it for it in project.state() if it["type"].endswith(":Deployment"))
        image = deployed["inputs"]["spec"]["template"]["spec"]["containers"][0]["image"]
        session = Session.open(project.stack, project.directory, project.environment)
        newest = session.store.releases(1)[0]
        ledger.refuse(session, newest, ledger.fingerprint(image, session.settings()), self.WHY)
        project.steps()

    def test_is_warned_about_by_a_preview_and_an_update(self, project: Project) -> None:
        self._refused(project)
        shown = project.expect("preview", "--stack", project.stack)
        assert f"this release was rolled back before: {self.WHY}" in shown.text
        assert "aegis config restore --stack staging" in shown.text
        assert self.WHY in project.up().text
        assert "update Deployment aegis-api" in project.steps(), "a warning is no refusal"
        project.set("aegis:logLevel", "debug")
        shown = project.expect("preview", "--stack", project.stack)
        assert self.WHY not in shown.text, "with another setting it is another release"

    def test_is_refused_before_its_rollout_when_a_deployer_judges(self, project: Project) -> None:
        self._refused(project)
        project.environment["AEGIS_GATE"] = "deployer"
        assert self.WHY not in project.expect("preview", "--stack", project.stack).text
        shown = project.up()
        assert shown.code != 0
        assert f"this release was rolled back before: {self.WHY}" in shown.text
        assert "Traceback" not in shown.text
        assert [step for step in project.steps() if "Deployment" in step] == []
        project.environment["AEGIS_FORCE"] = "true"
        project.up()
        assert "update Deployment aegis-api" in project.steps()
