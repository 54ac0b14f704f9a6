"""A bake time that the cluster spoilt begins anew; one that the release spoilt does not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from ops import gate as module
from ops.figures import Figures
from ops.gate import _Failed, _Gate
from ops.gate_settings import GateSettings
from ops.verdict import Verdict

GOOD = cast("Figures", object())
BAD = Verdict(passed=False, kind="success-ratio", reason="4 of 9 probes failed", figures=GOOD)
CRASH = Verdict(passed=False, kind="crash", reason="ended with exit code 1")


@dataclass
class Routes:
    """Ways whose Service is behind as often as it is told."""

    says: list[str] = field(default_factory=list)

    def behind(self) -> str:
        return self.says.pop(0) if self.says else ""


@dataclass
class Mirrored:
    """A live copy that was never silent."""

    silent: float = 0.0


def baking(bakes: list[Verdict | None], says: list[str]) -> _Gate:
    """A gate whose bake times come to what is given; None is good."""
    gate = _Gate.__new__(_Gate)
    gate.settings, gate.notes = GateSettings(bake_seconds=1), []
    stand_in = cast("Any", gate)
    stand_in._routes, stand_in.mirror = Routes(says), Mirrored()
    stand_in._evidence = lambda: None

    def rounds() -> Iterator[float]:
        while True:
            yield time.monotonic()

    def baked() -> Figures:
        verdict = bakes.pop(0)
        if verdict is not None:
            raise _Failed(verdict)
        return GOOD

    stand_in._rounds, stand_in._baked = rounds, baked
    return gate


def test_waits_for_the_service_first() -> None:
    gate = baking([None], ["it leads nowhere", "it leads nowhere", ""])
    assert gate.bake() is GOOD
    assert gate.notes == []


def test_begins_anew_when_the_service_led_nowhere() -> None:
    gate = baking([BAD, None], ["", "Service web leads to 2 that are gone", ""])
    assert gate.bake() is GOOD
    assert gate.notes == [
        "the bake time began anew: 4 of 9 probes failed, while Service web leads to 2 that are gone"
    ]


@pytest.mark.parametrize(("verdict", "says"), [(BAD, []), (CRASH, ["", "it leads nowhere"])])
def test_fails_by_what_is_the_release_s_own(verdict: Verdict, says: list[str]) -> None:
    with pytest.raises(_Failed) as failed:
        baking([verdict], says).bake()
    assert failed.value.verdict is verdict


def test_waits_for_no_service_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ENDPOINTS_SECONDS", 0.05)
    gate = baking([BAD], ["it leads nowhere"] * 1_000_000)
    with pytest.raises(_Failed):
        gate.bake()
    assert gate.notes == ["it leads nowhere, for 0.05 s now"]
