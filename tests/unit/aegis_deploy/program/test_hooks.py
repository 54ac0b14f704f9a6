"""What `pulumi up` says when the gate that is bound to it does not let a release pass."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from aegis_deploy.model.database.data_probes import READ, DataFigures
from aegis_deploy.model.gate_settings import GateSettings, Share
from aegis_deploy.model.probe_metrics import ProbeMetrics
from aegis_deploy.model.verdict import LOST, UNTOLD, Verdict
from aegis_deploy.program.hooks import GateError, GateHook

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


class TestAShareOfTheRequests:
    """What gets a share first is judged by the update itself, whoever judges the whole."""

    HOOK: ClassVar = replace(HOOK, name="web-canary", share=Share(1000))
    GOOD: ClassVar = Verdict(passed=True, reason="good")

    def judged(
        self, monkeypatch: pytest.MonkeyPatch, verdict: Verdict, hook: GateHook | None = None
    ) -> tuple[list[str], list[str]]:
        """What is said, and what is written down, where a deployer judges the whole."""
        said: list[str] = []
        written: list[str] = []
        hook = replace(hook or self.HOOK)
        monkeypatch.setenv("AEGIS_GATE", "deployer")
        monkeypatch.setattr("pulumi.log.info", said.append)

        async def write() -> None:
            written.append(hook.name)

        monkeypatch.setattr(hook, "_write_down", write)
        for name in ("_run", "_run_share"):
            monkeypatch.setattr(hook, name, lambda name=name, **_: replace(verdict, serving=name))
        asyncio.run(hook.judge(cast("Any", SimpleNamespace(new_inputs={}))))
        return said, written

    def test_is_judged_and_told_also_where_a_deployer_judges(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said, written = self.judged(monkeypatch, self.GOOD)
        assert said[0].startswith("gate: waiting for the pods that get 10% of requests")
        assert said[1].startswith("canary: 10% of requests\ngate passed: good")
        assert "_run_share" in said[1]
        assert written == [], "what passed there is not verified yet"

    def test_fails_the_update(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(GateError, match="it crashed"):
            self.judged(monkeypatch, Verdict(passed=False, kind="crash", reason="it crashed"))

    def test_of_the_whole_a_deployer_s_hook_waits_for_the_rollout_alone(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.judged(monkeypatch, self.GOOD, HOOK) == ([], [])
