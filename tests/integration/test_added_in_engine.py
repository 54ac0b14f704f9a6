"""What a release added that is rolled back: what stays, what goes first, in the real engine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pulumi
import pytest
from pulumi import ResourceOptions

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.model.release import BEGUN
from aegis_deploy.model.verdict import Verdict
from aegis_deploy.operations.gate_runner import GateRunner
from aegis_deploy.replay import planning
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.integration.accepting_provider import VERSIONS
from tests.integration.prepared import once
from tests.integration.shop import Stand, copied_stand, objects
from tests.integration.waiting import SECONDS
from tests.rendering import ROOT
from tests.series import every

pytestmark = pytest.mark.integration
VERSION = VERSIONS["kubernetes"]
CONFIG_MAP = "core/v1:ConfigMap"
CLAIM = "core/v1:PersistentVolumeClaim"
NAMESPACE = "core/v1:Namespace"
QUOTA = "core/v1:ResourceQuota"
PODS = "apps/v1:ReplicaSet"
"""Pods that no gate looks at: there is no cluster here."""
WEBHOOK = "admissionregistration.k8s.io/v1:ValidatingWebhookConfiguration"


_DYING = """
import os, sys
from aegis_deploy.cli.main import main
from aegis_deploy.stack.session import Session

update, updates = Session.update, []


def dying(self, **options):
    if updates:
        os._exit(9)
    updates.append(options["message"])
    return update(self, **options)


Session.update = dying
main(sys.argv[1:])
"""
"""A process that ends at its second update."""


class _Group(pulumi.ComponentResource):
    def __init__(self, name: str) -> None:
        super().__init__("shop:one:Group", name)


def _thing(
    kind: str, name: str, namespace: str = "shop", *, data: str = "", **options: Any
) -> pulumi.CustomResource:
    inputs: dict[str, Any] = {
        "metadata": {"name": name, "namespace": namespace},
        "data": {"x": data},
    }
    if kind == PODS:
        inputs["spec"] = {"replicas": 3}
    return pulumi.CustomResource(
        f"kubernetes:{kind}", name, inputs, ResourceOptions(version=VERSION, **options)
    )


def _with_data() -> None:
    """What release 1 has, changed, and data with everything that can be around it."""
    objects("a", data="2")()
    cluster = pulumi.ProviderResource(
        "kubernetes", "other", {"context": "there"}, ResourceOptions(version=VERSION)
    )
    group = _Group("group")
    home = _thing(NAMESPACE, "home", provider=cluster)
    settings = _thing(CONFIG_MAP, "settings", provider=cluster)
    _thing(CLAIM, "data", "home", parent=group, provider=cluster, depends_on=[home, settings])
    _thing(CLAIM, "more", depends_on=[settings])
    _thing(CONFIG_MAP, "kept", parent=_Group("other-group"), protect=True, depends_on=[settings])
    _thing(PODS, "db", parent=group, provider=cluster, protect=True, depends_on=[settings])
    pulumi.export("version", "2")


def _guarded() -> None:
    """What release 1 has, changed, and what can block any way back."""
    guard = _thing(WEBHOOK, "guard")
    quota = _thing(QUOTA, "quota", depends_on=[guard])
    web = _thing(CONFIG_MAP, "web", depends_on=[guard, quota])
    a = _thing(CONFIG_MAP, "a", data="2", depends_on=[guard, web])
    _thing(CLAIM, "data", depends_on=[a, guard])
    pulumi.export("version", "2")


def _two(stand: Stand, program: Callable[[], None]) -> Session:
    """Make two releases: a verified one of one object, and a program's."""
    session = stand.open()
    assert session.update(program=objects("a", data="1"), message="first").succeeded
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    outcome = session.update(program=program, message="second")
    assert outcome.succeeded, outcome.failures
    stand.tell("journal")
    return session


@pytest.fixture(scope="session")
def made_two(
    tmp_path_factory: pytest.TempPathFactory, made_shop: Path, programs: Path
) -> Callable[[Callable[[], None]], Path]:
    """Gives a stack with these two releases, made once."""

    def make(root: Path, program: Callable[[], None]) -> None:
        with copied_stand(made_shop, root, programs) as stand:
            _two(stand, program)

    return lambda program: once(
        tmp_path_factory, f"two{program.__name__}", partial(make, program=program)
    )


@pytest.fixture(params=[_with_data])
def two(
    request: pytest.FixtureRequest,
    made_two: Callable[[Callable[[], None]], Path],
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Stand]:
    """A stack with two releases, the second one of a program that a test is parametrised with."""
    with copied_stand(made_two(request.param), tmp_path, programs) as stand:
        stand.enter(monkeypatch)
        yield stand


guarded = pytest.mark.parametrize("two", [_guarded], indirect=True)


def names(session: Session) -> list[str]:
    """What is in the state, but for the stack and the engine's own providers."""
    found = (it["urn"].rpartition("::")[2] for it in session.resources())
    return sorted(it for it in found if not it.startswith(("default", "shop-")))


def test_data_stays_with_all_that_it_needs_and_the_state_is_whole(
    two: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = two.open()
    before = {it["urn"]: it for it in session.resources()}

    assert two.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK

    kept = ["a", "data", "db", "group", "home", "kept", "more", "other", "other-group"]
    assert names(session) == kept
    done = two.done().splitlines()
    assert sorted(done) == [
        "delete ConfigMap settings",
        "update ConfigMap a",
        "update ReplicaSet db",
    ]
    now = {it["urn"].rpartition("::")[2]: it for it in session.resources()}
    for name in ("data", "more", "kept", "home"):
        was = before[now[name]["urn"]]
        same = ("id", "inputs", "outputs", "parent", "provider", "protect")
        assert [now[name].get(it) for it in same] == [was.get(it) for it in same]
    assert now["data"]["dependencies"] == [now["home"]["urn"]]
    assert now["db"]["inputs"]["spec"]["replicas"] == 0
    said = capsys.readouterr().err
    assert "PersistentVolumeClaim data: the volume's data" in said
    assert "ReplicaSet db: it is protected; it runs no pods" in said
    assert "ConfigMap kept: it is protected" in said
    newest = stack_history.releases(session)[0]
    assert (newest.restores, newest.verified) == (1, True)
    assert session.refresh(message="the engine takes the state").succeeded
    counts = dict(session.preview(program=_with_data).summary)
    assert counts.get("create") == 1, "the settings; the program knows the rest"
    assert counts.get("update") == 2, "the object of before and the set's pods"
    assert "delete" not in counts


def _claim(name: str, size: str, seen: str) -> Callable[[], None]:
    """A program of two claims, one of which has a name of its own."""

    def program() -> None:
        for resource, called in (("data", name), ("more", "more")):
            options = ResourceOptions(version=VERSION, replacement_trigger=called)
            inputs = {
                "metadata": {"name": called, "namespace": "shop"},
                "spec": {"resources": {"requests": {"storage": size}}},
            }
            pulumi.CustomResource(f"kubernetes:{CLAIM}", resource, inputs, options)
        objects("a", data=seen)()

    return program


def test_what_holds_data_and_cannot_go_back_is_left_and_all_else_is_restored(
    stand: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = stand.open()
    assert session.update(program=_claim("data", "1Gi", "1"), message="first").succeeded
    verification_store.mark_verified(session, stack_history.releases(session)[0])
    assert session.update(program=_claim("data-2", "2Gi", "2"), message="second").succeeded
    stand.tell("journal")

    assert stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK

    assert sorted(stand.done().splitlines()) == [
        "create PersistentVolumeClaim data",
        "update ConfigMap a",
    ], "nothing is deleted, and what grew is not touched"
    now = {it["urn"].rpartition("::")[2]: it for it in session.resources()}
    assert now["data"]["inputs"]["metadata"]["name"] == "data"
    assert now["data"]["inputs"]["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert "retainOnDelete" not in now["data"]
    assert now["more"]["inputs"]["spec"]["resources"]["requests"]["storage"] == "2Gi"
    said = capsys.readouterr().err
    assert "PersistentVolumeClaim data-2: the volume's data; in the cluster alone" in said
    assert "PersistentVolumeClaim more: 2Gi as it is now" in said


def test_a_recovery_that_only_judges_knows_what_stays_and_tells_it(
    two: Stand,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = two.open()
    first = stack_history.releases(session)[-1]
    planned = planning.plan(*checkpoint.both(session, first))

    def full(*_: object) -> None:
        raise AegisError(what="the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(verification_store, "mark_verified", full)
        back = ("rollback", "--to", "1", "--yes")
        assert two.aegis(*back) == ExitCode.NOT_ROLLED_BACK
    assert not stack_history.releases(session)[0].verified
    capsys.readouterr()
    judged = MagicMock(return_value=Verdict(passed=True, reason="good"))
    monkeypatch.setattr(GateRunner, "judge", judged)

    assert two.aegis("recover", "--json") == ExitCode.OK

    assert judged.call_args.kwargs["whole"]
    assert judged.call_args.kwargs["apart"] == planned.kept
    told = capsys.readouterr()
    assert "PersistentVolumeClaim data: the volume's data" in told.err
    document = json.loads(told.out)
    assert document["action"] == "judge"
    stays = [it.partition(":")[0] for it in document["stays"]]
    assert sorted(stays) == sorted(it.resource for it in planned.stays)
    assert stack_history.releases(session)[0].verified


def test_only_what_is_protected_and_what_it_needs_is_left_to_one_who_insists(two: Stand) -> None:
    session = two.open()
    back = ("rollback", "--to", "1", "--yes", "--allow-data-loss")
    assert two.aegis(*back) == ExitCode.OK
    assert names(session) == ["a", "db", "group", "kept", "other", "other-group"]
    assert two.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    assert names(session) == ["a", "db", "group", "kept", "other", "other-group"]


@guarded
def test_what_blocks_goes_before_the_rest_and_the_history_knows_what_it_was(
    two: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    session = two.open()

    assert two.aegis("rollback", "--to", "1", "--preview", "--json") == ExitCode.OK
    shown = json.loads(capsys.readouterr().out)
    assert shown["first"] == ["ValidatingWebhookConfiguration guard", "ResourceQuota quota"]
    assert shown["changes"][:2] == [
        "  delete ValidatingWebhookConfiguration guard (first)",
        "  delete ResourceQuota quota (first)",
    ]
    assert "  delete ConfigMap web" in shown["changes"]

    assert two.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK

    assert two.done().splitlines() == [
        "delete ValidatingWebhookConfiguration guard",
        "delete ResourceQuota quota",
        "update ConfigMap a",
        "delete ConfigMap web",
    ]
    assert names(session) == ["a", "data"]
    newest, second, first, failed, _ = stack_history.releases(session)
    assert (newest.restores, newest.result, newest.verified) == (1, "succeeded", True)
    for step in (first, second):
        assert (step.restores, step.result, step.verified) == (1, BEGUN, False)
        assert checkpoint.load(session, step).outputs == {"version": "2"}
    assert failed.refused is False
    assert newest.current
    assert two.aegis("status", "--no-drift") == ExitCode.OK
    assert session.refresh(message="the engine takes the state").succeeded


@pytest.mark.parametrize(
    "fails", ["delete ResourceQuota", pytest.param("update ConfigMap", marks=every)]
)
@guarded
def test_one_that_fails_half_way_is_gone_on_with(
    two: Stand,
    capsys: pytest.CaptureFixture[str],
    fails: str,
) -> None:
    session = two.open()
    two.tell("fail", fails)
    assert two.aegis("rollback", "--to", "1", "--yes") == ExitCode.NOT_ROLLED_BACK
    assert fails in capsys.readouterr().err
    assert "guard" not in names(session)
    assert not any(it.verified for it in stack_history.releases(session)[:-1])
    two.tell("fail")
    assert two.aegis("recover") == ExitCode.OK
    assert names(session) == ["a", "data"]
    newest = stack_history.releases(session)[0]
    assert (newest.restores, newest.verified) == (1, True)
    assert two.done().count("delete ValidatingWebhookConfiguration guard") == 1


@guarded
def test_one_that_died_after_the_first_step_is_gone_on_with(two: Stand) -> None:
    session = two.open()
    where = ("--stack", "one", "--directory", str(two.root / "project"))
    died = subprocess.run(
        [sys.executable, "-c", _DYING, "rollback", "--to", "1", "--yes", *where],
        env={**two.environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert died.returncode == 9, died.stderr
    assert stack_history.releases(session)[0].result == BEGUN
    assert "web" in names(session)
    assert two.aegis("recover") == ExitCode.OK
    assert names(session) == ["a", "data"]
    newest = stack_history.releases(session)[0]
    assert (newest.restores, newest.verified) == (1, True)


def test_what_both_have_is_changed_back_before_the_rest(stand: Stand) -> None:
    def program(data: str) -> Callable[[], None]:
        def run() -> None:
            for name in "abcdef":
                _thing(CONFIG_MAP, name, data=data)
            key = _thing(CONFIG_MAP, "key", data=data)
            _thing(QUOTA, "quota", data=data, depends_on=[key])

        return run

    session = stand.open()
    assert session.update(program=program("1"), message="first").succeeded
    assert session.update(program=program("2"), message="second").succeeded
    stand.tell("journal")
    assert stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    done = stand.done().splitlines()
    assert done[:2] == ["update ConfigMap key", "update ResourceQuota quota"]
    assert len(done) == 8


def test_what_it_changed_and_protected_is_changed_back_and_protected_no_more(
    stand: Stand,
) -> None:
    def both() -> None:
        _thing(CONFIG_MAP, "a", data="2", protect=True)

    session = _two(stand, both)
    assert stand.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    (found,) = (it for it in session.resources() if it["urn"].endswith("::a"))
    assert found["inputs"]["data"] == {"x": "1"}
    assert not found.get("protect")
    assert "update ConfigMap a" in stand.done()
