"""What `pulumi up` says when the gate that is bound to it does not let a release pass."""

from __future__ import annotations

import pytest

from aegis_deploy.model.data_probes import READ, DataFigures
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import ProbeMetrics
from aegis_deploy.model.verdict import LOST, UNTOLD, Verdict
from aegis_deploy.program.hooks import GateHook

HOOK = GateHook(stack="s", namespace="n", name="web", service="web", settings=GateSettings())


@pytest.mark.parametrize(
    ("kind", "what", "following"),
    [
        ("crash", "s failed its gate", "aegis rollback --stack s"),
        (LOST, "s could not be judged", "once the cluster answers: pulumi up --stack s"),
        (UNTOLD, "s could not be judged", "once the database answers: pulumi up --stack s"),
    ],
)
def test_a_release_of_which_nothing_is_known_is_not_called_bad(
    monkeypatch: pytest.MonkeyPatch, kind: str, what: str, following: str
) -> None:
    monkeypatch.delenv("AEGIS_GATE", raising=False)
    seen = (DataFigures(of=READ, paths=("/items",), figures=ProbeMetrics(total=9, failed=3)),)
    said = HOOK.message(Verdict(passed=False, kind=kind, reason="it is so", data=seen))
    assert what in said
    assert f"next:  {following}" in said
    assert "reads of /items: 9 answered or lost, 3 failed" in said
