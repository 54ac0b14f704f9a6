"""Taking a lab of several nodes down: what goes in which order, and what is left."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import pytest

from lab import cgroup, isolation, lifecycle, owner, salt
from lab.daemon import Supervisor
from lab.errors import EXIT_REFUSED, LabError
from lab.node import Node, further
from lab.settings import LabSettings


@pytest.fixture
def did(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A lab of three nodes, one of them somebody's own, and what was done to it."""
    it: list[str] = []
    for number, taint in ((2, ""), (3, "a/b:NoSchedule")):
        directory = further(lab, number).state
        directory.mkdir(parents=True)
        record = {"number": number, "taint": taint}
        (directory / "node.json").write_text(json.dumps(record))
        stale = further(lab, number).run / "containerd" / "containerd.sock"
        stale.parent.mkdir(parents=True)
        stale.write_text("")

    def end_all(*, below: str | Sequence[str] = "", grace: float) -> None:
        parts = [below] if isinstance(below, str) else below
        it.append(f"end {' '.join(parts) or 'all'} {grace:g}")

    monkeypatch.setattr(owner, "require_own", lambda _: None)
    monkeypatch.setattr(owner, "release", lambda: None)
    monkeypatch.setattr(salt, "detach", lambda _: None)
    monkeypatch.setattr(Supervisor, "stop", lambda _, *names: it.append(f"stop {' '.join(names)}"))
    monkeypatch.setattr(cgroup, "end_all", end_all)
    monkeypatch.setattr(cgroup, "remove", lambda: it.append("no group"))
    monkeypatch.setattr(isolation, "remove_network", lambda: it.append("no network"))

    def remove(node: Node) -> None:
        it.append(f"no network {node.name}")

    monkeypatch.setattr(isolation, "remove_node_network", remove)
    return it


def test_all_kubelets_end_first_and_no_node_has_anything_left(
    lab: LabSettings, did: list[str]
) -> None:
    lifecycle.down(lab, purge=False)
    assert did[:2] == [
        "stop kubelet kubelet@aegis-lab-2 kubelet@aegis-lab-3",
        "end kubepods aegis-lab-2/kubepods aegis-lab-3/kubepods 5",
    ]
    assert did.index("end all 2") < did.index("no network aegis-lab-2")
    assert did[-4:] == [
        "no network aegis-lab-2",
        "no network aegis-lab-3",
        "no network",
        "no group",
    ]
    for number in (2, 3):
        assert list(further(lab, number).run.iterdir()) == []
        assert (further(lab, number).state / "node.json").exists(), "it is one of the lab"


@pytest.mark.usefixtures("did")
def test_a_purge_forgets_them(lab: LabSettings) -> None:
    lifecycle.down(lab, purge=True)
    assert not lab.state.exists()


def test_a_second_one_at_work_is_refused_with_the_first_ones_number(lab: LabSettings) -> None:
    with lifecycle.exclusive(lab):
        with pytest.raises(LabError, match="is at work on this machine's lab") as caught:  # noqa: SIM117 - one at a time
            with lifecycle.exclusive(lab):
                pytest.fail("both were let in")
        assert f"process {os.getpid()} holds" in caught.value.why
        assert caught.value.code == EXIT_REFUSED
    with lifecycle.exclusive(lab):
        pass
