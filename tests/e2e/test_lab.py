"""The lab itself: running it again changes nothing, a dead part comes back, git stays clean."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lab import outage, settings
from lab.daemon import Supervisor
from tests.series import every

ROOT = Path(__file__).resolve().parents[2]
LAB = settings.load(os.environ, ROOT)


def make(*words: str) -> str:
    """Run make in the checkout and return what it printed, both streams."""
    done = subprocess.run(
        ["make", *words], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def running() -> dict[str, int | None]:
    """Return the ids of the lab's programs."""
    supervisor = Supervisor(LAB)
    return {name: supervisor.pid_of(name) for name in supervisor.names()}


def kubectl(*words: str) -> str:
    """Run kubectl on the lab and return what it printed."""
    argv = ["kubectl", "--kubeconfig", str(LAB.kubeconfig), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout


def service() -> str:
    """Return the address at which the development stack's service answers."""
    path = "jsonpath={.spec.clusterIP}"
    return kubectl("get", "service", "aegis-api", "-n", "aegis-development", "-o", path)


def git_status() -> str:
    """Return what git says was changed in the stacks' settings files."""
    argv = ["git", "status", "--porcelain", "--", "Pulumi.*.yaml"]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_up_again_changes_nothing() -> None:
    where = ("--namespace", "aegis-development", "--output", "jsonpath={.metadata.resourceVersion}")
    version = ("get", "deployment", "aegis-api", *where)
    make("up")  # A commit since the last one is a change; it is deployed first.
    programs, deployment = running(), kubectl(*version)
    assert all(programs.values()), programs
    printed = make("up")
    assert "unchanged" in printed
    assert "answers at http://" in printed
    assert running() == programs
    assert kubectl(*version) == deployment


@pytest.mark.parametrize(
    "killed",
    [
        pytest.param(("kubelet",), id="kubelet", marks=every),
        pytest.param(("containerd", "kubelet"), id="node"),
        pytest.param(("dockerd", "registry"), id="images", marks=every),
        pytest.param(outage.DAEMONS, id="all"),
    ],
)
def test_programs_that_were_killed_come_back_and_the_rest_is_left_alone(
    killed: tuple[str, ...],
) -> None:
    before = running()
    ended = {name: before.pop(name) for name in killed}
    for pid in ended.values():
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    make("up")
    after = running()
    assert all(after[name] not in (None, pid) for name, pid in ended.items())
    assert {name: pid for name, pid in after.items() if name not in ended} == before
    assert httpx.get(f"http://{service()}/version", trust_env=False).is_success


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=every), pytest.param(3, marks=every)])
def test_make_up_works_after_one_that_was_killed_at_any_moment(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a moment, not a secret
    commit = f"{chance.getrandbits(160):040x}"
    env = {**os.environ, "AEGIS_GIT_SHA": commit}
    quiet = subprocess.DEVNULL
    begun = subprocess.Popen(
        ["make", "up"], cwd=ROOT, env=env, stdout=quiet, stderr=quiet, start_new_session=True
    )
    time.sleep(chance.uniform(0.5, 8))
    with suppress(ProcessLookupError):
        os.killpg(begun.pid, signal.SIGKILL)
    begun.wait()
    make("up")
    path = LAB.backend / ".pulumi" / "stacks" / "aegis" / "development.json"
    assert not json.loads(path.read_text())["checkpoint"]["latest"].get("pending_operations")
    assert all(running().values())
    answer = httpx.get(f"http://{service()}/version", trust_env=False).json()
    assert answer["gitSha"] not in ("", commit), "what this checkout is at was deployed again"


def test_the_checkout_stays_clean_while_pulumi_finds_its_salt() -> None:
    changed = git_status()
    assert "encryptionsalt" in (ROOT / "Pulumi.development.yaml").read_text()
    diff = subprocess.run(
        ["git", "diff", "--", "Pulumi.*.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "encryptionsalt" not in diff.stdout
    env = {**os.environ, "PULUMI_BACKEND_URL": f"file://{LAB.backend}"}
    env["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(LAB.passphrase_file)
    argv = ["pulumi", "up", "--yes", "--skip-preview", "--stack", "development"]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert git_status() == changed


def test_the_shell_that_make_env_gives_reaches_everything() -> None:
    script = 'eval "$(make -s env)" && pulumi stack ls && kubectl get nodes && docker info'
    done = subprocess.run(
        ["bash", "-euc", script],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "development" in done.stdout
    assert "aegis-lab" in done.stdout


def test_the_service_answers_from_this_machine_and_only_inside_the_labs_network() -> None:
    answer = httpx.get(f"http://{service()}/version", trust_env=False).json()
    assert answer["environment"] == "development"
    routes = subprocess.run(
        ["ip", "-n", settings.NAME, "route"], capture_output=True, text=True, check=True
    )
    assert "default" not in routes.stdout
