"""Through the way in, as users come: TLS, kept connections, HTTP/2, and no request lost.

The changes are those of `bench.zero_downtime`, which sends its requests to the Service otherwise.
"""

from __future__ import annotations

import pytest

from bench.staging import Staging
from bench.zero_downtime import play, table, way_in
from lab import ingress
from lab.command import wait_until
from lab.contour_manifests import NAME
from tests.e2e import entrances
from tests.e2e.entrances import Kind
from tests.e2e.knock import CLOSED, OPEN, knock, knock_at_all
from tests.e2e.stand import Stand
from tests.e2e.traffic import traffic
from tests.series import every

pytestmark = [every, pytest.mark.skipif(not entrances.is_there(), reason=entrances.MISSING)]
PROJECT = "outside"
PER_SECOND = 60
SECONDS = 2400
"""When a series of changes is given up that does not come to its end."""


@pytest.fixture(scope="module")
def stack(at: Stand) -> Staging:
    """Staging, with a verified release."""
    return Staging(at)


@pytest.mark.parametrize("kind", Kind)
def test_no_change_loses_a_request(stack: Staging, kind: Kind) -> None:
    asked = way_in(stack, kind)
    rows = {row.scenario: row for row, _ in play(stack, asked, 1, PER_SECOND, SECONDS)}
    print(f"\nthrough {kind}\n{table(list(rows.values()))}")  # noqa: T201
    lost = {name: row.failed() for name, row in rows.items() if row.failed()}
    assert lost == {}
    for row in rows.values():
        assert {it.stream for it in row.requests} == {"new", "kept", "http2", "strict", "slow"}


def test_the_controller_itself_is_replaced_with_no_request_lost(stack: Staging) -> None:
    at, where = stack.at, ("--namespace", ingress.NAMESPACE)
    asked = way_in(stack, Kind.GATEWAY)
    with traffic(asked, watched="version", slow=True, per_second=PER_SECOND) as seen:
        at.kubectl(*where, "rollout", "restart", f"deployment/{NAME}")
        at.kubectl(*where, "rollout", "status", f"deployment/{NAME}", "--timeout=180s")
        wait_until(lambda: len(_addresses(at)) == 1, what="the one of before to go", timeout=180)
    assert seen.failures == []
    assert set(seen.answers) == {200}


def test_its_namespace_may_be_the_only_one_that_reaches_the_service(stack: Staging) -> None:
    way_in(stack, Kind.GATEWAY)
    stack.change({"clientNamespaces": ingress.NAMESPACE})
    stack.aegis("deploy", "--yes")
    name = ("aegis-api", stack.at.namespace("staging"))
    service = stack.at.live("service", *name)["spec"]["clusterIP"]
    wait_until(
        lambda: knock(service, 80, "TCP", 5.0) == CLOSED,
        what="the service to be closed to this machine",
        timeout=180,
    )
    asked = entrances.entrance(stack.at)
    with asked.client() as client:
        assert client.get(f"{asked.url}/version").status_code == 200


def test_nobody_hears_what_contour_says_to_envoy(at: Stand) -> None:
    """Private keys are part of it."""
    ports = {8080: OPEN, 8443: OPEN, 8000: CLOSED, 8001: CLOSED, 8002: CLOSED}
    for address in _addresses(at):
        found = knock_at_all([(address, port, "TCP", 5.0) for port in ports])
        assert dict(zip(ports, found, strict=True)) == ports


def _addresses(at: Stand) -> list[str]:
    """Return where the controller's pods are."""
    path = "jsonpath={.items[*].status.podIP}"
    shown = at.kubectl("--namespace", ingress.NAMESPACE, "get", "pods", "--output", path)
    return shown.standard_output.split()
