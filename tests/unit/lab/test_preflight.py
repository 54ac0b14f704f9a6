"""What is said about a machine that does not fit: all of it, at once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab import preflight
from lab.errors import EXIT_REFUSED, LabError
from lab.preflight import GIB, Machine
from lab.settings import LabSettings

FITTING = Machine(
    system="Linux",
    root=True,
    architecture="x86_64",
    free_disk=20 * GIB,
    memory=4 * GIB,
    cgroups_writable=True,
)


class TestProblems:
    """One sentence each."""

    @pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
    def test_are_none_on_a_fitting_machine(self, architecture: str) -> None:
        machine = replace(FITTING, architecture=architecture)
        assert preflight.problems(machine, will_build=True) == []

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            ({"system": "Darwin"}, "it needs Linux; this is Darwin"),
            ({"root": False}, "it needs root (namespaces, mounts): sudo -E make up"),
            ({"architecture": "riscv64"}, "it needs x86_64 or aarch64; this is riscv64"),
            ({"free_disk": 3 * GIB}, "it needs 8 GiB of free disk; 3.0 GiB are free"),
            ({"memory": GIB}, "it needs 3 GiB of memory; there are 1.0 GiB"),
            (
                {"cgroups_writable": False},
                "it needs control groups that root may write at /sys/fs/cgroup",
            ),
        ],
    )
    def test_name_what_is_needed_and_what_was_found(
        self, change: dict[str, object], sentence: str
    ) -> None:
        machine = replace(FITTING, **change)  # type: ignore[arg-type]
        assert preflight.problems(machine, will_build=True) == [sentence]

    def test_are_told_all_at_once(self) -> None:
        hopeless = Machine(
            system="Plan 9",
            root=False,
            architecture="mips",
            free_disk=0,
            memory=0,
            cgroups_writable=False,
        )
        assert len(preflight.problems(hopeless, will_build=True)) == 6

    def test_of_the_disk_depend_on_what_has_to_be_built(self) -> None:
        machine = replace(FITTING, free_disk=3 * GIB)
        assert preflight.problems(machine, will_build=False) == []


class TestRequire:
    """The refusal lists every problem and the way out."""

    def test_refuses_with_everything_that_is_missing(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        poor = replace(FITTING, root=False, memory=GIB)
        monkeypatch.setattr(preflight, "inspect", lambda _: poor)
        with pytest.raises(LabError) as caught:
            preflight.require(lab, will_build=False)
        assert caught.value.code == EXIT_REFUSED
        assert len(caught.value.why.splitlines()) == 2

    def test_lets_a_fitting_machine_pass(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(preflight, "inspect", lambda _: FITTING)
        preflight.require(lab, will_build=True)


class TestInspect:
    """A look changes nothing."""

    def test_finds_something_and_makes_nothing(self, lab: LabSettings) -> None:
        far = replace(lab, state=lab.state / "not" / "there", cache=lab.cache / "neither")
        found = preflight.inspect(far)
        assert found.free_disk > 0
        assert not far.state.exists()
        assert not far.cache.exists()

    def test_counts_the_fuller_of_two_disks(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        free = {lab.state: 5 * GIB, lab.cache: GIB}
        monkeypatch.setattr(preflight, "_free_disk", lambda place: free[place])
        assert preflight.inspect(lab).free_disk == GIB


class TestDirectories:
    """What the lab needs to write, it can write."""

    def test_are_made_and_left_empty(self, tmp_path: Path) -> None:
        preflight.require_directories(tmp_path / "a" / "b", tmp_path)
        assert list((tmp_path / "a" / "b").iterdir()) == []

    def test_that_cannot_be_made_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(LabError) as caught:
            preflight.require_directories(tmp_path / "file" / "lab")
        assert caught.value.what == f"the lab cannot write to {tmp_path}/file/lab"
        assert caught.value.why == "Not a directory"


class TestNodes:
    """Each further node takes memory, which is said before one is started."""

    def test_need_as_much_more_as_there_are(self) -> None:
        assert preflight.problems(FITTING, will_build=False, nodes=4) == []
        [sentence] = preflight.problems(FITTING, will_build=False, nodes=5)
        assert sentence == (
            "it needs 4.2 GiB of memory for 5 nodes, 300 MiB for each beside the first; "
            "there are 4.0 GiB"
        )

    @pytest.mark.parametrize(
        ("more", "mib", "fits"), [(2, 600, True), (2, 599, False), (0, 0, True)]
    )
    def test_need_it_to_be_available(self, tmp_path: Path, more: int, mib: int, fits: bool) -> None:
        meminfo = tmp_path / "meminfo"
        meminfo.write_text(f"MemTotal: 9000000 kB\nMemAvailable: {mib * 1024} kB\n")
        if fits:
            preflight.require_room_for_nodes(more, meminfo)
            return
        with pytest.raises(LabError, match="too little memory for 2 further nodes") as caught:
            preflight.require_room_for_nodes(more, meminfo)
        assert caught.value.code == EXIT_REFUSED
        assert caught.value.why == "each takes 300 MiB, 600 MiB in all; 599 MiB are available"
