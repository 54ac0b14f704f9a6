"""gate.exposure: how many requests from outside came to a release is counted by what answers."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from aegis_deploy.gate.analysis import Progress
from aegis_deploy.gate.exposure import Exposure, told
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.gate_settings import GateSettings, Share
from aegis_deploy.model.probe_metrics import ProbeMetrics
from aegis_deploy.model.routes.external_routes import INGRESS, Route

SHARE = Share(1000)
ROUTE = Route(kind=INGRESS, namespace="n", name="a", hosts=("aegis.example.com",))
BAKE, ROLLOUT = (Progress(phase=it, rollouts={}) for it in ("bake", "rollout"))


def seen(*, failed: int = 0, **versions: int) -> ProbeMetrics:
    named = {name.replace("_", "."): count for name, count in versions.items()}
    return ProbeMetrics(total=sum(versions.values()) + failed, failed=failed, versions=named)


@pytest.mark.parametrize(
    ("metrics", "version", "said"),
    [
        (seen(v1=90, v2=10), "v2", "10 of 100 from outside (10.0%) came to it, 10% was set"),
        (seen(v1=100), "v2", "0 of 100 from outside (0.0%) came to it, 10% was set"),
        (
            seen(v1=89, v2=10, failed=1),
            "v2",
            "10 of 99 from outside (10.1%) came to it, 10% was set, 1 of 100 failed",
        ),
        (seen(v2=9), "v2", "every answer names v2, which tells no releases apart"),
        (seen(v1=9), "", "every answer names v1, which tells no releases apart"),
        (seen(failed=3), "v2", "none of 3 from outside named a version"),
    ],
)
def test_it_is_told_by_version(metrics: ProbeMetrics, version: str, said: str) -> None:
    assert told(metrics, version, SHARE) == f"its share of requests: {said}"


@pytest.fixture
def answering() -> Iterator[tuple[int, list[str]]]:
    """A server that answers as two versions by turns, and which hosts it was asked for."""
    hosts: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hosts.append(self.headers["Host"])
            body = b'{"version": "%s"}' % (b"v2" if len(hosts) % 2 else b"v1")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], hosts
    server.shutdown()
    server.server_close()


def cluster(answer: Any) -> Cluster:
    class Api:
        def get(self, _: str) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

    return cast("Cluster", Api())


def test_requests_are_sent_from_outside_once_all_of_the_share_is_new(
    answering: tuple[int, list[str]],
) -> None:
    port, hosts = answering
    gate = GateSettings(canary=SHARE, probe_rate=50, address=f"127.0.0.1:{port}")
    with Exposure(cluster({"status": {}}), [ROUTE], gate, {"version": "v2"}) as exposure:
        exposure.hear(ROLLOUT)
        assert hosts == []
        exposure.hear(BAKE)
        exposure.hear(BAKE)
        deadline = time.monotonic() + 30
        while len(hosts) < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    (note,) = exposure.notes
    assert "came to it, 10% was set" in note
    assert set(hosts) == {"aegis.example.com"}


@pytest.mark.parametrize(
    ("answer", "why"),
    [(ApiError(403, "you may not"), "you may not"), ({"status": {}}, "has no address yet")],
)
def test_where_nothing_can_be_sent_it_is_said(answer: Any, why: str) -> None:
    with Exposure(cluster(answer), [ROUTE], GateSettings(canary=SHARE), {}) as exposure:
        exposure.hear(BAKE)
        exposure.hear(BAKE)
    (note,) = exposure.notes
    assert why in note
