"""A deployer that nobody watches is killed: its guard goes back, and nobody types anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.guarded_stand import STACK, Service, service, until
from tests.e2e.running import Running
from tests.e2e.traffic import traffic
from tests.series import every

DEPLOY = ("aegis", "deploy", "--yes", "--stack", STACK)
GUARDED = (*DEPLOY, "--detach-guard")
PLAIN = ("pulumi", "up", "--yes", "--skip-preview", "--stack", STACK, "--non-interactive")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with service(tmp_path_factory.mktemp("guarded")) as made:
        yield made


@pytest.mark.parametrize(
    ("version", "environment"),
    [
        pytest.param("v2", {"UNREADY": "yes"}, id="bad"),
        pytest.param("v3", {}, id="good", marks=every),
    ],
)
def test_a_deployer_killed_in_the_middle_is_followed_by_its_guard(
    web: Service, version: str, environment: dict[str, str]
) -> None:
    before = web.current()
    web.choose(version, **environment)
    logs = set(web.guards)
    with traffic(web.url, watched="version") as seen:
        deployer = web.begin(*GUARDED)
        until(lambda: web.pods(version) > 0, "a pod of the new version", lambda: deployer.text)
        deployer.kill()
        _until_done(web, deployer, logs)
    print(f"{version}: {seen.total} requests, {len(seen.failures)} failed")  # noqa: T201
    assert seen.failures == []
    assert set(seen.answers) == {200}
    assert web.serves() == "v1"
    until(lambda: web.pods(version) == 0, "its last pod has ended")
    newest = web.current()
    assert newest["number"] > before["number"]
    assert newest["verified"]
    assert "the guard, whose deployer died" in newest["message"]
    assert web.run("aegis", "recover", "--stack", STACK).output.strip().endswith("is in order")


def test_one_killed_before_the_verdict_is_judged_by_its_guard(web: Service) -> None:
    web.choose("v4")
    logs = set(web.guards)
    deployer = web.begin(*GUARDED)
    until(lambda: "the gate judges" in deployer.text, "the gate", lambda: deployer.text)
    deployer.kill()
    _until_done(web, deployer, logs)
    newest = web.current()
    assert (newest["verified"], newest["version"]) == (True, "v4")
    assert web.serves() == "v4"


@every
def test_of_two_deployers_one_waits_and_one_is_told_who_works(web: Service) -> None:
    web.choose("v5")
    logs = web.guards
    first = web.begin(*GUARDED, "--message", "Ship v5")
    until(lambda: web.pods("v5") > 0, "a pod of the new version", lambda: first.text)
    with first.held():  # Or a slow machine's others come when it is done.
        waiting = web.begin(*DEPLOY, "--wait-lock", "5m")
        assert "the stack is currently locked" in web.run(*PLAIN, expect=None).output
        refused = web.run(*DEPLOY, expect=3)
        assert "Ship v5" in refused.output
        assert ", since 20" in refused.output
        until(lambda: "waiting for" in waiting.text, "the one that waits", lambda: waiting.text)
    assert first.wait() == 0, first.text
    assert waiting.wait() == 0, waiting.text
    assert "nothing to change" in waiting.text
    assert web.serves() == "v5"
    assert web.guards == logs, "the guard of a deploy that ended well leaves no trace"


@every
def test_a_deploy_is_told_of_a_plain_update_that_runs(web: Service) -> None:
    web.choose("v6")
    update = web.begin(*PLAIN)
    until(lambda: web.pods("v6") > 0, "a pod of the new version", lambda: update.text)
    with update.held():
        refused = web.run(*DEPLOY, expect=3)
    assert "(pulumi) runs" in refused.output
    assert update.wait() == 0, update.text


def _until_done(web: Service, deployer: Running, logs: set[Path]) -> None:
    def told() -> str:
        return "\n".join([deployer.text, *(log.read_text() for log in set(web.guards) - logs)])

    until(lambda: "done; `aegis history` has it" in told(), "the guard's end", told)
