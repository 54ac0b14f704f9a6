"""lab.storage: what a claim without a class is given, and by whom."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from lab import pki, storage
from lab.daemon import Daemon, Supervisor
from lab.settings import LabSettings
from lab.toolchain import STORAGE


@pytest.fixture
def started(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """What was started."""
    (lab.checkout / "lab" / "tools" / STORAGE.module).mkdir(parents=True)
    found: list[Daemon] = []
    monkeypatch.setattr(Supervisor, "start", lambda _, daemon: found.append(daemon))
    pki.create(lab)
    storage.start(lab, Supervisor(lab))
    return found[0]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [it for it in storage.manifests() if it["kind"] == kind]
    return dict(found)


def flag(daemon: Daemon, name: str) -> str:
    (found,) = [word for word in daemon.argv if word.startswith(f"--{name}=")]
    return found.partition("=")[2]


class TestVolumes:
    """They lie below the state, which a purge removes."""

    def test_are_made_below_the_state(self, lab: LabSettings, started: Daemon) -> None:
        directory = lab.state / "volumes"
        assert flag(started, "directory") == str(directory)
        assert directory.is_dir()

    def test_are_made_by_who_answers_for_the_class(self, started: Daemon) -> None:
        assert flag(started, "name") == manifest("StorageClass")["provisioner"]

    def test_are_what_a_claim_without_a_class_gets_once_a_pod_wants_it(self) -> None:
        made = manifest("StorageClass")
        default = "storageclass.kubernetes.io/is-default-class"
        assert made["metadata"]["annotations"][default] == "true"
        assert made["volumeBindingMode"] == "WaitForFirstConsumer"


class TestRights:
    """The daemon may make volumes, and nothing else."""

    def test_it_is_who_the_binding_names(self, lab: LabSettings, started: Daemon) -> None:
        conf = yaml.safe_load(pki.kubeconfig(lab, storage.CLIENT).read_text())
        assert flag(started, "kubeconfig") == str(pki.kubeconfig(lab, storage.CLIENT))
        (subject,) = manifest("ClusterRoleBinding")["subjects"]
        assert subject["name"] == conf["users"][0]["name"]

    def test_it_is_no_administrator(self) -> None:
        assert pki.CLIENTS[storage.CLIENT][1] is None
        role = manifest("ClusterRoleBinding")["roleRef"]["name"]
        assert role == "system:persistent-volume-provisioner"

    def test_one_with_the_keys_of_before_is_started_anew(
        self, lab: LabSettings, started: Daemon
    ) -> None:
        assert started.configuration == pki.kubeconfig(lab, storage.CLIENT).read_text()
