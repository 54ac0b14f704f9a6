"""Helm releases in a replay."""

from __future__ import annotations

from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.replay.planning import plan
from tests.unit.aegis_deploy.states import made, thing

RELEASE = "kubernetes:helm.sh/v3:Release"


@pytest.mark.parametrize(
    ("chart", "complete"),
    [
        ({"chart": "redis", "version": "1.2.3"}, True),
        ({"chart": "oci://charts.example.com/redis", "version": "v1.2.3-rc.1"}, True),
        ({"chart": "https://charts.example.com/redis-1.2.3.tgz"}, True),
        ({"chart": "redis"}, False),
        ({"chart": "redis", "version": "^1.2.3"}, False),
        ({"chart": "./charts/redis", "version": "1.2.3"}, False),
        ({"chart": "redis-1.2.3.tgz"}, False),
    ],
)
def test_a_helm_release_is_restored_when_its_chart_is_fixed(chart: Any, complete: bool) -> None:
    old, new = (thing(RELEASE, "cache", {**chart, "values": {"size": it}}) for it in (1, 2))
    planned = plan(made(old), made(new))
    assert (planned.missing == ()) is complete
    if not complete:
        with pytest.raises(AegisError, match="cannot be restored") as refused:
            planned.require(allow_data_loss=True)
        assert "Release cache: " in refused.value.why
    # One that was not changed since is not installed again, from whatever its chart is by now.
    same = plan(made(old), made(old))
    assert same.missing == ()
    assert same.exclude == (() if complete else (old["urn"],))
