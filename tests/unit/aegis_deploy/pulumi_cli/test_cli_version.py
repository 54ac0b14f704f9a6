"""The CLI's version is asked of each executable once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis_deploy.pulumi_cli.cli_version import remembered


class Cli:
    """An executable whose version is asked for."""

    def __init__(self, directory: Path, name: str = "pulumi", content: bytes = b"\x7fELF") -> None:
        self.environment = {"XDG_CACHE_HOME": str(directory / "cache")}
        self.path = directory / name
        self.path.write_bytes(content)
        self.asked = 0

    def version(self) -> str:
        """Ask as the engine does."""

        def ask() -> str:
            self.asked += 1
            return f"3.{self.asked}.0"

        return remembered(self.path, self.environment, ask)


def test_it_is_asked_once(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    assert [cli.version(), cli.version()] == ["3.1.0", "3.1.0"]
    link = tmp_path / "bin"
    link.symlink_to(cli.path)
    assert remembered(link, cli.environment, lambda: "9.9.9") == "3.1.0"


def test_another_executable_in_its_place_is_asked_anew(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    cli.version()
    os.utime(cli.path, ns=(1, 1))
    assert cli.version() == "3.2.0"
    cli.path.write_bytes(b"\x7fELF, longer")
    os.utime(cli.path, ns=(1, 1))
    assert cli.version() == "3.3.0"


@pytest.mark.parametrize(
    ("name", "content"), [("pulumi", b"#!/bin/sh\n"), ("version-manager", b"\x7fELF")]
)
def test_what_may_start_any_version_is_asked_each_time(
    tmp_path: Path, name: str, content: bytes
) -> None:
    cli = Cli(tmp_path, name, content)
    assert [cli.version(), cli.version()] == ["3.1.0", "3.2.0"]


@pytest.mark.parametrize("kept", ["", "{", "[]", '{"executable": 1}'])
def test_what_was_kept_and_is_damaged_is_asked_for_again(tmp_path: Path, kept: str) -> None:
    cli = Cli(tmp_path)
    place = tmp_path / "cache" / "aegis" / "pulumi.json"
    place.parent.mkdir(parents=True)
    place.write_text(kept)
    assert [cli.version(), cli.version()] == ["3.1.0", "3.1.0"]


def test_without_a_place_to_keep_it_it_is_asked_each_time(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    (tmp_path / "cache").write_text("no directory")
    assert [cli.version(), cli.version()] == ["3.1.0", "3.2.0"]
