"""A service behind the lab's Gateway: what is refused, judged and lost on the way in from outside.

The tests of this file run in order on one stack. Requests name the host and check the certificate,
as users' do.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aegis_deploy.gate.external_way import ExternalWay
from aegis_deploy.gate.prober import Prober
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE, Route
from tests.e2e import entrances
from tests.e2e.releases import push_release
from tests.e2e.running import begin
from tests.e2e.stand import SECONDS, Finished, Stand, execute
from tests.series import every

PROJECT, STACK = "entered", "staging"
NAMESPACE, CANARY = f"{PROJECT}-{STACK}", "aegis-api-canary"
ADDRESS = os.environ.get("AEGIS_INGRESS_ADDRESS", "")
HOST = f"{PROJECT}.{os.environ.get('AEGIS_INGRESS_DOMAIN', '')}"
GATEWAY = os.environ.get("AEGIS_GATEWAY", "")
PER_SECOND = 40
SHARE = 0.1

pytestmark = [every, pytest.mark.skipif(not entrances.is_there(), reason=entrances.MISSING)]


def aegis(at: Stand, *words: str, expect: int | None = 0) -> Finished:
    """Run `aegis` on the stack."""
    argv = (str(at.directory / ".venv/bin/aegis"), *words, "--stack", STACK)
    done = execute(*argv, cwd=at.directory, env=at.environment)
    assert expect is None or done.code == expect, f"{' '.join(argv)}: {done.code}\n{done.output}"
    return done


def set_gate(at: Stand, **members: str) -> None:
    """Set members of the gate."""
    for name, value in members.items():
        words = ("--path", "--stack", STACK, f"{PROJECT}:gate.{name}", "--", value)
        at.pulumi("config", "set", *words)


@contextmanager
def asked() -> Iterator[Prober]:
    """Have requests come from outside while the block runs; they are waited for at its end."""
    ca = Path(os.environ["AEGIS_INGRESS_AUTHORITY"]).read_text()
    route = Route(kind=HTTP_ROUTE, namespace=NAMESPACE, name="aegis-api")
    way = ExternalWay(route, HOST, (ADDRESS, 443), tls=True, ca=ca)
    with Prober(lambda: [way], "/version", rate=PER_SECOND, p99_ms=5_000) as prober:
        yield prober


@pytest.fixture(scope="module")
def first(at: Stand) -> str:
    """The digest of what was deployed first, behind the Gateway, judged from outside."""
    at.pulumi("stack", "init", STACK)
    at.stacks.append(STACK)
    at.configure(STACK, "host", HOST)
    at.configure(STACK, "gateway", "nowhere/public")
    refused = aegis(at, "deploy", "--yes", expect=3).output
    assert "there is no Gateway nowhere/public" in refused
    assert f"aegis:gateway {GATEWAY}" in refused
    assert not at.is_there("namespace", NAMESPACE)
    at.configure(STACK, "gateway", GATEWAY)
    authority = Path(os.environ["AEGIS_INGRESS_AUTHORITY"]).read_text()
    set_gate(at, through="ingress", ca=authority)
    told = json.loads(aegis(at, "deploy", "--yes", "--json").standard_output)
    assert told["gate"]["via"].startswith(f"as https://{HOST} by {ADDRESS}:443")
    return str(told["imageDigest"])


@pytest.mark.usefixtures("first")
def test_a_deploy_and_a_rollback_lose_nothing_from_outside(at: Stand) -> None:
    with asked() as prober:
        at.configure(STACK, "logLevel", "warning")
        aegis(at, "deploy", "--yes")
        aegis(at, "rollback", "--yes")
    seen = prober.figures()
    assert seen.total > PER_SECOND
    assert seen.failed == 0, str(seen)
    assert "no drift" in aegis(at, "drift").output


@pytest.fixture(scope="module")
def good(at: Stand, first: str) -> str:
    """The digest of a release that was deployed with a canary."""
    set_gate(at, canary=f"{SHARE:.0%}", bakeSeconds="5", probeRate=str(PER_SECOND))
    at.configure(STACK, "version", "2.0.0")
    digest = push_release(at.environment, first, "2.0.0")
    aegis(at, "deploy", "--yes", "--image-digest", digest)
    return digest


def images(at: Stand) -> set[str]:
    """The digests that both Deployments are to run."""
    found = (at.live("deployment", name, NAMESPACE) for name in ("aegis-api", CANARY))
    templates = (it["spec"]["template"]["spec"]["containers"] for it in found)
    return {container["image"].rpartition("@")[2] for (container,) in templates}


def test_a_bad_release_gets_its_share_and_no_more(at: Stand, first: str, good: str) -> None:
    bad = push_release(at.environment, first, "3.0.0", "errors")
    at.configure(STACK, "version", "3.0.0")
    with asked() as prober:
        failed = aegis(at, "deploy", "--yes", "--image-digest", bad, expect=4).output
    assert f"{CANARY}: " in failed
    assert "from outside" in failed
    assert images(at) == {good}
    seen = prober.figures()
    # One answer in five is bad, of one request in ten; by pods it would be of one in three.
    assert seen.failed <= SHARE * seen.total, str(seen)
    assert seen.lost == 0, str(seen)
    assert seen.versions.get("3.0.0", 0) <= 2 * SHARE * seen.total, str(seen)


def test_a_deployer_that_dies_meanwhile_leaves_no_share_to_it(
    at: Stand, first: str, good: str
) -> None:
    bad = push_release(at.environment, first, "4.0.0", "errors")
    at.configure(STACK, "version", "4.0.0")
    set_gate(at, bakeSeconds="120", successRatio="0")
    argv = (str(at.directory / ".venv/bin/aegis"), "deploy", "--yes", "--stack", STACK)
    running = begin([*argv, "--image-digest", bad], at.directory, at.environment, seconds=SECONDS)
    deadline = time.monotonic() + SECONDS
    while (
        images(at) != {good, bad} or f"{CANARY}: 1 of 1 new pods ready, 0 old" not in running.text
    ):
        assert time.monotonic() < deadline, running.text
        time.sleep(0.2)
    running.kill()
    assert images(at) == {good, bad}, "the rest has not been touched"
    set_gate(at, bakeSeconds="5", successRatio="0.99")
    aegis(at, "recover")
    assert images(at) == {good}
    assert "no drift" in aegis(at, "drift").output
