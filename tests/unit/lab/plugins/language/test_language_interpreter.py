"""Which Python runs a program, by the options of its Pulumi.yaml."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from aegis_deploy.pulumi_cli.sdk_packages import SdkPlugin
from lab.plugins.language import interpreter as subject
from lab.plugins.language.interpreter import Interpreter, LanguageError


@pytest.fixture
def virtualenv(tmp_path: Path) -> Path:
    """A directory that looks like a virtual environment."""
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    return tmp_path / ".venv"


def test_the_virtual_environment_is_relative_to_the_project(virtualenv: Path) -> None:
    found = subject.interpreter(str(virtualenv.parent), {"virtualenv": ".venv", "toolchain": "pip"})
    assert found == Interpreter(str(virtualenv / "bin" / "python"), virtualenv)


def test_without_the_option_path_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python3"
    python.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PULUMI_PYTHON_CMD", raising=False)
    assert subject.interpreter("/x", {}) == Interpreter(str(python))
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "python9")
    with pytest.raises(LanguageError, match="PULUMI_PYTHON_CMD names 'python9'"):
        subject.interpreter("/x", {})


def test_a_missing_virtual_environment_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(LanguageError, match=r"\.venv does not exist[\s\S]*`pulumi install`"):
        subject.interpreter(str(tmp_path), {"virtualenv": ".venv"})
    (tmp_path / ".venv").mkdir()
    with pytest.raises(LanguageError, match="has no bin/python"):
        subject.interpreter(str(tmp_path), {"virtualenv": ".venv"})


@pytest.mark.parametrize("toolchain", ["poetry", "uv"])
def test_other_toolchains_are_refused(toolchain: str) -> None:
    with pytest.raises(LanguageError, match=f"'{toolchain}'.*knows pip only"):
        subject.interpreter("/x", {"toolchain": toolchain})


def test_the_program_s_environment_is_the_virtual_environment_s(virtualenv: Path) -> None:
    checkout = Path(subject.__file__).parents[3]
    found = Interpreter("python", virtualenv).environment(
        {
            "PATH": "/bin",
            "PYTHONHOME": "/x",
            "PYTHONPATH": os.pathsep.join([str(checkout), "/mine"]),
            "OTHER": "kept",
        }
    )
    assert found == {
        "PATH": f"{virtualenv}/bin:/bin",
        "VIRTUAL_ENV": str(virtualenv),
        "PYTHONPATH": "/mine",
        "OTHER": "kept",
    }
    assert Interpreter("python").environment({"PYTHONPATH": str(checkout)}) == {}


def test_required_plugins_are_those_the_packages_name(virtualenv: Path) -> None:
    packages = virtualenv / "lib" / "python3.11" / "site-packages"
    manifests = {
        "pulumi_b": {"resource": True, "name": "b", "version": "v2.0.0", "server": "https://x"},
        "pulumi_a": {"resource": True, "name": "a", "version": "1.0.0"},
        "pulumi_no": {"resource": False, "name": "no"},
        "pulumi_p": {"resource": True, "name": "p", "parameterization": {"name": "q"}},
    }
    for name, manifest in manifests.items():
        (packages / name).mkdir(parents=True)
        (packages / name / "pulumi-plugin.json").write_text(json.dumps(manifest))
    (packages / "pulumi_no" / "pulumi-plugin.json").write_text("{")
    assert Interpreter("", virtualenv).required_plugins() == [
        SdkPlugin("a", "1.0.0"),
        SdkPlugin("b", "2.0.0", "https://x"),
    ]
    assert Interpreter("").required_plugins() == []


def test_the_executor_is_named_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AEGIS_LANGUAGE_EXEC", str(tmp_path / "none"))
    with pytest.raises(LanguageError, match=r"AEGIS_LANGUAGE_EXEC names .*\n.*make up"):
        subject.executor()
    on_path = tmp_path / subject.EXECUTOR
    on_path.touch(mode=0o755)
    assert subject.executor() == str(on_path)
    named = tmp_path / "named"
    named.touch()
    monkeypatch.setenv("AEGIS_LANGUAGE_EXEC", str(named))
    assert subject.executor() == str(named)
