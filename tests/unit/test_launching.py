"""Programs with less than the test has; and nobody forks a process that may have gRPC threads."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launching import as_user, without_files

ROOT = Path(__file__).parents[2]
FORKING = {"preexec_fn", "user", "group", "extra_groups"}
_FORKING_WORD = re.compile(rf"\b({'|'.join(sorted(FORKING))})\s*=")
"""What a call with one of them has in its text; who has it nowhere need not be parsed."""
STARTING = {"Popen", "run", "call", "check_call", "check_output", "create_subprocess_exec"}
SECONDS = 60


def said(command: list[str]) -> str:
    """What a program prints."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    return done.stdout.strip()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_program_runs_as_somebody_else_and_in_no_group_of_root() -> None:
    who = "import os; print(os.getuid(), os.getgroups())"

    assert said(as_user(65534, [sys.executable, "-I", "-S", "-c", who])) == "65534 []"


def test_without_a_user_the_command_is_as_it_was() -> None:
    assert as_user(None, ["/bin/true", "x"]) == ["/bin/true", "x"]


def test_a_program_that_may_write_no_file_can_still_say_so(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "try:\n"
        "    open(sys.argv[1], 'wb', buffering=0).write(b'x')\n"
        "except OSError as error:\n"
        "    print('refused:', error.strerror)\n"
    )
    command = [sys.executable, "-I", "-S", "-c", program, str(tmp_path / "file")]

    assert said(without_files(command)) == "refused: File too large"


def forking_calls(text: str) -> list[int]:
    """The lines on which a file starts a program in a way that forks."""
    if not _FORKING_WORD.search(text):
        return []
    return [
        node.lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id) in STARTING
        and FORKING & {keyword.arg for keyword in node.keywords}
    ]


def test_nothing_of_ours_starts_a_program_by_a_fork() -> None:
    listed = said(["git", "-C", str(ROOT), "ls-files", "*.py"]).splitlines()
    assert "tests/launching.py" in listed

    found = {
        f"{name}:{line}"
        for name in listed
        if (ROOT / name).is_file()
        for line in forking_calls((ROOT / name).read_text())
    }

    assert found == set()


def test_such_a_call_is_found() -> None:
    assert forking_calls("import subprocess\nsubprocess.run(['x'], user=1)\n") == [2]
    assert forking_calls("subprocess.run(['x'], cwd='/')\n") == []
