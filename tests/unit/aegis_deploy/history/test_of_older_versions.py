"""What an `aegis` of before left in a backend is read as it was meant.

`recorded/backend-0.1.0` was written by the version whose package was still called `ops`: release 1,
verified; release 2, refused, with the timeline of its deploy; release 3, an automated rollback to
1, verified; and the claim of somebody who died while going back to 1.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aegis_deploy.history import verification_store
from aegis_deploy.history.compare import compare
from aegis_deploy.history.inspection import inspect
from aegis_deploy.history.listing import collect
from aegis_deploy.locking.diagnosis import Action, decide, diagnose
from aegis_deploy.locking.lock_holders import Life, holders, read_claim
from aegis_deploy.report.gathering import collect as gather
from aegis_deploy.stack.session import Session

RECORDED = Path(__file__).parents[1] / "recorded" / "backend-0.1.0"


@pytest.fixture
def session(tmp_path: Path) -> Session:
    shutil.copytree(RECORDED / "project", tmp_path / "project")
    shutil.copytree(RECORDED / "backend" / "pulumi", tmp_path / "backend" / ".pulumi")
    environment = {
        "PATH": "",
        "HOME": str(tmp_path),
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}",
    }
    return Session.open("one", tmp_path / "project", environment)


def test_marks(session: Session) -> None:
    entries = collect(session, limit=None).entries
    assert [(it.release.number, it.notes) for it in entries] == [
        (3, "current, verified, restores 1, rolled back from 2"),
        (2, "refused, rolled back by 3"),
        (1, "verified"),
    ]
    [refusal] = verification_store.read(session).refusals.values()
    assert (refusal.why, refusal.declared) == ("pod b-1 crashed", frozenset({"0a1b2c3d"}))


def test_a_claim(session: Session) -> None:
    claim = read_claim(session)
    assert claim is not None
    assert (claim.who, claim.intent, claim.target) == ("root@vm", "rollback", 1)
    [holder] = holders(session)
    assert holder.life is not Life.HELD


def test_what_a_rollback_that_died_was_to_restore(session: Session) -> None:
    decision = decide(diagnose(session))
    assert (decision.action, decision.target and decision.target.number) == (Action.RESTORE, 1)


def test_a_timeline(session: Session) -> None:
    report = gather(session, 2)
    assert report.timeline is not None
    [judgement] = report.timeline.judgements
    assert (judgement.kind, judgement.evidence) == ("crash", ("boom",))
    assert report.status == ("bad", "rolled back to release 1 by release 3")


def test_checkpoints_and_settings(session: Session) -> None:
    assert inspect(session, 3).settings == {"shop:replicas": "2", "shop:token": "[secret]"}
    assert {"a", "b"} <= {it.name for it in inspect(session, 2).resources}
    changes = {it.name: it.change for it in compare(session, 1, 2).resources}
    assert changes["b"] == "added"
