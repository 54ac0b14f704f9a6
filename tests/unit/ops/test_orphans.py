"""A program that outlives its language host is ended; one whose host lives is not."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from ops.orphans import HOST, Programs, ended
from ops.process import Machine


def test_a_program_is_ended_once_its_host_was_killed(tmp_path: Path) -> None:
    host = tmp_path / f"{HOST}-python"
    host.write_text("#!/bin/sh\nsleep 60 &\necho $$ $!\nwait\n")
    host.chmod(0o755)
    engine = subprocess.Popen(
        ["/bin/sh", "-c", f"{host} & wait"], stdout=subprocess.PIPE, text=True
    )
    assert engine.stdout is not None
    here = Machine.here()
    with engine, engine.stdout:
        host_pid, program = map(int, engine.stdout.readline().split())
        programs = Programs(engine.pid)
        assert programs.orphans() == []
        with ended(engine.pid):
            time.sleep(1.5)
            assert here.find(program) is not None
            os.kill(host_pid, signal.SIGKILL)
            deadline = time.monotonic() + 20
            while here.find(program) is not None and time.monotonic() < deadline:
                time.sleep(0.05)
        assert here.find(program) is None
        assert programs.orphans() == []
