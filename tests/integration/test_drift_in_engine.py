"""Drift, as the real engine sees it."""

from __future__ import annotations

from ops.stack import Session
from tests.integration.conftest import Project


def test_what_is_gone_is_drift_and_looking_changes_nothing(project: Project) -> None:
    assert project.up().code == 0
    session = Session.open(project.stack, project.directory, project.environment)
    before, history = session.export(), len(session.store.releases())
    assert session.drift() == ()
    deployed = next(it for it in before["deployment"]["resources"] if it["type"].endswith("ment"))
    project.journal.with_name("gone").write_text(deployed["id"])
    (found,) = [step for step in session.drift() if "Deployment" in step.type]
    assert (found.op, found.urn) == ("delete", deployed["urn"])
    assert session.export() == before
    assert len(session.store.releases()) == history
