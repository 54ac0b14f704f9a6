"""The lab's salt in the working tree, seen with real git: nothing of it shows or is committed."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from lab import salt
from lab.settings import LabSettings

SALT = "v1:AAAAAAAAAAA=:v1:BBBBBBBBBBBBBBBB:CCC+CCC/CCCCCCCC=="
LINE = f"encryptionsalt: {SALT}\n"
DEVELOPMENT = "config:\n  # small\n  aegis:scale: minimal\n"
STAGING = "config:\n  aegis:scale: 0.5\n"


@pytest.fixture(autouse=True)
def _plain_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git without the settings of whoever runs the tests, or of a hook that does."""
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Ada")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "ada@example.org")


def git(directory: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout


def stack(lab: LabSettings, name: str) -> Path:
    return lab.checkout / f"Pulumi.{name}.yaml"


def fill(lab: LabSettings) -> None:
    (lab.checkout / "Pulumi.yaml").write_text("name: aegis\n")
    stack(lab, "development").write_text(DEVELOPMENT)
    stack(lab, "staging").write_text(STAGING)


@pytest.fixture
def checkout(lab: LabSettings) -> LabSettings:
    """A committed, clean checkout with two stacks; its lab has a salt."""
    fill(lab)
    git(lab.checkout, "init", "--quiet", "--initial-branch=main")
    git(lab.checkout, "add", ".")
    git(lab.checkout, "commit", "--quiet", "--message=start")
    (lab.state / "salt").write_text(f"{SALT}\n")
    return lab


def changes(lab: LabSettings) -> str:
    return git(lab.checkout, "status", "--porcelain") + git(lab.checkout, "diff")


class TestAttached:
    """Pulumi finds the salt, git does not."""

    def test_every_stack_file_has_it_and_git_sees_nothing(self, checkout: LabSettings) -> None:
        salt.attach(checkout, SALT)
        assert stack(checkout, "development").read_text() == DEVELOPMENT + LINE
        assert stack(checkout, "staging").read_text() == STAGING + LINE
        assert (checkout.checkout / "Pulumi.yaml").read_text() == "name: aegis\n"
        assert changes(checkout) == ""

    def test_twice_is_once(self, checkout: LabSettings) -> None:
        salt.attach(checkout, SALT)
        config = (checkout.checkout / ".git" / "config").read_text()
        attributes = (checkout.checkout / ".git" / "info" / "attributes").read_text()
        salt.attach(checkout, SALT)
        assert stack(checkout, "development").read_text() == DEVELOPMENT + LINE
        assert (checkout.checkout / ".git" / "config").read_text() == config
        assert (checkout.checkout / ".git" / "info" / "attributes").read_text() == attributes
        assert changes(checkout) == ""

    def test_a_persons_edit_shows_and_nothing_else(self, checkout: LabSettings) -> None:
        salt.attach(checkout, SALT)
        file = stack(checkout, "development")
        file.write_text(file.read_text().replace("minimal", "0.25"))
        assert git(checkout.checkout, "status", "--porcelain") == f" M {file.name}\n"
        shown = git(checkout.checkout, "diff", "--unified=0")
        changed = [
            row for row in shown.splitlines() if row[0] in "+-" and row[:3] not in ("+++", "---")
        ]
        assert changed == ["-  aegis:scale: minimal", "+  aegis:scale: 0.25"]

    def test_an_edit_made_before_shows_after_it_too(self, checkout: LabSettings) -> None:
        file = stack(checkout, "staging")
        file.write_text(STAGING + "  aegis:host: x\n")
        salt.attach(checkout, SALT)
        assert git(checkout.checkout, "status", "--porcelain") == f" M {file.name}\n"
        assert "encryptionsalt" not in git(checkout.checkout, "diff")

    def test_a_commit_does_not_hold_it(self, checkout: LabSettings) -> None:
        salt.attach(checkout, SALT)
        file = stack(checkout, "development")
        file.write_text(file.read_text().replace("minimal", "0.25"))
        git(checkout.checkout, "commit", "--quiet", "--all", "--message=size")
        committed = git(checkout.checkout, "show", f"HEAD:{file.name}")
        assert committed == DEVELOPMENT.replace("minimal", "0.25")
        assert changes(checkout) == ""

    def test_checkout_of_another_commit_works(self, checkout: LabSettings) -> None:
        top = checkout.checkout
        git(top, "switch", "--quiet", "--create", "other")
        stack(checkout, "development").write_text(DEVELOPMENT + "  aegis:host: y\n")
        git(top, "commit", "--quiet", "--all", "--message=other")
        salt.attach(checkout, SALT)
        git(top, "checkout", "--quiet", "main")
        assert changes(checkout) == ""
        salt.attach(checkout, SALT)
        assert stack(checkout, "development").read_text() == DEVELOPMENT + LINE
        assert changes(checkout) == ""

    def test_a_file_that_holds_nothing_else_counts_as_empty(self, checkout: LabSettings) -> None:
        empty = stack(checkout, "production")
        empty.write_text("")
        git(checkout.checkout, "add", ".")
        git(checkout.checkout, "commit", "--quiet", "--message=empty")
        salt.attach(checkout, SALT)
        assert LINE in empty.read_text()
        assert "encryptionsalt" not in git(checkout.checkout, "diff")

    @pytest.mark.parametrize(
        "own",
        [
            "encryptionsalt: v1:somebody:elses\n",
            "secretsprovider: awskms://alias/aegis\nencryptedkey: abc\n",
        ],
    )
    def test_somebodys_own_stack_is_left_alone(self, checkout: LabSettings, own: str) -> None:
        theirs = stack(checkout, "theirs")
        theirs.write_text(own + STAGING)
        git(checkout.checkout, "add", ".")
        git(checkout.checkout, "commit", "--quiet", "--message=theirs")
        salt.attach(checkout, SALT)
        assert theirs.read_text() == own + STAGING
        salt.detach(checkout)
        assert theirs.read_text() == own + STAGING
        assert changes(checkout) == ""

    def test_the_salt_of_a_lab_that_is_gone_is_replaced(self, checkout: LabSettings) -> None:
        salt.attach(checkout, SALT)
        new = SALT.replace("A", "D")
        salt.attach(checkout, new)
        assert stack(checkout, "staging").read_text() == f"{STAGING}encryptionsalt: {new}\n"
        assert changes(checkout) == ""

    def test_line_ends_of_another_system_stay(self, checkout: LabSettings) -> None:
        file = stack(checkout, "staging")
        file.write_bytes(b"config:\r\n  aegis:scale: 0.5\r\n")
        git(checkout.checkout, "commit", "--quiet", "--all", "--message=crlf")
        before = file.read_bytes()
        salt.attach(checkout, SALT)
        assert file.read_bytes() == before + LINE.encode()
        assert changes(checkout) == ""
        salt.detach(checkout)
        assert file.read_bytes() == before


class TestDetached:
    """Nothing of the lab is left in the checkout or in its git directory."""

    def test_everything_is_as_before_byte_for_byte(self, checkout: LabSettings) -> None:
        def state() -> dict[str, bytes]:
            top = checkout.checkout
            names = [".git/config", ".git/info/attributes", *(p.name for p in top.glob("*.yaml"))]
            return {n: (top / n).read_bytes() for n in names if (top / n).exists()}

        before = state()
        salt.attach(checkout, SALT)
        assert state() != before
        salt.detach(checkout)
        assert state() == before
        assert changes(checkout) == ""

    def test_a_persons_attributes_and_edits_stay(self, checkout: LabSettings) -> None:
        attributes = checkout.checkout / ".git" / "info" / "attributes"
        attributes.parent.mkdir(exist_ok=True)
        attributes.write_text("*.png binary\n")
        salt.attach(checkout, SALT)
        file = stack(checkout, "development")
        file.write_text(file.read_text().replace("minimal", "0.25"))
        salt.detach(checkout)
        assert attributes.read_text() == "*.png binary\n"
        assert file.read_text() == DEVELOPMENT.replace("minimal", "0.25")

    def test_what_was_never_attached_is_untouched(self, checkout: LabSettings) -> None:
        config = (checkout.checkout / ".git" / "config").read_bytes()
        salt.detach(checkout)
        assert (checkout.checkout / ".git" / "config").read_bytes() == config
        assert changes(checkout) == ""

    def test_every_checkout_that_used_the_lab_is_cleared(
        self, checkout: LabSettings, tmp_path: Path
    ) -> None:
        git(tmp_path, "clone", "--quiet", str(checkout.checkout), "second")
        second = replace(checkout, checkout=tmp_path / "second")
        salt.attach(checkout, SALT)
        salt.attach(second, SALT)
        salt.detach(second)
        assert stack(checkout, "development").read_text() == DEVELOPMENT
        assert stack(second, "development").read_text() == DEVELOPMENT
        assert not salt.attached_file(checkout).exists()

    def test_a_checkout_that_was_deleted_is_no_hindrance(
        self, checkout: LabSettings, tmp_path: Path
    ) -> None:
        salt.attached_file(checkout).write_text(f"{tmp_path}/gone\n")
        salt.attach(checkout, SALT)
        salt.detach(checkout)
        assert changes(checkout) == ""


class TestWhereverTheCheckoutIs:
    """Other layouts than a clone of one's own."""

    def test_without_git_the_salt_comes_and_goes_all_the_same(self, lab: LabSettings) -> None:
        fill(lab)
        (lab.state / "salt").write_text(f"{SALT}\n")
        salt.attach(lab, SALT)
        assert stack(lab, "staging").read_text() == STAGING + LINE
        salt.detach(lab)
        assert stack(lab, "staging").read_text() == STAGING

    def test_without_the_git_program_too(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(lab)
        (lab.state / "salt").write_text(f"{SALT}\n")
        monkeypatch.setenv("PATH", "")
        salt.attach(lab, SALT)
        salt.detach(lab)
        assert stack(lab, "staging").read_text() == STAGING

    @pytest.mark.parametrize("below", ["deploy/aegis", "my deploy"])
    def test_below_the_top_of_a_larger_repository(self, lab: LabSettings, below: str) -> None:
        inner = replace(lab, checkout=lab.checkout / below)
        inner.checkout.mkdir(parents=True)
        fill(inner)
        (lab.state / "salt").write_text(f"{SALT}\n")
        git(lab.checkout, "init", "--quiet")
        git(lab.checkout, "add", ".")
        git(lab.checkout, "commit", "--quiet", "--message=start")
        salt.attach(inner, SALT)
        assert stack(inner, "staging").read_text() == STAGING + LINE
        assert changes(lab) == ""
        salt.detach(inner)
        assert changes(lab) == ""

    def test_in_a_further_work_tree(self, checkout: LabSettings, tmp_path: Path) -> None:
        git(checkout.checkout, "worktree", "add", "--quiet", str(tmp_path / "tree"))
        tree = replace(checkout, checkout=tmp_path / "tree")
        salt.attach(tree, SALT)
        assert changes(tree) == ""
        salt.detach(tree)
        assert changes(tree) == ""
        assert stack(tree, "staging").read_text() == STAGING

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_of_another_user(self, checkout: LabSettings) -> None:
        for path in [checkout.checkout, *checkout.checkout.rglob("*")]:
            os.chown(path, 65532, 65532)
        salt.attach(checkout, SALT)
        shown = git(checkout.checkout, "-c", "safe.directory=*", "status", "--porcelain")
        assert stack(checkout, "staging").read_text() == STAGING + LINE
        assert shown == ""


class TestMaking:
    """Pulumi makes the salt, once."""

    def fake(self, directory: Path, body: str) -> Path:
        program = directory / "pulumi"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return program

    def test_asks_pulumi_once_and_keeps_the_answer(self, lab: LabSettings, tmp_path: Path) -> None:
        program = self.fake(
            tmp_path,
            f'echo "$@ $PULUMI_BACKEND_URL" >> {tmp_path}/calls\n'
            f"echo 'encryptionsalt: {SALT}' > Pulumi.salt.yaml",
        )
        environment = {"PATH": os.environ["PATH"], "PULUMI_BACKEND_URL": "file:///elsewhere"}
        assert salt.create(lab, program, environment) == SALT
        assert salt.create(lab, program, environment) == SALT
        calls = (tmp_path / "calls").read_text().splitlines()
        assert len(calls) == 1
        assert calls[0].startswith(f"stack init salt --non-interactive file://{lab.state}")
        assert [path.name for path in lab.state.iterdir()] == ["salt"]

    def test_leaves_nothing_when_pulumi_fails(self, lab: LabSettings, tmp_path: Path) -> None:
        program = self.fake(tmp_path, "echo no passphrase >&2; exit 255")
        with pytest.raises(Exception, match="no passphrase"):
            salt.create(lab, program, dict(os.environ))
        assert list(lab.state.iterdir()) == []
