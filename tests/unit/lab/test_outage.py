"""Outages of the lab's daemons: whom they hit, and that everything comes back."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import (
    cgroup,
    cluster,
    containers,
    lifecycle,
    network_policies,
    outage,
    registry,
    storage,
)
from lab.command import wait_until
from lab.daemon import Daemon, Supervisor, start_time
from lab.errors import EXIT_REFUSED, EXIT_USAGE, LabError
from lab.settings import LabSettings

SLEEP = str(shutil.which("sleep"))

pytestmark = [
    pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def sleeper(name: str) -> Daemon:
    return Daemon(name=name, argv=[SLEEP, "67"], inside=False)


@pytest.fixture
def calls() -> list[str]:
    """What was asked of the lab, in order."""
    return []


@pytest.fixture
def running(
    lab: LabSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: list[str]
) -> Iterator[Supervisor]:
    """A lab that is up: its holder, an etcd and an API server that only sleep."""
    file = tmp_path / "cgroup.procs"
    file.write_text("")
    monkeypatch.setattr(cgroup, "daemons_file", lambda **_: file)
    monkeypatch.setattr(cgroup, "members", lambda *_: set())
    supervisor = Supervisor(lab)

    def control_plane(_: LabSettings, supervisor: Supervisor) -> None:
        calls.append("control plane")
        for name in ("etcd", "kube-apiserver"):
            supervisor.start(sleeper(name))

    heard = iter(map(str, range(100)))
    monkeypatch.setattr(containers, "start", lambda *_: calls.append("containerd"))
    monkeypatch.setattr(cluster, "start_control_plane", control_plane)
    monkeypatch.setattr(network_policies, "start", lambda *_: calls.append("judge"))
    monkeypatch.setattr(cluster, "start_node", lambda *_: calls.append("node"))
    monkeypatch.setattr(Supervisor, "wait_for", lambda _, __, ready, **___: ready())
    monkeypatch.setattr(lifecycle, "node_was_heard", lambda _: next(heard))
    monkeypatch.setattr(lifecycle, "wait_for_node", lambda *_: calls.append("ready"))
    monkeypatch.setattr(registry, "start", lambda *_: calls.append("registry"))
    monkeypatch.setattr(storage, "start", lambda *_: calls.append("storage"))
    for name in ("holder", "etcd", "kube-apiserver"):
        supervisor.start(sleeper(name))
    yield supervisor
    for name in supervisor.names():
        pid = supervisor.pid_of(name)
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
    supervisor.stop(*supervisor.names(), grace=1)


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class TestNames:
    """A daemon is named as people call it, and only one that can be restarted."""

    def test_the_kubernetes_ones_may_be_named_without_their_kube(self) -> None:
        assert outage.known(["apiserver", "etcd"]) == ("kube-apiserver", "etcd")

    @pytest.mark.parametrize("name", ["holder", "kubernetes", ""])
    def test_another_is_a_usage_error(self, name: str) -> None:
        with pytest.raises(LabError, match="no daemon") as caught:
            outage.known([name])
        assert caught.value.code == EXIT_USAGE


class TestRestart:
    """What is restarted is another process afterwards, and nothing else is touched."""

    def test_ends_the_named_one_and_brings_everything_back(
        self, lab: LabSettings, running: Supervisor, calls: list[str]
    ) -> None:
        before = {name: running.pid_of(name) for name in running.names()}
        outage.restart(lab, "apiserver", grace=1)
        after = {name: running.pid_of(name) for name in running.names()}
        assert after["kube-apiserver"] not in {None, before["kube-apiserver"]}
        assert (after["etcd"], after["holder"]) == (before["etcd"], before["holder"])
        parts = "containerd", "control plane", "judge", "node", "storage", "ready", "registry"
        assert calls == [*parts]

    def test_of_a_lab_that_is_down_is_refused(self, lab: LabSettings) -> None:
        for act in (outage.restart, outage.end, outage.resume):
            with pytest.raises(LabError, match="not up") as caught:
                act(lab, "etcd")
            assert caught.value.code == EXIT_REFUSED


class TestOutage:
    """During the block it is out; after it, also a failed one, it is back."""

    def test_an_ended_daemon_is_started_again_whatever_happens(
        self, lab: LabSettings, running: Supervisor
    ) -> None:
        former = running.pid_of("etcd")
        assert former is not None
        with pytest.raises(ZeroDivisionError), outage.ended(lab, "etcd"):
            assert start_time(former) is None
            raise ZeroDivisionError
        assert running.pid_of("etcd") not in {None, former}

    def test_one_that_stands_still_goes_on_as_the_same_process(
        self, lab: LabSettings, running: Supervisor
    ) -> None:
        pid = running.pid_of("kube-apiserver")
        assert pid is not None
        with pytest.raises(ZeroDivisionError), outage.standing_still(lab, "apiserver"):
            wait_until(lambda: state_of(pid) == "T", what="it to stand still", timeout=60)
            raise ZeroDivisionError
        wait_until(lambda: state_of(pid) == "S", what="it to go on", timeout=60)
        assert running.pid_of("kube-apiserver") == pid
