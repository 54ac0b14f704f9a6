"""The plugin in a run of its own: of one process, and of two that it hands tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.evidence.plugin import LINES, LISTED, summary

ROOT = Path(__file__).resolve().parents[3]
TESTS = """
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.evidence.plugin import keep

@dataclass
class Stand:
    directory: Path
    environment: dict

def made(tmp_path):
    state = tmp_path / "backend" / ".pulumi" / "aegis" / "shop"
    state.mkdir(parents=True)
    (state / "one.claim").write_text("claimed, " + os.environ["PULUMI_CONFIG_PASSPHRASE"])
    return Stand(tmp_path, {"PULUMI_BACKEND_URL": f"file://{tmp_path / 'backend'}"})

@contextmanager
def taken_down(stand):
    claim = stand.directory / "backend" / ".pulumi" / "aegis" / "shop" / "one.claim"
    try:
        yield
    except Exception:
        keep(stand)
        raise
    finally:
        claim.unlink()

@pytest.fixture
def stand(tmp_path):
    made_ = made(tmp_path)
    yield made_
    (tmp_path / "backend" / ".pulumi" / "aegis" / "shop" / "one.claim").unlink()

@pytest.fixture
def unmade(tmp_path):
    with taken_down(made(tmp_path)):
        raise ValueError("not set up")

@pytest.fixture
def stubborn():
    yield
    raise ValueError("not taken down")

def test_passes(stand): pass

@pytest.mark.xfail
def test_is_known_to_fail(): assert False

def test_is_skipped(): pytest.skip("no")

def test_fails(stand):
    print("on its output " + os.environ["PULUMI_CONFIG_PASSPHRASE"])
    assert 1 == 2, "with " + os.environ["PULUMI_CONFIG_PASSPHRASE"]

def test_is_not_set_up(unmade): pass

def test_is_not_taken_down(stubborn): pass

@pytest.mark.e2e
def test_on_the_lab_fails(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with (Path(os.environ["AEGIS_LAB_DIR"]) / "log" / "kubelet.log").open("a") as log:
        log.write("E1128 it is lost\\n")
    assert False

def test_dies():
    if "PYTEST_XDIST_WORKER" in os.environ:
        os._exit(3)
"""
PASSPHRASE = "the-one-not-shown"


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Return what runs the tests above and returns the exit code and the output's lines."""
    (tmp_path / "test_small.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = e2e: on the lab\n")
    (tmp_path / "lab" / "log").mkdir(parents=True)
    (tmp_path / "lab" / "log" / "kubelet.log").write_text("before\n")
    (tmp_path / "bin").mkdir()
    kubectl = tmp_path / "bin" / "kubectl"
    kubectl.write_text('#!/bin/sh\necho "{}"\n')
    kubectl.chmod(0o755)
    kept = ("HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME")

    def run_it(*words: str, **variables: str) -> tuple[int, list[str]]:
        environment = {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "AEGIS_EVIDENCE": str(tmp_path / "evidence"),
            "AEGIS_LAB_DIR": str(tmp_path / "lab"),
            "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
            **variables,
        }
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "tests.evidence.plugin"),
                *("-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temporary"), *words),
            ],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert "INTERNALERROR" not in done.stdout + done.stderr, done.stdout
        return done.returncode, done.stdout.splitlines()

    return run_it


def _folder(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "evidence").iterdir()
    return folder


def _kept(folder: Path, test: str) -> dict[str, str]:
    (own,) = folder.glob(f"*{test}*")
    return {str(it.relative_to(own)): it.read_text() for it in own.rglob("*") if it.is_file()}


def _claims(kept: dict[str, str]) -> dict[str, str]:
    return {
        name.partition("/")[0]: text for name, text in kept.items() if name.endswith("one.claim")
    }


# Without that limit pytest-xdist 3.8.0 may wait for ever after the death of a worker.
TWO = ("-n", "2", "--dist", "loadgroup", "--max-worker-restart=0")


@pytest.mark.parametrize(
    ("workers", "died"),
    [(("-p", "no:xdist"), []), (TWO, ["test_dies (died)"])],
    ids=["one process", "two workers"],
)
def test_whoever_fails_leaves_evidence_in_one_folder(
    run: Any, tmp_path: Path, workers: tuple[str, ...], died: list[str]
) -> None:
    code, lines = run(*workers, "--cov=test_small", CI="true")
    assert code == 1
    folder = _folder(tmp_path)

    # The end of the output: after all tables, limited, and then pytest's own closing line.
    begin = next(i for i, it in enumerate(lines) if "evidence of failures" in it)
    before, told = lines[:begin], lines[begin + 1 : -1]
    assert any("tests coverage" in it for it in before)
    assert any("short test summary" in it for it in before)
    assert f"{2 + len(died)} failed" in lines[-1]
    assert "2 errors" in lines[-1]
    assert told[-1] == f"all of it is in {folder}"
    assert len(told) <= LINES
    assert sorted(it.partition("::")[2].partition(": ")[0] for it in told[: 4 + len(died)]) == [
        *died,
        "test_fails (call)",
        "test_is_not_set_up (setup)",
        "test_is_not_taken_down (teardown)",
        "test_on_the_lab_fails (call)",
    ]
    assert "  kubelet: E1128 it is lost" in told
    assert any(it.startswith("E ") and it.endswith(": with [not shown]") for it in told)
    assert PASSPHRASE not in "\n".join(told)

    # What is in the folder.
    assert len(list(folder.iterdir())) == 4 + len(died), "who passes or is skipped leaves nothing"
    kept = _kept(folder, "test_fails")
    assert "assert 1 == 2" in kept["call/failure.txt"]
    assert "on its output" in kept["call/failure.txt"]
    assert "call/machine.txt" in kept
    assert _claims(kept) == {"call": "claimed, [not shown]"}
    unmade = _kept(folder, "test_is_not_set_up")
    assert "not set up" in unmade["setup/failure.txt"]
    assert _claims(unmade) == {"before-taking-down": "claimed, [not shown]"}
    assert "teardown/failure.txt" in _kept(folder, "test_is_not_taken_down")
    lab = _kept(folder, "test_on_the_lab_fails")
    assert lab["call/daemons/kubelet.log"] == "before\nE1128 it is lost\n"
    assert {"call/events.txt", "call/pods.txt"} <= {*lab}
    assert "call/missing.txt" not in lab
    if died:
        # Its worker has collected nothing, so the main process does.
        assert "crashed while running" in _kept(folder, "test_dies")["died/failure.txt"]
    assert PASSPHRASE not in "".join(it.read_text() for it in folder.rglob("*") if it.is_file())


def test_who_passes_leaves_nothing(run: Any, tmp_path: Path) -> None:
    code, lines = run("-k", "passes or known or skipped")
    assert code == 0
    assert not (tmp_path / "evidence").exists()
    assert not any("evidence" in line for line in lines)


def test_evidence_that_cannot_be_kept_hides_no_failure(run: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, lines = run("-k", "test_fails", AEGIS_EVIDENCE=str(tmp_path / "file"))
    assert code == 1
    assert any("not collected: FileExistsError" in line for line in lines)
    assert not any(line.startswith("E ") for line in lines[-4:]), "told once where nobody asked"
    assert "1 failed" in lines[-1]


@pytest.mark.parametrize("count", [1, 5, 60, 700])
def test_the_end_of_the_output_has_a_limit_and_names_the_folder_last(count: int) -> None:
    found = {"folder": "it", "failure": ["E"] * 15, "around": ["load"] * 14}
    rows = summary(Path("/all"), [(f"test {it}", found) for it in range(count)], tail=True)
    assert len(rows) <= LINES
    assert rows[-1] == "all of it is in /all"
    assert sum(row.endswith(": it") for row in rows) == min(count, LISTED)
