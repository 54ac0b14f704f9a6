"""What is installed: one package, whose name is no other distribution's, and a command."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from tests.rendering import ROOT

OTHER = "ops-3.9.0"
"""The Python index has a distribution of that name, which brings a package `ops`."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    into = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=300)
    return next(into.glob("*.whl"))


def other(into: Path) -> Path:
    """A distribution that is called as that one is, and has its package."""
    path = into / f"{OTHER}-py3-none-any.whl"
    info = f"{OTHER}.dist-info"
    name, _, version = OTHER.partition("-")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("ops/__init__.py", "whose = 'theirs'\n")
        file.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        file.writestr(f"{info}/RECORD", "")
    return path


def test_it_has_one_package_with_its_pages_and_a_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        entries = ConfigParser()
        entries.read_string(
            file.read(next(it for it in names if it.endswith("entry_points.txt"))).decode()
        )
    assert {it.partition("/")[0] for it in names if ".dist-info/" not in it} == {"aegis_deploy"}
    assert {"base.html", "style.css"} <= {Path(it).name for it in names if "/templates/" in it}
    assert dict(entries["console_scripts"]) == {"aegis": "aegis_deploy.cli.main:main"}


def test_it_is_installed_beside_the_distribution_that_is_called_ops(
    wheel: Path, tmp_path: Path
) -> None:
    place = tmp_path / "site"
    for each in (other(tmp_path), wheel):
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run(
            [*command, "--target", str(place), str(each)], check=True, timeout=300, cwd=tmp_path
        )
    script = "import aegis_deploy.cli.main as ours, ops; print(ops.whose, ours.__file__)"
    shown = subprocess.run(
        [sys.executable, "-P", "-c", script],
        env={**os.environ, "PYTHONPATH": str(place)},
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    ).stdout.split()
    assert shown == ["theirs", str(place / "aegis_deploy" / "cli" / "main.py")]
