"""Which programs a language host of ours runs, and what it loads before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.pulumi_cli.project import Project
from aegis_deploy.stack import program_host
from aegis_deploy.stack.language_host import imported
from aegis_deploy.stack.program_host import (
    EXECUTOR,
    executor_of,
    host_of,
    in_virtualenv,
    virtualenv_of,
)

PIP = {"toolchain": "pip", "virtualenv": ".venv"}


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """The packages of a virtual environment that has Pulumi's SDK."""
    found = tmp_path / ".venv" / "lib" / "python3.11" / "site-packages"
    (found / "pulumi" / "runtime").mkdir(parents=True)
    (found / "pulumi" / "runtime" / "__init__.py").touch()
    (tmp_path / ".venv" / "bin").mkdir()
    (tmp_path / ".venv" / "bin" / "python").touch()
    return found


def shop(directory: Path, runtime: str | Mapping[str, Any]) -> Project:
    return Project("shop", directory, directory, runtime=runtime)


def python(options: object) -> Mapping[str, Any]:
    return {"name": "python", "options": options}


@pytest.mark.usefixtures("packages")
class TestWhichPrograms:
    """Those that are run as the official host runs them; all others are the CLI's to run."""

    @pytest.mark.parametrize("options", [PIP, {"virtualenv": ".venv"}])
    def test_python_in_a_virtual_environment(
        self, tmp_path: Path, options: Mapping[str, str]
    ) -> None:
        assert virtualenv_of(shop(tmp_path, python(options))) == tmp_path / ".venv"

    @pytest.mark.parametrize(
        "runtime",
        [
            "",
            "python",
            "nodejs",
            {"name": "go", "options": PIP},
            {"name": "python"},
            python(None),
            python("pip"),
            python({}),
            python({"toolchain": "pip"}),
            python({**PIP, "toolchain": "uv"}),
            python({**PIP, "typechecker": "mypy"}),
            python({**PIP, "virtualenv": "other"}),
        ],
    )
    def test_nothing_else(self, tmp_path: Path, runtime: str | Mapping[str, Any]) -> None:
        assert virtualenv_of(shop(tmp_path, runtime)) is None
        assert host_of(shop(tmp_path, runtime), "pulumi", {}) is None

    def test_not_without_the_sdk(self, tmp_path: Path, packages: Path) -> None:
        (packages / "pulumi" / "runtime" / "__init__.py").unlink()
        assert virtualenv_of(shop(tmp_path, python(PIP))) is None

    def test_not_with_a_package_made_with_a_parameter(self, tmp_path: Path, packages: Path) -> None:
        plugin = {"resource": True, "name": "terraform-provider", "version": "1.0.0"}
        (packages / "pulumi_random").mkdir()
        place = packages / "pulumi_random" / "pulumi-plugin.json"
        place.write_text(json.dumps(plugin))
        assert virtualenv_of(shop(tmp_path, python(PIP))) is not None
        place.write_text(json.dumps({**plugin, "parameterization": {"name": "random"}}))
        assert virtualenv_of(shop(tmp_path, python(PIP))) is None

    def test_not_where_nothing_runs_them(self, tmp_path: Path) -> None:
        cli = str(tmp_path / "pulumi")
        assert host_of(shop(tmp_path, python(PIP)), cli, {"PATH": str(tmp_path)}) is None

    def test_not_with_a_python_that_cannot_be_started(self, tmp_path: Path) -> None:
        (tmp_path / EXECUTOR).touch(mode=0o755)
        assert host_of(shop(tmp_path, python(PIP)), "pulumi", {"PATH": str(tmp_path)}) is None


class TestWhatRunsThem:
    """The SDK's own program, where the official host has it."""

    @pytest.fixture
    def archive(self, tmp_path: Path) -> Path:
        place = tmp_path / "archive"
        place.mkdir()
        for name in ("pulumi", "pulumi-language-python", EXECUTOR):
            (place / name).touch(mode=0o755)
        return place

    def test_on_path(self, archive: Path) -> None:
        assert executor_of("/bin/pulumi", {"PATH": str(archive)}) == str(archive / EXECUTOR)

    def test_beside_the_host_that_path_names(self, tmp_path: Path, archive: Path) -> None:
        (tmp_path / "bin").mkdir()
        host = tmp_path / "bin" / "pulumi-language-python"
        host.symlink_to(archive / host.name)
        found = executor_of("/bin/pulumi", {"PATH": str(tmp_path / "bin")})
        assert found == str(archive / EXECUTOR)

    def test_beside_the_cli(self, tmp_path: Path, archive: Path) -> None:
        (tmp_path / "pulumi").symlink_to(archive / "pulumi")
        assert executor_of(str(tmp_path / "pulumi"), {"PATH": ""}) == str(archive / EXECUTOR)

    def test_or_nothing(self, tmp_path: Path) -> None:
        assert executor_of(str(tmp_path / "pulumi"), {"PATH": str(tmp_path)}) is None


def test_the_environment_is_the_virtual_environment_s(tmp_path: Path) -> None:
    given = {"PATH": "/bin", "PYTHONHOME": "/x", "PYTHONPATH": "/mine", "OTHER": "kept"}
    assert in_virtualenv(tmp_path, given) == {
        "PATH": f"{tmp_path}/bin:/bin",
        "PYTHONPATH": "/mine",
        "OTHER": "kept",
        "VIRTUAL_ENV": str(tmp_path),
    }
    assert in_virtualenv(tmp_path, {})["PATH"] == f"{tmp_path}/bin"


class TestWhatItLoads:
    """Pulumi's packages that the program's modules import, wherever in the project they are."""

    def test_those_of_the_program_and_of_the_packages_that_it_imports(self, tmp_path: Path) -> None:
        (tmp_path / "__main__.py").write_text(
            '"""Imports pulumi_nothing."""\nimport pulumi\nfrom parts.one import Two\nimport yaml\n'
        )
        (tmp_path / "parts").mkdir()
        (tmp_path / "parts" / "one.py").write_text(
            "import pulumi_kubernetes.core.v1 as core\nfrom pulumi_kubernetes import apps\n"
            "def later():\n    import pulumi_docker\n"
        )
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "test_it.py").write_text("import pulumi_random\n")
        assert imported(tmp_path) == ["pulumi", "pulumi_kubernetes.core.v1", "pulumi_kubernetes"]

    def test_none_where_they_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "__main__.py").write_bytes(b"\xff\xfe")
        assert imported(tmp_path) == []

    def test_those_of_this_program(self) -> None:
        root = Path(program_host.__file__).parents[2]
        assert {"pulumi", "pulumi_kubernetes.core.v1"} <= {*imported(root)}
