"""Plugins written in Python, run by a host with no engine."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

import pytest

from lab.plugins.language.host import LanguageHost
from lab.plugins.properties import encode
from lab.plugins.protocol import Engine, light_pulumi
from tests.unit.lab.plugins.rpc_context import AbortedError, RecordingContext, context

with light_pulumi():
    from pulumi.runtime.proto import language_pb2


@pytest.fixture
def host() -> LanguageHost:
    """A host that logs to nobody."""
    return LanguageHost(Engine(""), "127.0.0.1:1")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin's directory, with a virtual environment and nothing to run yet."""
    directory = tmp_path / "plugin"
    (directory / ".venv" / "bin").mkdir(parents=True)
    (directory / ".venv" / "bin" / "python").symlink_to(sys.executable)
    return directory


def request(
    plugin: Path, virtualenv: str = ".venv", kind: str = "analyzer"
) -> language_pb2.RunPluginRequest:
    return language_pb2.RunPluginRequest(
        pwd=str(plugin.parent),
        args=["127.0.0.1:1"],
        env=["SAID=by=the engine"],
        kind=kind,
        info=language_pb2.ProgramInfo(
            root_directory=str(plugin),
            program_directory=str(plugin),
            entry_point=".",
            options=encode({"virtualenv": virtualenv} if virtualenv else {}),
        ),
    )


def collected(answers: list[language_pb2.RunPluginResponse]) -> tuple[bytes, bytes, int]:
    out = b"".join(answer.stdout for answer in answers)
    errors = b"".join(answer.stderr for answer in answers)
    return out, errors, answers[-1].exitcode


def test_what_it_prints_comes_in_two_streams_with_its_exit_code(
    host: LanguageHost, plugin: Path
) -> None:
    (plugin / "__main__.py").write_text(
        "import sys\nprint(1234)\nprint('warned', file=sys.stderr)\nsys.exit(7)\n"
    )
    answers = list(host.RunPlugin(request(plugin), context()))
    assert collected(answers) == (b"1234\n", b"warned\n", 7)


@pytest.mark.parametrize(
    ("kind", "where"), [("analyzer", "its own directory"), ("resource", "the project")]
)
def test_it_runs_where_its_kind_does_with_what_the_engine_said(
    host: LanguageHost, plugin: Path, kind: str, where: str
) -> None:
    (plugin / "__main__.py").write_text(
        "import json, os, sys\n"
        "names = ('SAID', 'VIRTUAL_ENV')\n"
        "print(json.dumps([sys.argv, os.getcwd(), [os.environ[name] for name in names]]))\n"
    )
    out, errors, code = collected(list(host.RunPlugin(request(plugin, kind=kind), context())))
    assert (errors, code) == (b"", 0)
    assert json.loads(out) == [
        [str(plugin), "127.0.0.1:1"],
        str(plugin if where == "its own directory" else plugin.parent),
        ["by=the engine", str(plugin / ".venv")],
    ]


def test_a_port_that_is_not_flushed_arrives_all_the_same(host: LanguageHost, plugin: Path) -> None:
    (plugin / "__main__.py").write_text(
        "import sys, time\nsys.stdout.buffer.write(b'1234\\n')\ntime.sleep(60)\n"
    )
    call = context()
    answers = host.RunPlugin(request(plugin), call)
    assert next(answers).stdout == b"1234\n"
    host.stop()
    assert [answer.exitcode for answer in answers][-1] < 0


def test_it_ends_when_the_engine_ends_the_call(host: LanguageHost, plugin: Path) -> None:
    (plugin / "__main__.py").write_text("import time\nprint(1)\ntime.sleep(60)\n")
    call = RecordingContext()
    answers = host.RunPlugin(request(plugin), call)
    next(answers)
    threading.Thread(target=call.callbacks[0]).start()
    assert [answer.exitcode for answer in answers][-1] < 0


@pytest.mark.parametrize("virtualenv", ["elsewhere", ""])
def test_without_its_virtual_environment_it_says_what_to_type(
    host: LanguageHost, plugin: Path, virtualenv: str
) -> None:
    (plugin / "__main__.py").touch()
    with pytest.raises(AbortedError) as caught:
        list(host.RunPlugin(request(plugin, virtualenv), context()))
    assert f"{plugin}/{virtualenv or 'venv'} does not exist" in str(caught.value)
    assert "`pulumi install`" in str(caught.value)


def test_a_plugin_that_is_a_package_is_left_to_the_official_host(
    host: LanguageHost, plugin: Path
) -> None:
    with pytest.raises(AbortedError, match="has no __main__"):
        list(host.RunPlugin(request(plugin), context()))
