"""Which Debian packages are missing, and where the unpacked ones lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from lab import packages
from lab.errors import EXIT_REFUSED, LabError
from lab.settings import LabSettings

KNOWN = "\n".join(f"\t{name} (libc6,x86-64) => /usr/lib/{name}" for name in packages.LIBRARIES)


class FakeApt:
    """Stands in for every program; downloads one empty package when asked to."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.libraries = KNOWN
        self.fails_at = ""

    def __call__(self, argv: Sequence[str | Path], **options: object) -> str:
        """Take the place of `lab.command.run`."""
        words = [str(word) for word in argv]
        self.calls.append(words)
        if self.fails_at and self.fails_at in words:
            raise LabError(what="could not", why="because")
        if words[0] == "ldconfig":
            return self.libraries
        if "download" in words:
            assert isinstance(options["cwd"], Path)
            (options["cwd"] / "runc_1.1.deb").write_text("")
        if words[0] == "dpkg-deb":
            program = Path(words[-1]) / "usr" / "sbin" / "runc"
            program.parent.mkdir(parents=True)
            program.write_text("")
        return ""


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    """The fake in the place of apt-get, dpkg-deb and ldconfig; every program is on PATH."""
    fake = FakeApt()
    monkeypatch.setattr(packages, "run", fake)
    monkeypatch.setattr("shutil.which", lambda name, **_: f"/usr/bin/{name}")
    return fake


class TestBrowser:
    """What the tests open reports with."""

    def test_that_is_there_is_left_alone(self, apt: FakeApt) -> None:
        packages.browser()
        assert apt.calls == []

    def test_that_is_missing_is_installed(
        self, apt: FakeApt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = {packages.BROWSER: None}
        monkeypatch.setattr("shutil.which", lambda name, **_: found.get(name, f"/usr/bin/{name}"))
        packages.browser()
        assert "install" in apt.calls[-1]
        assert apt.calls[-1][-1] == packages.BROWSER


class TestMissing:
    """Only what is not there is installed."""

    def test_is_nothing_when_all_is_there(self, apt: FakeApt) -> None:
        assert packages.missing() == []
        packages.install([])
        assert [call[0] for call in apt.calls] == ["ldconfig"]

    def test_names_packages_not_programs(
        self, apt: FakeApt, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        apt.libraries = "\tlibdevmapper.so.1.02.1 (libc6) => /lib/x\n"
        monkeypatch.setattr(
            "shutil.which", lambda name, **_: None if name in ("ip", "busybox") else name
        )
        assert packages.missing() == ["busybox-static", "iproute2", "libseccomp2"]

    def test_machine_without_apt_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.which", lambda *_, **__: None)
        with pytest.raises(LabError) as caught:
            packages.require_apt()
        assert caught.value.code == EXIT_REFUSED
        assert "apt-get is not installed" in caught.value.why


class TestUnpacking:
    """The daemons' packages are in the cache whole or not at all."""

    def test_is_done_once(self, apt: FakeApt, lab: LabSettings) -> None:
        packages.unpack(lab)
        assert packages.is_unpacked(lab)
        assert packages.program(lab, "runc").endswith("/usr/sbin/runc")
        count = len(apt.calls)
        packages.unpack(lab)
        assert len(apt.calls) == count

    @pytest.mark.parametrize("step", ["download", "dpkg-deb"])
    def test_that_fails_is_begun_anew(self, apt: FakeApt, lab: LabSettings, step: str) -> None:
        apt.fails_at = step
        with pytest.raises(LabError):
            packages.unpack(lab)
        assert not packages.is_unpacked(lab)
        apt.fails_at = ""
        packages.unpack(lab)
        assert packages.is_unpacked(lab)

    def test_of_other_packages_has_another_place(
        self, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = packages.unpacked_root(lab)
        monkeypatch.setattr(packages, "UNPACKED", (*packages.UNPACKED, "one-more"))
        assert packages.unpacked_root(lab) != before

    def test_without_a_program_says_where_it_was_looked_for(self, lab: LabSettings) -> None:
        with pytest.raises(LabError, match="etcd is not in the cache"):
            packages.program(lab, "etcd")

    def test_puts_the_unpacked_programs_first_on_the_path(self, lab: LabSettings) -> None:
        root = packages.unpacked_root(lab)
        assert packages.search_path(lab).startswith(f"{root}/usr/bin:{root}/usr/sbin:")
        assert packages.cni_plugins(lab) == root / "usr" / "lib" / "cni"
