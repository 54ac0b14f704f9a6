"""The lab's control group, on made-up trees of both versions."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from lab import cgroup
from lab.errors import LabError


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    root = tmp_path / "v1"
    for name in ("cpuset", "memory", "pids", "unified"):
        (root / name).mkdir(parents=True)
        (root / name / "cgroup.procs").write_text("1\n")
    (root / "cpu").symlink_to("memory")
    (root / "not-a-hierarchy").mkdir()
    return root


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    root = tmp_path / "v2"
    root.mkdir()
    (root / "cgroup.controllers").write_text("cpu memory pids\n")
    (root / "cgroup.procs").write_text("1\n")
    return root


def put(directory: Path, *pids: int) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


class TestVersion1:
    """One hierarchy a controller."""

    def test_has_a_group_in_every_hierarchy_but_no_link(self, version_1: Path) -> None:
        assert [p.name for p in cgroup.hierarchies(version_1)] == [
            *("cpuset", "memory", "pids", "unified")
        ]
        cgroup.create(version_1)
        groups = {p.parent.name for p in version_1.glob("*/aegis-lab") if not p.parent.is_symlink()}
        assert groups == {"cpuset", "memory", "pids", "unified"}

    def test_counts_membership_by_pids(self, version_1: Path) -> None:
        cgroup.create(version_1)
        expected = version_1 / "pids" / "aegis-lab" / "daemons" / "cgroup.procs"
        assert cgroup.daemons_file(version_1) == expected
        assert expected.parent.is_dir()

    def test_gives_a_new_cpuset_the_processors_it_needs(self, version_1: Path) -> None:
        # The kernel makes the files along with the group; here they are there beforehand.
        group = version_1 / "cpuset" / "aegis-lab"
        group.mkdir()
        for name, text in (("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n")):
            (version_1 / "cpuset" / name).write_text(text)
            (group / name).write_text("\n")
        (group / "cpuset.mems").write_text("3\n")
        cgroup.create(version_1)
        assert (group / "cpuset.cpus").read_text() == "0-1\n"
        assert (group / "cpuset.mems").read_text() == "3\n"


class TestVersion2:
    """One hierarchy for all."""

    def test_has_one_group_and_hands_every_controller_down(self, version_2: Path) -> None:
        cgroup.create(version_2)
        for directory in (version_2, version_2 / "aegis-lab"):
            handed = (directory / "cgroup.subtree_control").read_text()
            assert handed == "+cpu +memory +pids"
        daemons = version_2 / "aegis-lab" / "daemons"
        assert cgroup.daemons_file(version_2) == daemons / "cgroup.procs"
        assert daemons.is_dir()


@pytest.mark.parametrize("version", ["version_1", "version_2"])
class TestEither:
    """What holds on both versions."""

    @pytest.fixture
    def root(self, request: pytest.FixtureRequest, version: str) -> Path:
        root = request.getfixturevalue(version)
        assert isinstance(root, Path)
        return root

    def test_creating_twice_is_creating_once(self, root: Path) -> None:
        cgroup.create(root)
        cgroup.create(root)

    def test_members_are_found_at_every_depth(self, root: Path) -> None:
        cgroup.create(root)
        lab = cgroup.daemons_file(root).parent.parent
        put(lab / "daemons", 11, 12)
        put(lab / "kubepods" / "burstable" / "pod1", 13)
        assert cgroup.members(filesystem=root) == {11, 12, 13}
        assert cgroup.members("kubepods", root) == {13}

    def test_members_never_include_this_process_or_a_stranger(self, root: Path) -> None:
        cgroup.create(root)
        put(cgroup.daemons_file(root).parent, os.getpid(), 0, 14)
        assert cgroup.members(filesystem=root) == {14}

    def test_without_a_group_there_are_no_members(self, root: Path) -> None:
        assert cgroup.members(filesystem=root) == set()
        cgroup.end_all(grace=0, filesystem=root)

    def test_pods_get_processors_however_much_else_wants_them(
        self, root: Path, version: str
    ) -> None:
        name, default = {"version_1": ("cpu.shares", 1024), "version_2": ("cpu.weight", 100)}[
            version
        ]
        # The kernel makes the file along with the group; here it is there beforehand.
        group = cgroup.hierarchies(root)[0] / "aegis-lab"
        group.mkdir()
        (group / name).write_text(f"{default}\n")
        cgroup.create(root)
        assert int((group / name).read_text()) > default

    def test_removal_takes_the_group_and_nothing_else(self, root: Path) -> None:
        cgroup.create(root)
        for file in list(root.rglob("aegis-lab/cgroup.subtree_control")):
            file.unlink()
        cgroup.remove(root)
        assert not list(root.rglob("aegis-lab"))
        assert (cgroup.hierarchies(root)[0] / "cgroup.procs").exists()


class TestEnding:
    """Processes end, and a machine that cannot do it says so."""

    def test_ends_the_members_and_returns_when_they_are_gone(
        self, version_2: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cgroup.create(version_2)
        with subprocess.Popen(["sleep", "60"]) as process:
            # A plain file does not lose a process that ends, as the kernel's does.
            monkeypatch.setattr(
                cgroup, "members", lambda *_: {process.pid} if process.poll() is None else set()
            )
            cgroup.end_all(grace=5, filesystem=version_2)
            assert process.wait() == -15

    def test_ends_by_force_what_ignores_the_request(
        self, version_2: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        argv = ["sh", "-c", "trap '' TERM; echo ready; sleep 60 & wait; sleep 60"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            monkeypatch.setattr(
                cgroup, "members", lambda *_: {process.pid} if process.poll() is None else set()
            )
            cgroup.end_all(grace=0.1, filesystem=version_2)
            assert process.wait() == -9
            os.killpg(process.pid, 9)

    def test_a_machine_without_writable_groups_gets_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(LabError) as caught:
            cgroup.create(tmp_path / "nowhere")
        assert caught.value.what == "could not make the lab's control group"
        assert "No such file or directory" in caught.value.why


@pytest.mark.parametrize("version", ["version_1", "version_2"])
class TestAPart:
    """A further node has a part of the lab's group, which is ended and taken away by itself."""

    @pytest.fixture
    def root(self, request: pytest.FixtureRequest, version: str) -> Path:
        root = request.getfixturevalue(version)
        assert isinstance(root, Path)
        cgroup.create(root)
        cgroup.create(root, part="node-2")
        return root

    def test_has_daemons_of_its_own_that_are_the_labs_too(self, root: Path) -> None:
        own = cgroup.daemons_file(root, part="node-2").parent
        assert own.parent == cgroup.daemons_file(root).parent.parent / "node-2"
        put(own, 21)
        put(cgroup.daemons_file(root).parent, 11)
        assert cgroup.members(cgroup.daemons_of("node-2"), root) == {21}
        assert cgroup.members(cgroup.daemons_of(""), root) == {11}
        assert cgroup.members(filesystem=root) == {11, 21}

    def test_goes_without_the_rest(self, root: Path, version: str) -> None:
        if version == "version_2":
            for file in (root / "aegis-lab" / "node-2").glob("cgroup.*"):
                file.unlink()  # The kernel's own, which go with the group.
        cgroup.remove(root, part="node-2")
        assert not cgroup.daemons_file(root, part="node-2").parent.exists()
        assert cgroup.daemons_file(root).parent.is_dir()
