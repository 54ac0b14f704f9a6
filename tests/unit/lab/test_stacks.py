"""The environment of the lab's shell, its passphrase, and locks that a killed `up` left."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from lab import lifecycle, owner, salt, stacks
from lab.errors import LabError
from lab.settings import LabSettings


@pytest.fixture
def ready(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """A lab whose checkout has what the environment is computed from."""
    (lab.checkout / "app").mkdir()
    (lab.checkout / "app" / "requirements.txt").write_text("")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return lab


class TestEnvironment:
    """Plain programs find the lab, and nothing secret stands in it."""

    def test_points_at_the_lab(self, ready: LabSettings) -> None:
        found = stacks.variables(ready)
        assert found["KUBECONFIG"] == str(ready.kubeconfig)
        assert found["PULUMI_BACKEND_URL"] == f"file://{ready.backend}"
        assert found["DOCKER_HOST"] == f"unix://{ready.docker_socket}"
        assert found["AEGIS_REGISTRY"] == "198.18.0.2:5000"
        assert found["AEGIS_BASE_IMAGE"].startswith("198.18.0.2:5000/")

    def test_names_the_passphrases_file_and_never_the_passphrase(
        self, ready: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "a person's own")
        ready.passphrase_file.write_text("hidden\n")
        found = stacks.environment(ready)
        assert found["PULUMI_CONFIG_PASSPHRASE_FILE"] == str(ready.passphrase_file)
        assert "PULUMI_CONFIG_PASSPHRASE" not in found
        assert "hidden" not in str(found)

    def test_keeps_what_there_was(
        self, ready: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EDITOR", "vi")
        assert stacks.environment(ready)["EDITOR"] == "vi"

    def test_path_has_the_labs_programs_first_and_once(
        self, ready: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = [str(ready.state / "bin"), str(ready.checkout / ".venv" / "bin")]
        once = stacks.search_path(ready)
        assert once.split(":") == [*own, "/usr/bin", "/bin"]
        monkeypatch.setenv("PATH", once)
        assert stacks.search_path(ready) == once


class TestPassphrase:
    """Made once, random, and nobody else's to read."""

    def test_is_made_once_for_its_owner_alone(
        self, ready: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(salt, "create", lambda *_: "v1:x:y")
        monkeypatch.setattr(salt, "attach", lambda *_: None)
        stacks.prepare(ready, Path("pulumi"))
        first = ready.passphrase_file.read_text()
        stacks.prepare(ready, Path("pulumi"))
        assert ready.passphrase_file.read_text() == first
        assert len(first.strip()) >= 32
        assert stat.S_IMODE(ready.passphrase_file.stat().st_mode) == 0o600
        assert ready.backend.is_dir()


class TestOrphanedLocks:
    """A lock goes only when the process it names is gone."""

    def lock(self, lab: LabSettings, stack: str, content: str) -> Path:
        directory = lab.backend / ".pulumi" / "locks" / "organization" / "aegis" / stack
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "0b7c.json"
        path.write_text(content)
        return path

    def test_of_a_process_that_is_gone_is_removed(self, lab: LabSettings) -> None:
        gone = subprocess.Popen(["true"])
        gone.wait()
        lock = self.lock(lab, "development", json.dumps({"pid": gone.pid, "username": "x"}))
        stacks._clear_orphaned_lock(lab)
        assert not lock.exists()

    def test_of_a_cli_that_runs_stays(self, lab: LabSettings, tmp_path: Path) -> None:
        cli = tmp_path / "pulumi"
        cli.symlink_to("/bin/sleep")
        with subprocess.Popen([str(cli), "30"]) as running:
            lock = self.lock(lab, "development", json.dumps({"pid": running.pid}))
            stacks._clear_orphaned_lock(lab)
            running.kill()
        assert lock.exists()

    def test_of_a_process_that_got_the_id_since_is_removed(self, lab: LabSettings) -> None:
        lock = self.lock(lab, "development", json.dumps({"pid": os.getpid()}))
        stacks._clear_orphaned_lock(lab)
        assert not lock.exists()

    @pytest.mark.parametrize("content", ["", "{}", "[]", '{"pid": null}', '{"pid": "x"}', "\x00"])
    def test_that_cannot_be_read_stays(self, lab: LabSettings, content: str) -> None:
        lock = self.lock(lab, "development", content)
        stacks._clear_orphaned_lock(lab)
        assert lock.exists()

    def test_of_another_stack_stays(self, lab: LabSettings) -> None:
        gone = subprocess.Popen(["true"])
        gone.wait()
        lock = self.lock(lab, "production", json.dumps({"pid": gone.pid}))
        stacks._clear_orphaned_lock(lab)
        assert lock.exists()

    def test_without_a_backend_there_are_none(self, lab: LabSettings) -> None:
        stacks._clear_orphaned_lock(lab)


class TestPendingOperations:
    """What an update that was killed leaves in the state."""

    @pytest.mark.parametrize(
        ("latest", "pending"),
        [
            (None, False),
            ({}, False),
            ({"pending_operations": []}, False),
            ({"pending_operations": [{"type": "updating"}]}, True),
        ],
    )
    def test_are_found(self, lab: LabSettings, latest: object, pending: bool) -> None:
        state = lab.backend / ".pulumi" / "stacks" / "aegis" / "development.json"
        state.parent.mkdir(parents=True)
        state.write_text(json.dumps({"checkpoint": {"latest": latest}}))
        assert stacks._has_pending_operations(lab) is pending

    def test_a_state_that_cannot_be_read_has_none(self, lab: LabSettings) -> None:
        state = lab.backend / ".pulumi" / "stacks" / "aegis" / "development.json"
        state.parent.mkdir(parents=True)
        state.write_text("{")
        assert not stacks._has_pending_operations(lab)


class TestProxies:
    """Where the machine uses a proxy, the lab's addresses go past it."""

    def test_leave_out_the_labs_network(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in stacks.PROXIES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", "example.com")
        assert stacks._without_proxy(lab) == {}
        monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
        value = "example.com,198.18.0.0/15,198.18.0.2,.cluster.local"
        assert stacks._without_proxy(lab) == {"NO_PROXY": value, "no_proxy": value}


class TestAStackFileOfATeamsOwn:
    """Its salt goes with another passphrase: the lab keeps off, and says so at once."""

    def test_is_refused_before_anything_is_installed_or_built(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = lab.checkout / "Pulumi.development.yaml"
        file.write_text("config: {}\nencryptionsalt: v1:theirs\n")
        monkeypatch.setattr(owner, "require_own", lambda _: None)
        with pytest.raises(LabError, match="of your own"):
            lifecycle.up(lab)
        assert file.read_text().endswith("encryptionsalt: v1:theirs\n")
        assert not lab.state.exists() or not any(lab.state.iterdir())

    def test_is_no_such_thing_with_the_labs_salt(self, lab: LabSettings) -> None:
        lab.state.mkdir(parents=True, exist_ok=True)
        (lab.state / "salt").write_text("v1:ours\n")
        (lab.checkout / "Pulumi.development.yaml").write_text("encryptionsalt: v1:ours\n")
        stacks.require_no_foreign_salt(lab)
