"""Drift, as the real engine sees it."""

from __future__ import annotations

from aegis_deploy.stack.session import Session
from tests.integration.conftest import Project


def test_what_is_gone_is_drift_and_looking_changes_nothing(deployed: Project) -> None:
    session = Session.open(deployed.stack, deployed.directory, deployed.environment)
    before, history = session.export(), len(session.store.releases())
    assert session.drift() == ()
    gone = next(it for it in before["deployment"]["resources"] if it["type"].endswith("ment"))
    deployed.journal.with_name("gone").write_text(gone["id"])
    (found,) = [step for step in session.drift() if "Deployment" in step.type]
    assert (found.op, found.urn) == ("delete", gone["urn"])
    assert session.export() == before
    assert len(session.store.releases()) == history


def test_only_what_is_named_is_looked_at(deployed: Project) -> None:
    session = Session.open(deployed.stack, deployed.directory, deployed.environment)
    resources = session.export()["deployment"]["resources"]
    gone = next(it for it in resources if it["type"].endswith("ment"))
    other = next(it for it in resources if it["type"].endswith("ConfigMap"))
    deployed.journal.with_name("gone").write_text(gone["id"])
    assert [step.urn for step in session.drift([gone["urn"]])] == [gone["urn"]]
    assert session.drift([other["urn"]]) == ()
