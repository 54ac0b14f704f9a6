"""The gate's hooks in a real engine, without a cluster: what a failed gate leaves behind."""

from __future__ import annotations

import json
from typing import Any

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
