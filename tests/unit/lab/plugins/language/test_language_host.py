"""Runs of a program by a host with no engine: a fake executor stands in for the SDK's."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from lab.plugins.language.host import LanguageHost
from lab.plugins.properties import encode
from lab.plugins.protocol import Engine, light_pulumi
from tests.unit.lab.plugins.rpc_context import AbortedError, RecordingContext, context

with light_pulumi():
    from pulumi.runtime.proto import language_pb2


@pytest.fixture
def host() -> LanguageHost:
    """A host that knows an engine's address and logs to nobody."""
    return LanguageHost(Engine(""), "127.0.0.1:1")


@pytest.fixture(autouse=True)
def executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is run in place of the SDK's executor."""
    path = tmp_path / "executor.py"
    monkeypatch.setenv("AEGIS_LANGUAGE_EXEC", str(path))
    monkeypatch.setenv("PULUMI_PYTHON_CMD", sys.executable)
    return path


def request(directory: Path, **options: Any) -> language_pb2.RunRequest:
    return language_pb2.RunRequest(
        monitor_address="127.0.0.1:2",
        project="aegis",
        stack="development",
        organization="organization",
        pwd=str(directory),
        dryRun=True,
        parallel=8,
        config={"aegis:a": "1"},
        configSecretKeys=["aegis:a"],
        args=["extra"],
        info=language_pb2.ProgramInfo(
            root_directory=str(directory),
            program_directory=str(directory),
            entry_point=".",
            options=encode(options),
        ),
    )


def test_the_program_gets_what_the_engine_said(
    host: LanguageHost, executor: Path, tmp_path: Path
) -> None:
    executor.write_text(
        "import json, os, sys\n"
        "names = ('PULUMI_CONFIG', 'PULUMI_CONFIG_SECRET_KEYS')\n"
        "json.dump([sys.argv[1:], [json.loads(os.environ[n]) for n in names], os.getcwd()],"
        " open('seen', 'w'))\n"
    )
    answer = host.Run(request(tmp_path), context())
    assert answer == language_pb2.RunResponse()
    arguments, config, directory = json.loads((tmp_path / "seen").read_text())
    assert arguments == [
        *("--monitor", "127.0.0.1:2", "--engine", "127.0.0.1:1", "--project", "aegis"),
        *("--root_directory", str(tmp_path), "--stack", "development", "--pwd", str(tmp_path)),
        *("--dry_run", "true", "--parallel", "8", "--organization", "organization"),
        *(".", "extra"),
    ]
    assert config == [{"aegis:a": "1"}, ["aegis:a"]]
    assert directory == str(tmp_path)


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("", language_pb2.RunResponse()),
        ("raise SystemExit(32)", language_pb2.RunResponse(bail=True)),
        (
            "raise SystemExit(3)",
            language_pb2.RunResponse(error="Program exited with non-zero exit code: 3"),
        ),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            language_pb2.RunResponse(error="the program was ended by signal SIGKILL"),
        ),
    ],
)
def test_the_end_of_a_program_in_the_engine_s_terms(
    host: LanguageHost,
    executor: Path,
    tmp_path: Path,
    program: str,
    answer: language_pb2.RunResponse,
) -> None:
    executor.write_text(program)
    assert host.Run(request(tmp_path), context()) == answer


def _cancel(host: LanguageHost, _: RecordingContext) -> None:
    host.stop()


def _hang_up(_: LanguageHost, call: RecordingContext) -> None:
    call.callbacks[0]()


@pytest.mark.parametrize("stop", [_cancel, _hang_up])
def test_a_stopped_program_ends_at_once(
    host: LanguageHost,
    executor: Path,
    tmp_path: Path,
    stop: Callable[[LanguageHost, RecordingContext], None],
) -> None:
    executor.write_text("import time\nopen('ready', 'w').close()\ntime.sleep(600)\n")
    call = context()
    answers: list[language_pb2.RunResponse] = []
    run = threading.Thread(target=lambda: answers.append(host.Run(request(tmp_path), call)))
    run.start()
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    stop(host, call)
    run.join(timeout=60)
    assert answers == [language_pb2.RunResponse(error="the program was stopped before its end")]


def test_a_missing_virtual_environment_is_one_error_and_a_bail(
    host: LanguageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(host._engine, "error", said.append)
    answer = host.Run(request(tmp_path, virtualenv=".venv"), context())
    assert (answer.error, answer.bail) == ("", True)
    assert len(said) == 1
    assert "`pulumi install`" in said[0]


def test_plugins_of_a_project_without_packages(host: LanguageHost, tmp_path: Path) -> None:
    info = request(tmp_path, virtualenv=".venv").info
    packages = host.GetRequiredPackages(
        language_pb2.GetRequiredPackagesRequest(info=info), context()
    )
    plugins = host.GetRequiredPlugins(language_pb2.GetRequiredPluginsRequest(info=info), context())
    assert list(packages.packages) == []
    assert list(plugins.plugins) == []


def test_about_names_the_program_s_python(host: LanguageHost, tmp_path: Path) -> None:
    about = host.About(language_pb2.AboutRequest(info=request(tmp_path).info), context())
    assert about.executable == sys.executable
    assert about.version == sys.version.split()[0]


def test_code_generation_is_left_to_the_official_host(host: LanguageHost) -> None:
    call = context()
    with pytest.raises(AbortedError, match="has no GeneratePackage"):
        host.GeneratePackage(language_pb2.GeneratePackageRequest(), call)
    assert call.code is grpc.StatusCode.UNIMPLEMENTED


class TestInstall:
    """``pulumi install``."""

    def install(self, host: LanguageHost, directory: Path, **options: Any) -> str:
        info = request(directory, **options).info
        stream = host.InstallDependencies(
            language_pb2.InstallDependenciesRequest(info=info), context()
        )
        return b"".join(part.stdout for part in stream).decode()

    def test_nothing_to_install_is_said(self, host: LanguageHost, tmp_path: Path) -> None:
        assert "No requirements.txt" in self.install(host, tmp_path)

    def test_steps_run_in_order_and_stream(
        self, host: LanguageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        python = tmp_path / "fake-python"
        python.write_text(
            '#!/bin/sh\necho "$@"\n'
            'if [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
        )
        python.chmod(0o755)
        monkeypatch.setenv("PULUMI_PYTHON_CMD", str(python))
        (tmp_path / "requirements.txt").write_text("a==1 --hash=sha256:0\n")
        said = self.install(host, tmp_path, virtualenv="v").splitlines()
        assert said == [
            f"Creating the virtual environment {tmp_path}/v",
            f"-m venv {tmp_path}/v",
            f"Installing {tmp_path}/requirements.txt",
            f"-m pip install --disable-pip-version-check -r {tmp_path}/requirements.txt",
            "Finished installing dependencies",
        ]

    def test_a_failing_step_is_an_error(
        self, host: LanguageHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PULUMI_PYTHON_CMD", "false")
        with pytest.raises(AbortedError, match=r"-m venv .*failed with exit code 1"):
            self.install(host, tmp_path, virtualenv="v")
