"""The live copy: when it is current, and what it makes of an API server that says nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from aegis_deploy.kubernetes import informer as module
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.kubernetes.informer import Informer, read_snapshot
from aegis_deploy.model.workloads.rollout import Workload
from lab.command import wait_until

SECONDS = 60.0
WEB = Workload(namespace="team", name="web")


@dataclass
class Server:
    """An API server with one object of each kind, which can be told to say nothing.

    Attributes:
        silent: Whether questions are answered.
        status: What small questions are answered with.
        refuses: What lists are refused with; 0 for not.
        refused: How often one was.
        lists: How often each path was listed.
        said: What watches say next, by path.
    """

    silent: bool = False
    status: int = 200
    refuses: int = 0
    refused: int = 0
    lists: dict[str, int] = field(default_factory=dict)
    said: dict[str, list[tuple[str, Any]]] = field(default_factory=dict)

    def get(self, path: str, _: Mapping[str, str] | None = None) -> dict[str, Any]:
        if self.silent:
            raise ApiError(0, "no answer")
        if self.refuses:
            self.refused += 1
            raise ApiError(self.refuses, "you may not list pods")
        self.lists[path] = self.lists.get(path, 0) + 1
        return {"items": [], "metadata": {"resourceVersion": "1"}}

    def answer(
        self, _: str, query: Mapping[str, str] | None = None, *, seconds: float
    ) -> tuple[int, bytes]:
        assert query == {"limit": "1"}
        assert seconds < 15
        if self.silent:
            raise ApiError(0, "no answer")
        return self.status, b""

    def watch(
        self, path: str, _: Mapping[str, str], __: str, stop: threading.Event
    ) -> Iterator[tuple[str, Any]]:
        """Say what there is to say and then nothing, as a connection that nobody cuts does."""
        while not stop.is_set():
            if self.said.get(path) and not self.silent:
                yield self.said[path].pop(0)
            threading.Event().wait(0.01)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.02)
    return Server()


@contextmanager
def mirrored(server: Server) -> Iterator[Informer]:
    with Informer(cast("Cluster", server), [WEB]) as it:
        becomes(lambda: it.complete and it.beats > 0, "complete")
        yield it


def becomes(ready: Callable[[], bool], what: str) -> None:
    wait_until(ready, what=what, timeout=SECONDS)


def test_one_that_is_answered_is_current_and_its_clock_goes(server: Server) -> None:
    with mirrored(server) as it:
        before = it.heard
        becomes(lambda: it.heard > before, "the clock goes")
        assert it.lost_for == 0
        assert set(server.lists.values()) == {1}


@pytest.mark.parametrize("how", ["no answer", "its store is away"])
def test_a_silent_server_stops_the_clock_though_no_connection_is_cut(
    server: Server, how: str
) -> None:
    with mirrored(server) as it:
        if how == "no answer":
            server.silent = True
        else:
            server.status = 503
        becomes(lambda: it.lost_for > 0, "lost")
        assert it.loss in {"no answer", "the API server answers 503"}


def test_after_a_silence_everything_is_read_anew_and_the_silence_is_no_time(server: Server) -> None:
    with mirrored(server) as it:
        server.silent = True
        becomes(lambda: it.lost_for > 0.2, "lost")
        heard = it.heard
        server.silent = False
        becomes(lambda: it.lost_for == 0, "current again")
        assert all(count > 1 for count in server.lists.values())
        assert it.silent >= 0.2
        becomes(lambda: it.heard > heard, "the clock goes on")


def test_a_probe_during_a_silence_is_not_known_to_have_been_answered(server: Server) -> None:
    import time

    with mirrored(server) as it:
        server.silent = True
        becomes(lambda: it.lost_for > 0, "lost")
        then = time.monotonic()
        assert not it.was_heard(then, then)
        server.silent = False
        becomes(lambda: it.lost_for == 0, "current again")
        assert not it.was_heard(then, then)
        later = time.monotonic()
        becomes(lambda: it.was_heard(later, later), "heard again")


@pytest.mark.parametrize("code", [401, 403])
def test_one_that_may_never_read_says_so_at_once(server: Server, code: int) -> None:
    server.refuses = code
    with Informer(cast("Cluster", server), [WEB]) as it:
        becomes(lambda: it.refusal is not None, "refused")
        assert it.refusal == "you may not list pods"


def test_a_server_that_was_started_anew_may_refuse_for_a_moment(server: Server) -> None:
    # Its roles are read after its port is open; until then it knows nobody.
    with mirrored(server) as it:
        server.silent = True
        becomes(lambda: it.lost_for > 0, "lost")
        server.refuses, server.silent = 403, False
        becomes(lambda: server.refused > len(server.lists), "refused")
        assert it.refusal is None
        assert it.lost_for > 0
        server.refuses = 0
        becomes(lambda: it.lost_for == 0, "current again")
        assert it.refusal is None


def test_a_refusal_that_lasts_is_one(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REFUSED_SECONDS", 0.2)
    with mirrored(server) as it:
        server.silent = True
        becomes(lambda: it.lost_for > 0, "lost")
        server.refuses, server.silent = 403, False
        becomes(lambda: it.refusal == "you may not list pods", "refused")


@pytest.mark.parametrize(
    ("ready", "container", "doubted"),
    [("False", True, True), ("True", True, False), ("False", False, False)],
)
def test_a_pod_that_only_the_control_plane_calls_unready_is_noticed(
    server: Server, ready: str, container: bool, doubted: bool
) -> None:
    pod = {
        "metadata": {"uid": "p"},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}],
            "containerStatuses": [{"name": "web", "ready": container}],
        },
    }
    with mirrored(server) as it:
        server.said["/api/v1/namespaces/team/pods"] = [("MODIFIED", pod)]
        becomes(lambda: "p" in it.pods("team"), "seen")
        assert it.doubted_since(0.0) is doubted
        assert not it.doubted_since(float("inf"))


class TestAnAnswerThatIsNone:
    """What lies between may answer in the API server's place, in words of its own."""

    @pytest.mark.parametrize("answer", [None, {"items": [{}]}, {"items": 7}, {"metadata": None}])
    def test_is_asked_for_again_and_no_thread_ends(self, server: Server, answer: Any) -> None:
        right, wrong = server.get, [True] * 3

        def get(path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
            if path.endswith("/pods") and wrong:
                wrong.pop()
                return cast("dict[str, Any]", answer)
            return right(path, query)

        cast("Any", server).get = get
        with mirrored(server) as it:
            assert not wrong
            becomes(lambda: it.lost_for == 0, "current")

    def test_is_a_loss_as_long_as_it_lasts(self, server: Server) -> None:
        def get(path: str, _: Mapping[str, str] | None = None) -> dict[str, Any]:
            return json.loads("<html>502</html>") if path.endswith("/pods") else {"items": 7}

        cast("Any", server).get = get
        with Informer(cast("Cluster", server), [WEB]) as it:
            becomes(lambda: it.lost_for > 0.1, "lost")
            assert not it.complete
            assert "cannot be read" in it.loss

    def test_to_the_small_question_is_silence(self, server: Server) -> None:
        def answer(*_: Any, **__: Any) -> tuple[int, bytes]:
            raise KeyError("status")

        with mirrored(server) as it:
            cast("Any", server).answer = answer
            becomes(lambda: it.lost_for > 0, "lost")
            assert "KeyError: 'status'" in it.loss


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("Deployment", {"deployments", "replicasets", "pods"}),
        ("StatefulSet", {"statefulsets", "pods"}),
        ("DaemonSet", {"daemonsets", "controllerrevisions", "pods"}),
        ("Job", {"jobs", "pods"}),
    ],
)
def test_no_more_is_read_than_what_is_of_the_kinds_that_run(
    server: Server, kind: str, read: set[str]
) -> None:
    # A role need not allow more than what a stack has.
    with Informer(cast("Cluster", server), [Workload(namespace="team", name="a", kind=kind)]) as it:
        becomes(lambda: it.complete, "complete")
        assert {path.rpartition("/")[2] for path in server.lists} == read


def test_workloads_of_one_name_and_other_kinds_are_told_apart(server: Server) -> None:
    def listed(path: str, _: Mapping[str, str] | None = None) -> dict[str, Any]:
        plural, uid = path.rpartition("/")[2], path.rpartition("/")[2]
        owner = [{"controller": True, "uid": "deployments"}]
        found = {
            "deployments": [{"metadata": {"name": "a", "uid": uid}}],
            "statefulsets": [{"metadata": {"name": "a", "uid": uid}}],
            "replicasets": [{"metadata": {"name": "a-1", "uid": "rs", "ownerReferences": owner}}],
            "pods": [
                {
                    "metadata": {
                        "name": name,
                        "uid": name,
                        "ownerReferences": [{"controller": True, "uid": of}],
                    }
                }
                for name, of in (("of-deployment", "rs"), ("of-set", "statefulsets"))
            ],
        }
        return {"items": found[plural], "metadata": {"resourceVersion": "1"}}

    cast("Any", server).get = listed
    both = [Workload(namespace="team", name="a", kind=it) for it in ("Deployment", "StatefulSet")]
    with Informer(cast("Cluster", server), both) as it:
        becomes(lambda: it.complete, "complete")
        snapshots = [it.snapshot(workload) for workload in both]
    for workload, found in zip(both, snapshots, strict=True):
        assert found == read_snapshot(cast("Cluster", server), workload)
    assert [found.kind for found in snapshots] == ["Deployment", "StatefulSet"]
    assert [[pod["metadata"]["name"] for pod in found.pods] for found in snapshots] == [
        ["of-deployment"],
        ["of-set"],
    ]
