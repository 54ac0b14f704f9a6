"""What a figure of Prometheus means to a gate."""

from __future__ import annotations

import pytest

from aegis_deploy.gate.prometheus import shortfall
from aegis_deploy.model.gate_settings import Prometheus


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (2.0, None),
        (1.0, None),
        (2.5, "rate is 2.5; at most 2"),
        (0.5, "rate is 0.5; at least 1"),
        ("no series", "http://p gave no number: no series"),
    ],
)
def test_a_figure_is_held_to_its_bounds(
    monkeypatch: pytest.MonkeyPatch, value: float | str, why: str | None
) -> None:
    monkeypatch.setattr("aegis_deploy.gate.prometheus.prometheus_value", lambda _: value)
    assert shortfall(Prometheus(url="http://p", query="rate", most=2, least=1)) == why
