"""What the watch makes of a cluster that stops answering for a while."""

from __future__ import annotations

from typing import Any, cast

from ops.gate_settings import GateSettings
from ops.mirror import Mirror
from ops.watch import Rollouts
from ops.workload import Snapshot, Workload
from tests.unit.ops.test_evidence import recorded, snapshot

WEB = Workload(namespace="team", name="web")
SETTINGS = GateSettings()


class _Mirror:
    """One state of a cluster that answers or does not."""

    complete = True

    def __init__(self, state: Snapshot) -> None:
        self.state = state
        self.lost_for = 0.0

    def snapshot(self, _workload: Workload) -> Snapshot:
        """Return it."""
        return self.state


def _rollouts(name: str) -> tuple[_Mirror, Rollouts]:
    found: dict[str, Any] = recorded(name)
    mirror = _Mirror(snapshot(found))
    return mirror, Rollouts(cast("Mirror", mirror), [WEB], SETTINGS)


def test_the_time_in_which_the_cluster_does_not_answer_counts_against_no_pod() -> None:
    mirror, rollouts = _rollouts("unready")
    assert rollouts.failure(100.0) is None
    mirror.lost_for = 1.0
    assert rollouts.failure(105.0) is None
    mirror.lost_for = 600.0
    assert rollouts.failure(705.0) is None, "what it shows is old"
    mirror.lost_for = 0.0
    # 5 s passed before the loss was seen, none while it lasted.
    assert rollouts.failure(710.0) is None
    assert rollouts.failure(710.0 + SETTINGS.unready_seconds - 5.1) is None
    found = rollouts.failure(710.0 + SETTINGS.unready_seconds - 5)
    assert found is not None
    assert found[1].kind == "unready"


def test_what_can_never_become_good_is_evidence_once_the_cluster_answers_again() -> None:
    mirror, rollouts = _rollouts("image")
    mirror.lost_for = 5.0
    assert rollouts.failure(0.0) is None
    mirror.lost_for = 0.0
    found = rollouts.failure(1.0)
    assert found is not None
    assert found[1].kind == "image"
