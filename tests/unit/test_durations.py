"""The tables that say how long tests take."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.durations import Took, read, tables

JUNIT = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite name="pytest">
<testcase classname="tests.e2e.test_gate" name="test_a[crash]" time="31.5">
<properties><property name="processor" value="4.25" /></properties></testcase>
<testcase classname="tests.e2e.test_gate" name="test_b" time="8.75" />
<testcase classname="tests.unit.app.test_drain.TestIdle" name="test_c" time="0.25" />
<testcase classname="tests.unit.app.test_logs" name="test_d" time="0.5"><skipped /></testcase>
</testsuite></testsuites>
"""


def test_a_test_is_known_by_its_file_and_its_name(tmp_path: Path) -> None:
    junit = tmp_path / "run.xml"
    junit.write_text(JUNIT)
    assert read(junit) == [
        Took("tests/e2e/test_gate.py", "test_a[crash]", 31.5, 4.25),
        Took("tests/e2e/test_gate.py", "test_b", 8.75),
        Took("tests/unit/app/test_drain.py", "TestIdle::test_c", 0.25),
        Took("tests/unit/app/test_logs.py", "test_d", 0.5),
    ]


def test_the_tables_have_the_longest_first_and_unit_tests_by_directory(tmp_path: Path) -> None:
    junit = tmp_path / "run.xml"
    junit.write_text(JUNIT)
    assert tables(read(junit), slowest=2) == (
        "| file | tests | seconds | of processor |\n"
        "|---|---:|---:|---:|\n"
        "| `tests/e2e/test_gate.py` | 2 | 40 | 4 |\n"
        "| `tests/unit/app/` | 2 | 1 | 0 |\n"
        "\n"
        "| seconds | of processor | test |\n"
        "|---:|---:|---|\n"
        "| 32 | 4 | `test_gate` test_a[crash] |\n"
        "| 9 | 0 | `test_gate` test_b |"
    )


def test_a_run_notes_how_much_processor_a_test_and_what_it_starts_used(tmp_path: Path) -> None:
    burns = "import time\nwhile time.process_time() < 0.5: pass"
    (tmp_path / "test_it.py").write_text(
        "import subprocess, sys, time\n"
        f"def test_starts(): subprocess.run([sys.executable, '-c', {burns!r}], check=True)\n"
        "def test_waits(): pass\n"
    )
    junit = tmp_path / "run.xml"
    words = ("-m", "pytest", "-q", "-p", "tests.processor_time", "-p", "no:cacheprovider")
    subprocess.run(
        [sys.executable, *words, f"--junitxml={junit}", f"--rootdir={tmp_path}", tmp_path],
        check=True,
        capture_output=True,
        cwd=Path(__file__).parents[2],
    )
    starts, waits = read(junit)
    assert starts.processor >= 0.5 > waits.processor
