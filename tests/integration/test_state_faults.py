"""Faults around the state: damaged files, a full disk, a wrong passphrase, a clock set back.

Each ends in a message a person can act on at night, and what the message says to type mends it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aegis_deploy.cli.main import main
from aegis_deploy.common.errors import ExitCode
from aegis_deploy.history import stack_history, verification_store
from tests.integration.accepting_provider import VERSIONS
from tests.integration.prepared import once
from tests.integration.shop import Stand, copied_stand, maps, objects
from tests.integration.waiting import SECONDS, wait_until
from tests.rendering import ROOT
from tests.series import every

pytestmark = pytest.mark.integration

PROGRAM = f"""\
import pulumi

version = pulumi.Config().require("version")
pulumi.CustomResource(
    "kubernetes:core/v1:ConfigMap",
    f"web-{{version}}",
    {{"metadata": {{"name": f"web-{{version}}", "namespace": "shop"}}}},
    pulumi.ResourceOptions(version="{VERSIONS["kubernetes"]}"),
)
pulumi.export("version", version)
pulumi.export("secret", pulumi.Output.secret("hunter3"))
"""
FLOWS = ("recover", "rollback --yes", "deploy --yes")
NIGHT = re.compile(r"^  next:  (.*?(?:\n         .*)*)$", re.MULTILINE)


@dataclass
class Shop:
    """The stack, three verified releases deep, and what `aegis` says of it.

    Attributes:
        stand: Where it is.
        capture: Reads what was printed.
        said: What the last command printed.
    """

    stand: Stand
    capture: pytest.CaptureFixture[str]
    said: str = field(default="", init=False)

    def aegis(self, words: str) -> int:
        """Run a command on the stack."""
        self.capture.readouterr()
        project = str(self.stand.root / "project")
        code = main([*words.split(), "--stack", "one", "--directory", project])
        out, err = self.capture.readouterr()
        self.said = out + err
        return code

    def deploys(self, version: str) -> int:
        """Deploy a version."""
        self.stand.set("shop:version", version)
        return self.aegis("deploy --yes")

    def type_what_it_says(self) -> None:
        """Run the first command of the last message's `next`, as a person would."""
        found = NIGHT.search(self.said)
        assert found is not None, self.said
        command = found[1].splitlines()[0].partition(": ")[2]
        assert command.split()[0] in {"cp", "mv", "echo"}, found[1]
        subprocess.run(command, shell=True, check=True)  # noqa: S602 - a message of our own

    def file(self, *parts: str) -> Path:
        """A file of the backend."""
        return self.stand.root.joinpath("backend", ".pulumi", *parts)

    @property
    def state(self) -> Path:
        return self.file("stacks", "shop", "one.json")

    def recorded(self, kind: str) -> list[Path]:
        """The history's files of a kind, oldest first."""
        return sorted(self.file("history", "shop", "one").glob(f"*.{kind}.json"))

    def live(self) -> list[str]:
        """What the state says is deployed."""
        return [it["id"] for it in maps(self.stand.open())]

    def is_whole(self, *live: str) -> None:
        """Require that this is deployed, that the stack is in order, and that it can go on.

        The next update and its mark are what a deploy makes, without a start of the program.
        """
        assert self.live() == list(live)
        assert self.aegis("recover") == ExitCode.OK
        assert "is in order" in self.said
        session = self.stand.open()
        outcome = session.update(program=objects("web-v9"), message="goes on")
        assert outcome.succeeded, outcome.why
        verification_store.mark_verified(session, stack_history.releases(session)[0])
        assert self.live() == ["web-v9"]
        assert stack_history.releases(session)[0].verified

    def goes_on(self) -> None:
        """Require that a whole deploy goes through."""
        assert self.deploys("v10") == ExitCode.OK, self.said
        assert self.live() == ["web-v10"]


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, made_shop: Path, programs: Path) -> Path:
    """The stack as every test finds it, made once."""

    def make(root: Path) -> None:
        with copied_stand(made_shop, root, programs) as stand:
            project = root / "project"
            (project / "__main__.py").write_text(PROGRAM)
            (project / ".venv").symlink_to(sys.prefix)
            (project / "Pulumi.yaml").write_text(
                "name: shop\nruntime: {name: python, options: {virtualenv: .venv}}\n"
            )
            for version in ("v1", "v2", "v3"):
                stand.set("shop:version", version)
                done = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "aegis_deploy.cli.main",
                        "deploy",
                        "--yes",
                        "--stack",
                        "one",
                    ],
                    cwd=project,
                    env={**stand.environment, "PYTHONPATH": str(ROOT)},
                    capture_output=True,
                    text=True,
                    timeout=SECONDS,
                    check=False,
                )
                assert done.returncode == 0, done.stdout + done.stderr

    return once(tmp_path_factory, "released", make)


@pytest.fixture
def shop(
    released: Path,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    with copied_stand(released, tmp_path, programs) as stand:
        stand.enter(monkeypatch)
        yield Shop(stand, capsys)


def cut(path: Path) -> None:
    """Leave the first half of a file."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


class TestState:
    """The state's file."""

    @pytest.mark.parametrize(
        "harm",
        [
            pytest.param(cut, id="cut short"),
            pytest.param(lambda path: path.write_text(""), id="empty", marks=every),
            pytest.param(Path.unlink, id="gone", marks=every),
        ],
    )
    def test_is_put_back_from_its_newest_copy(
        self, shop: Shop, harm: Callable[[Path], None]
    ) -> None:
        harm(shop.state)
        for flow in FLOWS:
            assert shop.aegis(flow) == ExitCode.REFUSED
            assert str(shop.state) in shop.said
            assert "nothing was changed" in shop.said
            assert "stack init" not in shop.said
        shop.type_what_it_says()
        shop.is_whole("web-v3")
        shop.goes_on()

    def test_may_have_a_note_that_its_writer_was_killed_at(self, shop: Shop) -> None:
        note = shop.state.with_name(f"{shop.state.name}.attrs")
        note.write_text("")
        lost = shop.stand.run("stack", "export", "--stack", "one")
        assert "EOF" in lost.stderr, "the CLI by itself goes no further"
        assert shop.aegis("recover") == ExitCode.OK, shop.said
        assert shop.stand.run("stack", "export", "--stack", "one").code == 0

    def test_hides_neither_history_nor_status(self, shop: Shop) -> None:
        cut(shop.state)
        assert shop.aegis("history") == ExitCode.OK
        assert "current, verified" in shop.said
        assert shop.aegis("status") == ExitCode.OK
        assert "release   3 (v3), verified" in shop.said
        assert "what should run is not known" in shop.said


class TestHistory:
    """The history's files."""

    def test_the_newest_cut_short_is_still_the_one_that_is_replaced(self, shop: Shop) -> None:
        cut(shop.recorded("history")[-1])
        assert shop.aegis("history") == ExitCode.OK
        assert "unreadable  current, verified" in shop.said
        assert shop.aegis("recover") == ExitCode.OK
        assert shop.live() == ["web-v3"]
        assert shop.aegis("rollback --yes") == ExitCode.OK
        assert shop.live() == ["web-v2"]

    def test_one_that_was_never_written_is_the_one_that_a_rollback_replaces(
        self, shop: Shop
    ) -> None:
        for kind in ("history", "checkpoint"):
            shop.recorded(kind)[-1].unlink()
        assert shop.live() == ["web-v3"]
        assert shop.aegis("rollback --yes") == ExitCode.OK, shop.said
        assert shop.live() == ["web-v2"]

    def test_a_checkpoint_cut_short_or_gone_can_be_passed_over(self, shop: Shop) -> None:
        second = shop.recorded("checkpoint")[1]
        for harm in (cut, Path.unlink):
            harm(second)
            assert shop.aegis("recover --preview") == ExitCode.OK
            assert "nothing" in shop.said
            assert shop.aegis("history") == ExitCode.OK
            assert shop.aegis("rollback --yes") == ExitCode.REFUSED
            assert "checkpoint of release 2" in shop.said
            assert "aegis rollback --to N" in shop.said
        assert shop.live() == ["web-v3"]
        assert shop.aegis("rollback --to 1 --yes") == ExitCode.OK
        shop.is_whole("web-v1")

    def test_a_clock_set_back_does_not_change_the_order(self, shop: Shop) -> None:
        # As if all three had been recorded a day ahead of this machine's clock.
        for kind in ("history", "checkpoint"):
            for path in shop.recorded(kind):
                stamp = re.search(r"-(\d+)\.", path.name)
                assert stamp is not None
                path.rename(str(path).replace(stamp[1], str(int(stamp[1]) + 86_400 * 10**9)))
        assert shop.deploys("v4") == ExitCode.OK
        found = stack_history.releases(shop.stand.open())
        assert [(it.number, it.current, it.verified) for it in found[:2]] == [
            (4, True, True),
            # Its mark was made for another time.
            (3, False, False),
        ]
        assert shop.aegis("rollback --to 3 --yes") == ExitCode.OK
        assert stack_history.releases(shop.stand.open())[0].restores == 3
        assert shop.live() == ["web-v3"]


class TestMarks:
    """The file that says which releases are verified."""

    def test_is_put_back_from_its_copy(self, shop: Shop) -> None:
        tags = shop.state.with_suffix(".pulumi-tags")
        cut(tags)
        assert shop.aegis("history") == ExitCode.OK
        assert "which releases are verified is not known" in shop.said
        for flow in FLOWS:
            assert shop.aegis(flow) == ExitCode.REFUSED
            assert str(tags) in shop.said
        shop.type_what_it_says()
        assert all(it.verified for it in stack_history.releases(shop.stand.open()))
        shop.is_whole("web-v3")

    def test_without_a_copy_what_runs_is_judged_again(self, shop: Shop) -> None:
        cut(shop.state.with_suffix(".pulumi-tags"))
        shop.file("aegis", "shop", "one.tags").unlink()
        assert shop.aegis("deploy --yes") == ExitCode.REFUSED
        shop.type_what_it_says()
        assert shop.aegis("deploy --yes") == ExitCode.OK
        assert stack_history.releases(shop.stand.open())[0].verified
        shop.is_whole("web-v3")


class TestLocks:
    """The lock's file, and the claim's."""

    def test_a_lock_that_cannot_be_read_is_taken_only_when_told_to(self, shop: Shop) -> None:
        lock = shop.file("locks", "organization", "shop", "one", "x.json")
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_text('{"pid": 12')
        for flow in FLOWS:
            assert shop.aegis(flow) == ExitCode.REFUSED
            assert str(lock) in shop.said
            assert "aegis recover --take-lock" in shop.said
        assert shop.aegis("recover --take-lock") == ExitCode.OK
        shop.is_whole("web-v3")

    def test_a_claim_that_cannot_be_read_is_nobodys(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("aegis_deploy.backend.diy_store.DiyStore.beat_seconds", 0.01)
        claim = shop.file("aegis", "shop", "one.claim")
        claim.write_bytes(b'\xff["half')
        assert shop.aegis("status") == ExitCode.OK
        assert "orphaned" in shop.said
        assert shop.aegis("recover") == ExitCode.OK
        assert not claim.exists()
        shop.is_whole("web-v3")


class TestSettings:
    """What else is read: the stack's settings, the backend's version, the passphrase."""

    @pytest.mark.parametrize("content", ["config: [a", "- a\n", "config:\n  \xff"])
    def test_a_damaged_settings_file_is_named(self, shop: Shop, content: str) -> None:
        path = shop.stand.root / "project" / "Pulumi.one.yaml"
        path.write_bytes(content.encode("latin-1"))
        for flow in ("deploy --yes", "rollback --yes"):
            assert shop.aegis(flow) == ExitCode.REFUSED
            assert f"{path} cannot be used" in shop.said
        assert shop.live() == ["web-v3"]

    def test_a_damaged_version_of_the_backend_is_named_and_mended(self, shop: Shop) -> None:
        shop.file("meta.yaml").write_text("version: x\n")
        assert shop.aegis("history") == ExitCode.REFUSED
        shop.type_what_it_says()
        shop.is_whole("web-v3")

    def test_the_wrong_passphrase_changes_nothing(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = shop.state.read_bytes()
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "another")
        assert shop.aegis("history") == ExitCode.OK
        for flow in ("deploy --yes", "rollback --yes"):
            assert shop.aegis(flow) == ExitCode.REFUSED
            assert "cannot be decrypted with this passphrase" in shop.said
            assert "PULUMI_CONFIG_PASSPHRASE" in shop.said
        assert shop.state.read_bytes() == before
        monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", made_with(shop))
        shop.is_whole("web-v3")


def made_with(shop: Shop) -> str:
    """The passphrase the stack was made with."""
    return shop.stand.environment["PULUMI_CONFIG_PASSPHRASE"]


@pytest.fixture
def small_disk(shop: Shop) -> Iterator[Path]:
    """The backend on a disk of its own that can be filled; gives the file that fills it."""
    backend = shop.stand.root / "backend"
    kept = backend.with_name("kept")
    backend.rename(kept)
    backend.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(backend)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        backend.rmdir()
        kept.rename(backend)
        pytest.skip("mounting a small disk needs root")
    try:
        shutil.copytree(kept, backend, dirs_exist_ok=True)
        yield backend / "filler"
    finally:
        subprocess.run(["umount", str(backend)], check=True)
        backend.rmdir()
        kept.rename(backend)


def fill(filler: Path, *, left: int = 0) -> None:
    """Fill the disk up, but for some blocks."""
    disk = os.statvfs(filler.parent)
    size = (disk.f_bavail - left) * disk.f_frsize
    with filler.open("ab") as file:
        file.write(b"x" * max(size, 0))


class TestFullDisk:
    """A disk without room for the state."""

    def test_refuses_to_begin(self, shop: Shop, small_disk: Path) -> None:
        fill(small_disk)
        for flow in ("rollback --yes", "deploy --yes"):
            assert shop.aegis(flow) == ExitCode.REFUSED
            assert "the disk that holds the state is full" in shop.said
        assert shop.aegis("history") == ExitCode.OK
        small_disk.unlink()
        shop.is_whole("web-v3")

    @pytest.mark.parametrize("left", [0, pytest.param(2, marks=every)])
    def test_in_the_middle_of_an_update_loses_nothing(
        self, shop: Shop, small_disk: Path, left: int
    ) -> None:
        shop.stand.tell("hang", "create ConfigMap")

        def happen() -> None:
            shop.stand.wait_for("create ConfigMap web-v4")
            wait_until(lambda: "web-v4" in shop.state.read_text(), "the state has no web-v4")
            fill(small_disk, left=left)
            (shop.stand.root / "hang").unlink()

        meanwhile = threading.Thread(target=happen)
        meanwhile.start()
        code = shop.deploys("v4")
        meanwhile.join()
        assert code == ExitCode.NOT_ROLLED_BACK, shop.said
        assert "no space left on device" in shop.said
        assert "the disk that holds the state is full" in shop.said
        assert "aegis recover" in shop.said
        small_disk.unlink()
        if shop.aegis("recover") != ExitCode.OK:
            # The CLI itself cuts the state short on a full disk; it has a copy of the one before.
            assert "cannot be read" in shop.said
            shop.type_what_it_says()
            assert shop.aegis("recover") == ExitCode.OK, shop.said
        session = shop.stand.open()
        current = next(it for it in stack_history.releases(session) if it.current)
        # Where all of it but the CLI's own backup could be written, the update is complete.
        shop.is_whole(f"web-{stack_history.deployed(session, current).version}")
        shop.goes_on()

    def test_at_the_verified_mark_says_that_the_release_is_good(
        self, shop: Shop, small_disk: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mark = verification_store.mark_verified

        def full(*given: object) -> None:
            fill(small_disk)
            mark(*given)  # type: ignore[arg-type]

        monkeypatch.setattr("aegis_deploy.history.verification_store.mark_verified", full)
        assert shop.deploys("v4") == ExitCode.NOT_ROLLED_BACK
        assert "release 4 is good, but could not be marked as verified" in shop.said
        monkeypatch.undo()
        shop.stand.enter(monkeypatch)
        small_disk.unlink()
        tags = json.loads(shop.state.with_suffix(".pulumi-tags").read_text())["tags"]
        assert len(tags["aegis:verified.0"].split(",")) == 3
        assert shop.aegis("deploy --yes") == ExitCode.OK
        assert stack_history.releases(shop.stand.open())[0].verified
        shop.is_whole("web-v4")
