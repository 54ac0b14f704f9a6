"""What is asked for where nobody set a gate, and how."""

from __future__ import annotations

from typing import Any, cast

import pytest

from aegis_deploy.gate.prober import Asking, readiness_path


def _asked(probe: Any, *, target: Any = 8000) -> str:
    container = {"ports": [{"name": "web", "containerPort": 8000}], "readinessProbe": probe}
    deployment = {"spec": {"template": {"spec": {"containers": [{"name": "side"}, container]}}}}
    service = {"spec": {"ports": [{"port": 80, "targetPort": target}]}}
    return readiness_path(service, deployment)


@pytest.mark.parametrize(
    ("probe", "target", "path"),
    [
        ({"httpGet": {"path": "/ready", "port": 8000}}, 8000, "/ready"),
        ({"httpGet": {"path": "/ready", "port": "web"}}, 8000, "/ready"),
        ({"httpGet": {"path": "/ready", "port": "web"}}, "web", "/ready"),
        ({"httpGet": {"port": 8000}}, 8000, "/"),
        ({"httpGet": {"path": "/ready", "port": 9000}}, 8000, ""),
        ({"httpGet": {"path": "/ready", "port": 8000, "scheme": "HTTPS"}}, 8000, ""),
        ({"tcpSocket": {"port": 8000}}, 8000, ""),
        (None, 8000, ""),
    ],
)
def test_what_a_readiness_probe_asks_for_at_the_services_port_is_asked_for(
    probe: Any, target: Any, path: str
) -> None:
    assert _asked(probe, target=target) == path


def test_a_deployment_that_is_gone_says_nothing() -> None:
    assert readiness_path({"spec": {"ports": [{"port": 80}]}}, None) == ""


def test_each_way_asks_for_its_own_path() -> None:
    class Way:
        name = "a way"
        proxied = False

        def send(self, path: str, *, fresh: bool, seconds: float, method: str) -> tuple[int, bytes]:
            return 200, f"{method} {path} {fresh} {seconds}".encode()

    asking = Asking(cast("Any", Way()), "/ready")
    assert asking.name == "a way"
    assert asking.send("/", fresh=True, seconds=1.5) == (200, b"GET /ready True 1.5")
    beside = asking.beside("/probe", "POST")
    assert beside.send("/", fresh=False, seconds=1.5) == (200, b"POST /probe False 1.5")
