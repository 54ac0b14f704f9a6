"""The project's program under our own language host: as under the CLI's, and gone with `aegis`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.events import Event
from aegis_deploy.stack.session import Session
from tests.integration.shop import Stand
from tests.integration.waiting import processes, wait_until

pytestmark = pytest.mark.integration

TELLS = """
import asyncio, os, sys, threading
from pathlib import Path
import pulumi
import beside

print("on standard output")
print("on standard error", file=sys.stderr)
told = {
    "argv": sys.argv,
    "path": sys.path,
    "directory": os.getcwd(),
    "variables": sorted(set(os.environ) - {"SHLVL", "_", "AEGIS_LANGUAGE_EXEC"}),
    "virtualenv": os.environ["VIRTUAL_ENV"],
    "search": os.environ["PATH"],
    "python": sys.executable,
    "unbuffered": sys.stdout.line_buffering or sys.stdout.write_through,
    "name": __name__,
    "file": __file__,
    "threads": [it.name for it in threading.enumerate() if "asyncio" not in it.name],
    "leader": os.getpgid(0) == os.getpid(),
    "config": pulumi.Config().require("replicas"),
    "secret": pulumi.Config().require_secret("token"),
    "project": [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()],
    "root": pulumi.runtime.get_root_directory(),
    "own": sorted(it for it in sys.modules if it.split(".")[0] in ("aegis_deploy", "beside")),
}
for name, value in told.items():
    pulumi.export(name, value)
"""
WAITS = """
import os, signal, subprocess, time
from pathlib import Path
child = subprocess.Popen(["sleep", "600"])
Path("runs").write_text(f"{os.getpid()} {child.pid}")
signal.signal(signal.SIGINT, lambda *_: (Path("told").touch(), exit(1)))
time.sleep(600)
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hosted(stand: Stand) -> Iterator[Stand]:
    """A stand whose program is run by the interpreter of the tests."""
    options = "{name: python, options: {toolchain: pip, virtualenv: .venv}}"
    project = stand.root / "project"
    (project / "Pulumi.yaml").write_text(f"name: shop\nruntime: {options}\n")
    (project / ".venv").symlink_to(sys.prefix)
    (project / "beside.py").write_text("")
    yield stand


def write(stand: Stand, program: str) -> None:
    """Give the stand another program."""
    (stand.root / "project" / "__main__.py").write_text(program)


def outputs(session: Session) -> dict[str, Any]:
    """What the program exported."""
    return dict(session.export()["deployment"]["resources"][0].get("outputs") or {})


def test_a_program_finds_all_as_the_cli_s_own_host_has_it(hosted: Stand) -> None:
    write(hosted, TELLS)
    hosted.pulumi("up", "--yes", "--skip-preview", "--stack", "one")
    with closing(hosted.open()) as session:
        theirs = outputs(session)
        said: list[Event] = []
        outcome = session.update(message="ours", on_event=said.append)
        assert outcome.succeeded, outcome.why
        ours = outputs(session)
    # The CLI is told by variables who runs it.
    added = set(ours.pop("variables")) - set(theirs.pop("variables"))
    assert added <= {*session.environment, "PULUMI_AUTOMATION_API", "PULUMI_DEBUG_COMMANDS"}
    assert {it["ciphertext"] for it in (ours.pop("secret"), theirs.pop("secret"))}
    # What it prints comes at once, and it can be ended with all that it started: the official host
    # of 3.259 does neither.
    for name in ("unbuffered", "leader"):
        assert ours.pop(name)
        del theirs[name]
    assert ours == theirs
    assert ours["own"] == ["beside"]
    texts = [it.message for it in said]
    for line in ("on standard output", "on standard error"):
        assert any(line in text for text in texts), texts


def test_a_program_looks_for_garbage_but_not_among_what_was_loaded_for_it(hosted: Stand) -> None:
    write(
        hosted,
        "import gc, pulumi\n"
        "for name, value in (('looks', gc.isenabled()), ('loaded', gc.get_freeze_count())):\n"
        "    pulumi.export(name, value)\n",
    )
    with closing(hosted.open()) as session:
        assert session.update(message="garbage").succeeded
        told = outputs(session)
    assert told["looks"]
    # At its end it would copy all of that memory, to look through it once more.
    assert told["loaded"] > 10_000


def test_each_run_sees_the_program_of_now(hosted: Stand) -> None:
    with closing(hosted.open()) as session:
        for text in ("one", "two"):
            (hosted.root / "project" / "beside.py").write_text(f"TEXT = {text!r}\n")
            write(hosted, "import beside, pulumi\npulumi.export('text', beside.TEXT)\n")
            assert session.preview().summary.get("create", 0) <= 1
            assert session.update(message=text).succeeded
            assert outputs(session)["text"] == text


def test_a_package_that_starts_threads_as_it_is_loaded_has_them(
    hosted: Stand, tmp_path_factory: pytest.TempPathFactory
) -> None:
    packages = tmp_path_factory.mktemp("packages")
    (packages / "pulumi_ticking.py").write_text(
        "import threading\nthread = threading.Thread(target=threading.Event().wait, daemon=True)\n"
        "thread.start()\n"
    )
    write(
        hosted,
        "import pulumi\nimport pulumi_ticking\n"
        "pulumi.export('ticks', pulumi_ticking.thread.is_alive())\n",
    )
    with closing(hosted.open(PYTHONPATH=str(packages))) as session:
        assert session.update(message="ticking").succeeded
        assert outputs(session) == {"ticks": True}


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("raise ValueError('bad luck')", "ValueError: bad luck"),
        ("import not_there", "No module named 'not_there'"),
        ("import pulumi\nraise pulumi.RunError('as it should')", "as it should"),
        ("import sys\nsys.exit(3)", "3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("x = (", "SyntaxError"),
    ],
)
def test_what_goes_wrong_in_it_is_told(hosted: Stand, program: str, why: str) -> None:
    write(hosted, program)
    with closing(hosted.open()) as session, pytest.raises(AegisError) as raised:
        session.preview()
    assert why in raised.value.why


def _aegis(stand: Stand, *words: str, by: Sequence[str] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*by, sys.executable, "-m", "aegis_deploy.cli.main", *words, "--stack", "one"],
        cwd=stand.root / "project",
        env={**stand.environment, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "by"),
    [
        (signal.SIGINT, ()),
        (signal.SIGTERM, ()),
        # As a shell starts what it puts in the background.
        (signal.SIGTERM, ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")),
    ],
)
def test_who_is_told_to_stop_tells_the_program(
    hosted: Stand, number: signal.Signals, by: Sequence[str]
) -> None:
    write(hosted, WAITS)
    runs, told = (hosted.root / "project" / it for it in ("runs", "told"))
    deploy = _aegis(hosted, "deploy", "--yes", by=by)
    wait_until(lambda: runs.exists() and len(runs.read_text().split()) == 2, "no program ran")
    # A terminal tells all of a session, a supervisor one.
    os.killpg(deploy.pid, number)
    said, _ = deploy.communicate(timeout=180)
    assert deploy.returncode != 0, said
    assert "Traceback" not in said
    wait_until(lambda: not processes(hosted.root), "something is left")
    assert told.exists()


def test_nothing_outlives_an_aegis_that_is_killed(hosted: Stand) -> None:
    write(hosted, WAITS)
    runs = hosted.root / "project" / "runs"
    deploy = _aegis(hosted, "deploy", "--yes")
    wait_until(lambda: runs.exists() and len(runs.read_text().split()) == 2, "no program ran")
    program = runs.read_text().split()[0]
    deploy.kill()
    deploy.communicate(timeout=180)
    wait_until(lambda: not Path("/proc", program).exists(), "the program lives")
    # What the program itself has left running is nobody's to end: as under the CLI's host.
    with suppress(ProcessLookupError):
        os.kill(int(runs.read_text().split()[1]), signal.SIGKILL)


def test_one_whose_host_is_killed_is_told_and_the_next_command_has_another(hosted: Stand) -> None:
    write(hosted, WAITS)
    runs = hosted.root / "project" / "runs"
    preview = _aegis(hosted, "preview")
    wait_until(lambda: runs.exists() and len(runs.read_text().split()) == 2, "no program ran")
    (host,) = [pid for pid, it in processes(hosted.root).items() if "language_host.py" in it][:1]
    os.kill(host, signal.SIGKILL)
    said, _ = preview.communicate(timeout=180)
    assert preview.returncode != 0
    assert "Traceback" not in said
    with suppress(ProcessLookupError):
        os.kill(int(runs.read_text().split()[1]), signal.SIGKILL)
    write(hosted, "import pulumi\npulumi.export('x', 1)\n")
    again = _aegis(hosted, "preview")
    said, _ = again.communicate(timeout=180)
    assert again.returncode == 0, said
