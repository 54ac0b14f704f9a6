"""Processes end with the plugin, and so does what they started."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from lab.plugins.children import Children


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_stop_ends_the_whole_group(tmp_path: Path) -> None:
    children = Children()
    child = children.start(
        ["/bin/sh", "-c", "sleep 600 & echo $!; wait"],
        environment=os.environ,
        directory=str(tmp_path),
        output=subprocess.PIPE,
    )
    assert child.process.stdout is not None
    with child.process.stdout as stream:
        grandchild = int(stream.readline())
        assert alive(grandchild)
        children.stop()
        assert child.wait() < 0
    deadline = time.monotonic() + 60
    while alive(grandchild) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(grandchild)
    assert child.stopped


def test_stubborn_processes_are_killed(tmp_path: Path) -> None:
    children = Children()
    child = children.start(
        ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.05; done"],
        environment=os.environ,
        directory=str(tmp_path),
        output=subprocess.PIPE,
    )
    assert child.process.stdout is not None
    with child.process.stdout as stream:
        stream.readline()
        threading.Thread(target=children.stop).start()
        assert child.wait() == -9


def test_a_process_started_after_the_stop_ends_at_once(tmp_path: Path) -> None:
    children = Children()
    children.stop()
    child = children.start(["sleep", "600"], environment=os.environ, directory=str(tmp_path))
    assert child.wait() < 0


def test_standard_input_is_handed_over(tmp_path: Path) -> None:
    child = Children().start(
        ["cat"],
        environment=os.environ,
        directory=str(tmp_path),
        output=subprocess.PIPE,
        standard_input=b"secret",
    )
    assert child.process.stdout is not None
    with child.process.stdout as stream:
        assert stream.read() == b"secret"
    assert child.wait() == 0


def test_a_process_ends_with_a_plugin_that_is_killed(tmp_path: Path) -> None:
    plugin = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).resolve().parents[4])!r})
from lab.plugins.children import Children
child = Children().start(["sleep", "600"], environment=os.environ, directory=".")
print(child.process.pid, flush=True)
child.wait()
"""
    with subprocess.Popen(
        [sys.executable, "-c", plugin], cwd=tmp_path, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert alive(child)
        process.kill()
    deadline = time.monotonic() + 60
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)
