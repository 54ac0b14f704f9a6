"""Credentials that were rotated and are dead: nobody is locked out of a stack."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.errors import ExitCode
from aegis_deploy.history import stack_history, verification_store
from aegis_deploy.locking.reconnect import MESSAGE
from tests.integration.accepting_provider import VERSIONS
from tests.integration.cluster_over_http import ClusterOverHttp
from tests.integration.prepared import once
from tests.integration.shop import Stand, copied_stand, maps
from tests.series import every

pytestmark = pytest.mark.integration

PROGRAM = f"""
import pulumi

settings = pulumi.Config()
version = "{VERSIONS["kubernetes"]}"
provider = pulumi.ProviderResource(
    "kubernetes",
    "cluster",
    {{"kubeconfig": settings.get_secret("kubeconfig")}},
    pulumi.ResourceOptions(version=version),
)
for name, options in (
    ("a", pulumi.ResourceOptions(provider=provider)),
    ("b", pulumi.ResourceOptions(version=version)),
):
    inputs = {{
        "metadata": {{"name": name, "namespace": "shop"}}, "data": {{"x": settings.get("x")}}
    }}
    pulumi.CustomResource("kubernetes:core/v1:ConfigMap", name, inputs, options)
"""
"""One object by the program's own provider, one by the engine's; the program is what its settings
say."""


@pytest.fixture(scope="session")
def made_rotated(tmp_path_factory: pytest.TempPathFactory, made_shop: Path, programs: Path) -> Path:
    """The stack that `rotated` copies."""

    def make(root: Path) -> None:
        with copied_stand(made_shop, root, programs) as stand:
            _rotate(stand, "alice", "bob")

    return once(tmp_path_factory, "rotated", make)


@pytest.fixture
def rotated(
    made_rotated: Path, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stand]:
    """Two releases with alice's credentials; then the settings have bob's, and alice's are dead."""
    with copied_stand(made_rotated, tmp_path, programs) as stand:
        stand.enter(monkeypatch)
        stand.tell("revoked", "alice\n")
        stand.tell("journal")
        yield stand


@pytest.fixture
def emptied(stand: Stand) -> Iterator[Stand]:
    """The same in a cluster that answers, and that somebody has taken the objects from."""
    cluster = ClusterOverHttp()
    try:
        config = json.loads(cluster.kubeconfig())
        user = config["users"][0]["user"]
        alice, bob = (
            json.dumps({**config, "users": [{**config["users"][0], "user": {**user, "token": it}}]})
            for it in ("alice", "bob")
        )
        _rotate(stand, alice, bob)
        yield stand
    finally:
        cluster.close()


def _rotate(stand: Stand, alice: str, bob: str) -> None:
    project = stand.root / "project"
    (project / "__main__.py").write_text(PROGRAM)
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    (project / "Pulumi.yaml").write_text(json.dumps({"name": "shop", "runtime": runtime}))
    _connect(stand, alice)
    for data in ("1", "2"):
        stand.set("shop:x", data)
        stand.pulumi("up", "--yes", "--skip-preview", "--stack", "one")
        session = stand.open()
        verification_store.mark_verified(session, stack_history.releases(session)[0])
    _connect(stand, bob)
    stand.tell("revoked", f"{alice}\n")


def _connect(stand: Stand, who: str) -> None:
    both = ("--secret", f"kubeconfig={who}", "--secret", f"kubernetes:kubeconfig={who}")
    stand.pulumi("config", "set-all", "--stack", "one", *both)


def _data(stand: Stand) -> list[dict[str, str]]:
    found: Any = maps(stand.open())
    return [it["inputs"]["data"] for it in found]


def _credentials(stand: Stand) -> list[str]:
    resources = stand.open().export(show_secrets=True)["deployment"]["resources"]
    return [
        json.loads(it["inputs"]["kubeconfig"]["plaintext"])
        for it in resources
        if it["type"] == "pulumi:providers:kubernetes"
    ]


def test_a_rollback_goes_on_with_those_of_now(rotated: Stand) -> None:
    assert rotated.aegis("rollback", "--to", "1", "--yes") == ExitCode.OK
    assert _data(rotated) == [{"x": "1"}, {"x": "1"}]
    assert _credentials(rotated) == ["bob", "bob"]
    back, between, *_ = stack_history.releases(rotated.open())
    assert (back.restores, back.verified, between.message) == (1, True, MESSAGE)
    keys = ("shop:kubeconfig", "kubernetes:kubeconfig")
    session = rotated.open()
    kept = session.decrypted({key: back.config[key] for key in keys})
    assert kept == dict.fromkeys(keys, "bob"), "nor do the settings bring the dead ones back"
    # And on: neither a rollback forward nor a deploy is locked out.
    assert rotated.aegis("rollback", "--to", "2", "--yes", "--keep", "kubeconfig") == ExitCode.OK
    assert rotated.run("up", "--yes", "--skip-preview", "--stack", "one").code == 0


@every
def test_a_recovery_does_so_too(rotated: Stand) -> None:
    rotated.tell("hang", "update ConfigMap")
    rotated.tell("revoked")
    rotated.pulumi("config", "set", "--stack", "one", "x", "3")
    _connect(rotated, "alice")
    (rotated.root / "journal").unlink()
    session = rotated.open()

    def kill() -> None:
        rotated.wait_for("update ConfigMap")
        session.engine.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    assert session.update(message="third").killed
    killer.join()
    (rotated.root / "hang").unlink()
    rotated.tell("revoked", "alice\n")
    _connect(rotated, "bob")
    assert rotated.aegis("recover") == ExitCode.OK
    assert _data(rotated) == [{"x": "2"}, {"x": "2"}]
    assert _credentials(rotated) == ["bob", "bob"]


@every
def test_a_deploy_that_makes_again_what_is_gone_goes_on_with_those_of_now(
    emptied: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing but a refresh finds out what is gone, and that asks with what is recorded.
    emptied.pulumi("config", "set", "--stack", "one", "x", "3")
    emptied.tell("gone", "a\nb\n")
    emptied.tell("journal")
    assert emptied.aegis("deploy", "--yes") == ExitCode.OK
    said = capsys.readouterr().err
    gone = "ConfigMap shop/a (provider cluster), ConfigMap shop/b"
    assert f"is gone, and is made again: {gone}" in said
    assert "the credentials that were recorded are refused" in said
    assert sorted(emptied.done().splitlines()) == ["create ConfigMap a", "create ConfigMap b"]
    assert _data(emptied) == [{"x": "3"}, {"x": "3"}]
    assert ['"bob"' in it for it in _credentials(emptied)] == [True, True]
    newest, between, failed, *_ = stack_history.releases(emptied.open())
    assert (newest.result, newest.verified) == ("succeeded", True)
    assert (between.message, failed.result) == (MESSAGE, "failed")


def test_a_preview_changes_nothing_and_says_what_helps(
    rotated: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rotated.aegis("rollback", "--to", "1", "--preview") != ExitCode.OK
    assert "aegis rollback --to 1 --stack one --yes" in capsys.readouterr().err
    assert _credentials(rotated) == ["alice", "alice"]


def test_credentials_of_now_that_are_dead_as_well_are_told(
    rotated: Stand, capsys: pytest.CaptureFixture[str]
) -> None:
    rotated.tell("revoked", "alice\nbob\n")
    assert rotated.aegis("rollback", "--to", "1", "--yes") == ExitCode.REFUSED
    said = capsys.readouterr().err
    assert "could not begin" in said
    assert "state: nothing that runs was changed" in said
    assert _data(rotated) == [{"x": "2"}, {"x": "2"}]
