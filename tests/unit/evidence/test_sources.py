"""What is collected, from a lab that is a directory and a cluster that is a script."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import sources
from tests.evidence.box import Box
from tests.evidence.sources import LOG_LINES, Asked, Place, collect, daemon_log, offsets, places


@dataclass
class _Stand:
    directory: Path
    environment: Mapping[str, str]


@dataclass
class _Faulty:
    stack: _Stand


@pytest.fixture
def stand(tmp_path: Path) -> _Stand:
    """A stand with a stack, a timeline, a claim, a state, a key, and a command's output."""
    program, backend = tmp_path / "program", tmp_path / "backend"
    program.mkdir()
    (program / "1.out").write_text("what it printed")
    state = backend / ".pulumi"
    for name in (
        "aegis/shop/one.claim",
        "aegis/shop/one.timelines/1.json",
        "stacks/shop/one.json",
        "stacks/shop/one.json.bak",
        "history/shop/one/one-1.checkpoint.json",
        "locks/organization/shop/one/1.json",
    ):
        (state / name).parent.mkdir(parents=True, exist_ok=True)
        (state / name).write_text(json.dumps({"file": name}))
    guards = tmp_path / "home" / "aegis"
    guards.mkdir(parents=True)
    (guards / "guard-shop-one-1.log").write_text("the guard's")
    environment = {
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_HOME": str(tmp_path / "home"),
        "PULUMI_CONFIG_PASSPHRASE": "never-shown-1",
    }
    return _Stand(program, environment)


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path / "box", {"PATH": os.environ["PATH"]})


def _kept(box: Box) -> dict[str, str]:
    paths = [it for it in box.folder.rglob("*") if it.is_file()]
    return {str(it.relative_to(box.folder)): it.read_text() for it in paths}


class TestPlacesAreFound:
    """Where a test deploys from is found without its help."""

    def test_in_fixtures_and_in_what_they_hold(self, stand: _Stand) -> None:
        found = Place(stand.environment, stand.directory)
        assert list(places([1, stand, "x"])) == [found]
        assert list(places([_Faulty(stand)])) == [found]

    def test_not_where_nothing_is_deployed(self, tmp_path: Path) -> None:
        assert list(places([_Stand(tmp_path, {"HOME": "/"}), _Stand, object()])) == []


class TestOfStacksIsKept:
    """Claims, timelines, states and locks are kept, of this test alone."""

    def test_what_is_about_the_deploy_and_nothing_else(self, stand: _Stand, box: Box) -> None:
        collect(box, Asked(begun=time.time() - 60, places=tuple(places([stand]))))
        kept = {name.split("/", 2)[-1] for name in _kept(box) if name.startswith("backends/")}
        assert kept == {
            "files.txt",
            "aegis/shop/one.claim",
            "aegis/shop/one.timelines/1.json",
            "stacks/shop/one.json",
            "locks/organization/shop/one/1.json",
        }
        assert "outputs/program-1.out" in _kept(box)
        assert _kept(box)["guards/guard-shop-one-1.log"] == "the guard's"
        assert "never-shown-1" not in str(_kept(box))

    def test_what_changed_since_the_test_began_though_no_fixture_has_it(
        self, stand: _Stand, box: Box, tmp_path: Path
    ) -> None:
        assert stand.directory.exists()
        collect(box, Asked(begun=time.time() - 60, temporary=tmp_path.parent))
        assert any(name.endswith("one.claim") for name in _kept(box))
        assert "outputs/program-1.out" in _kept(box)

    def test_nothing_of_tests_before(self, stand: _Stand, box: Box, tmp_path: Path) -> None:
        assert stand.directory.exists()
        collect(box, Asked(begun=time.time() + 60, temporary=tmp_path.parent))
        assert {name for name in _kept(box) if not name.startswith("machine")} == set()


class TestOfALogIsKept:
    """Of a daemon's log the time of the test is kept."""

    def test_what_was_written_since_and_at_least_the_last_lines(self, tmp_path: Path) -> None:
        log = tmp_path / "kubelet.log"
        log.write_text("".join(f"row {number}\n" for number in range(1000)))
        before = offsets(tmp_path)["kubelet.log"]
        with log.open("a") as file:
            file.write("new\n")
        text, since = daemon_log(log, before)
        assert since == "new\n"
        assert len(text.splitlines()) == LOG_LINES

        text, since = daemon_log(log, 0)
        assert text == since == log.read_text()

    def test_its_end_when_it_was_put_aside_meanwhile(self, tmp_path: Path) -> None:
        log = tmp_path / "kubelet.log"
        log.write_text("anew\n")
        assert daemon_log(log, 4000) == ("anew\n", "anew\n")

    def test_nothing_when_nothing_was_written(self, tmp_path: Path) -> None:
        log = tmp_path / "kubelet.log"
        log.write_text("before\n")
        assert daemon_log(log, 7) == ("before\n", "")


EVENTS: dict[str, Any] = {
    "items": [
        {
            "type": "Warning",
            "reason": "Unhealthy",
            "message": "Readiness probe failed",
            "lastTimestamp": "2099-01-01T00:00:00Z",
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web-1"},
            "metadata": {"creationTimestamp": "2099-01-01T00:00:00Z"},
        }
    ]
}
PODS: dict[str, Any] = {
    "items": [{"metadata": {"namespace": "shop", "name": "web-1"}, "status": {"phase": "Pending"}}]
}


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[[str], Box]:
    """Return a maker of boxes whose kubectl does first what it is told."""
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "events").write_text(json.dumps(EVENTS))
    (programs / "pods").write_text(json.dumps(PODS))

    def make(first: str) -> Box:
        kubectl = programs / "kubectl"
        kubectl.write_text(
            f'#!/bin/sh\n{first}\ncase "$*" in\n'
            f'  *"get events"*) cat {programs}/events ;;\n'
            f'  *"get pods"*json*) cat {programs}/pods ;;\n'
            '  *logs*) echo "container is waiting" >&2; exit 1 ;;\n'
            '  *) echo "$*" ;;\nesac\n'
        )
        kubectl.chmod(0o755)
        return Box(tmp_path / "box", {"PATH": f"{programs}:{os.environ['PATH']}"})

    return make


@pytest.fixture
def lab(tmp_path: Path) -> Asked:
    """A test on a lab whose kubelet said something since it began."""
    logs = tmp_path / "lab" / "log"
    logs.mkdir(parents=True)
    (logs / "kubelet.log").write_text("E1128 before the test\n")
    before = offsets(logs)
    with (logs / "kubelet.log").open("a") as file:
        file.write("I1128 well\nE1128 lost it\n")
    return Asked(begun=time.time(), lab=logs.parent, logs=logs, offsets=before)


class TestOfTheLabIsKept:
    """What the lab says is kept, as far as it answers."""

    def test_what_its_daemons_and_its_cluster_say(
        self, cluster: Callable[[str], Box], lab: Asked
    ) -> None:
        box = cluster("")
        said = collect(box, lab)
        kept = _kept(box)
        assert {*kept} >= {
            "machine.txt",
            "daemons/kubelet.log",
            "events.txt",
            "pods.txt",
            "endpointslices.yaml",
            "workloads.txt",
            "pods/shop-web-1-describe.txt",
        }
        assert said[0].startswith("load ")
        assert said[1:] == [
            "warnings of the cluster since the test began, 1 in all:",
            "  00:00:00.000000 Warning Unhealthy pod shop/web-1: Readiness probe failed",
            "pods that are not ready, 1 in all: shop/web-1 (Pending)",
            "errors of daemons since the test began:",
            "  kubelet: E1128 lost it",
        ]
        assert len(box.notes) == 1
        assert "container is waiting" in box.notes[0]

    def test_all_but_the_cluster_when_that_does_not_answer(
        self, cluster: Callable[[str], Box], lab: Asked, tmp_path: Path
    ) -> None:
        box = cluster(f"echo asked >> {tmp_path}/asked; echo refused >&2; exit 1")
        collect(box, lab)
        assert "daemons/kubelet.log" in _kept(box)
        assert (tmp_path / "asked").read_text().count("asked") == 1
        assert "refused" in box.notes[0]

    def test_whatever_one_source_raises_the_others_follow(
        self,
        cluster: Callable[[str], Box],
        lab: Asked,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken() -> dict[int, int]:
            raise ZeroDivisionError("by zero")

        monkeypatch.setattr(sources, "_ticks", broken)
        box = cluster("")
        collect(box, lab)
        assert box.notes[0] == "machine: by zero"
        assert {"events.txt", "daemons/kubelet.log"} <= {*_kept(box)}
