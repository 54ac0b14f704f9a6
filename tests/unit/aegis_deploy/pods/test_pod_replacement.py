"""Exactly the pod in the way is deleted, only as the one that was looked at, and told of."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.events import Event
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.pods.onward import Onward
from aegis_deploy.pods.pod_replacement import Replacement, concerned
from aegis_deploy.pods.stuck_pods import Stuck
from aegis_deploy.stack.checkpoint import Resource, outline
from lab.command import wait_until
from tests.unit.aegis_deploy.sets import CRASHED, NEW, OLD, pod, stateful_set
from tests.unit.aegis_deploy.stage import step
from tests.unit.aegis_deploy.states import made, thing, urn
from tests.unit.aegis_deploy.two_clusters import GATE, NAMES, at, two_apis, workload

SET = "kubernetes:apps/v1:StatefulSet"
DB = Workload(namespace="shop", name="db", kind="StatefulSet")
PATH = "/api/v1/namespaces/shop/pods/db-1"
BROKEN = pod("db-1", OLD, ready=False, state=CRASHED, restarts=1)
SECONDS = 60.0


def resource() -> Resource:
    found = made(thing(SET, "db"))
    return next(it for it in found.resources if it.type == SET)


@dataclass
class Server:
    """An API server with one StatefulSet, whose template is restored and whose pod is broken.

    Attributes:
        answers: What deletions are answered with, one after the other; then they are done.
        deleted: The path and the uid of each deletion that was asked for.
        gone: Whether one was done.
        tells: Whether a deletion that was done is told of.
    """

    answers: list[ApiError] = field(default_factory=list)
    deleted: list[tuple[str, str]] = field(default_factory=list)
    gone: bool = False
    tells: bool = True
    held: Any = field(default_factory=lambda: stateful_set(pod("db-0"), BROKEN))

    def get(self, path: str, _: Mapping[str, str] | None = None) -> dict[str, Any]:
        items = {
            "/apis/apps/v1/namespaces/shop/statefulsets": [self.held.live],
            "/api/v1/namespaces/shop/pods": list(self.held.pods),
        }
        return {"items": items[path], "metadata": {"resourceVersion": "1"}}

    def answer(self, *_: object, **__: object) -> tuple[int, bytes]:
        return 200, b""

    def watch(
        self, path: str, _: Mapping[str, str], __: str, stop: threading.Event
    ) -> Iterator[tuple[str, Any]]:
        told = False
        while not stop.is_set():
            if path.endswith("/pods") and self.gone and self.tells and not told:
                told = True
                yield "DELETED", BROKEN
                yield "ADDED", pod("db-1", NEW)
            threading.Event().wait(0.01)

    def delete(self, path: str, *, uid: str) -> None:
        self.deleted.append((path, uid))
        if self.answers:
            raise self.answers.pop(0)
        self.gone = True


@dataclass
class Told:
    """What was told, and whether the stack is somebody else's by now."""

    words: list[str] = field(default_factory=list)
    replaced: list[Stuck] = field(default_factory=list)
    overtaken: bool = False
    asked: int = 0

    def require(self) -> None:
        self.asked += 1
        if self.overtaken:
            raise AegisError(what="somebody took it over")


@contextmanager
def replacing(server: Server, told: Told, onward: Onward | None = None) -> Iterator[Replacement]:
    it = Replacement(
        cast("Cluster", server),
        {DB: resource().urn},
        GateSettings(),
        onward,
        require=told.require,
        on_replaced=told.replaced.append,
        tell=told.words.append,
    )
    with it:
        yield it


def begins(op: str = "same", of: str = "db") -> Event:
    return Event("begins", step=step(op, diffs=(), type=SET), urn=urn(SET, of))


def becomes(ready: Callable[[], bool], what: str) -> None:
    wait_until(ready, what=what, timeout=SECONDS)


def test_the_pod_in_the_way_is_deleted_once_as_the_one_it_is_and_told_of() -> None:
    server, told = Server(), Told()
    with replacing(server, told) as it:
        it.hear(begins())
        becomes(lambda: bool(it.replaced), "replaced")
    assert server.deleted == [(PATH, f"db-1 {OLD}")]
    assert told.asked == 1
    assert [str(it) for it in told.replaced] == ["pod db-1 of StatefulSet db"]
    (line,) = told.words
    assert line.startswith("replaced pod db-1 of StatefulSet db, which kept it from going back: ")
    assert "ended with exit code 3" in line
    assert it.replaced == [line.removeprefix("replaced ")]


def test_one_that_was_deleted_is_not_deleted_again_before_that_is_heard() -> None:
    server, told = Server(tells=False), Told()
    with replacing(server, told) as it:
        it.hear(begins())
        becomes(lambda: bool(it.replaced), "replaced")
        it._look()
    assert len(server.deleted) == len(told.replaced) == 1


@pytest.mark.parametrize(
    "event", [begins("refresh"), begins(of="other"), Event("says", urn=urn(SET, "db"))]
)
def test_none_is_before_the_update_comes_to_the_workload(event: Event) -> None:
    server, told = Server(), Told()
    with replacing(server, told) as it:
        it.hear(event)
        it._look()
        assert it._informer.complete
    assert (server.deleted, told.words) == ([], [])


def test_none_is_once_the_stack_is_somebody_elses() -> None:
    server, told = Server(), Told(overtaken=True)
    with replacing(server, told) as it:
        it.hear(begins())
        becomes(lambda: not it._thread.is_alive(), "ended")
    assert (server.deleted, told.replaced) == ([], [])


@pytest.mark.parametrize("code", [404, 409])
def test_one_that_is_gone_or_another_by_now_is_none_of_ours(code: int) -> None:
    server, told = Server([ApiError(code, "no")]), Told()
    with replacing(server, told) as it:
        it.hear(begins())
        becomes(lambda: bool(it._done), "asked")
        it._look()
    assert len(server.deleted) == 1
    assert (told.words, told.replaced) == ([], [])


def test_who_may_not_delete_it_says_what_is_to_be_typed_once() -> None:
    server, told = Server([ApiError(403, "pods is forbidden")]), Told()
    with replacing(server, told) as it:
        it.hear(begins())
        becomes(lambda: bool(told.words), "told")
        it._look()
    assert len(server.deleted) == 1
    (words,) = told.words
    assert "may not be deleted: pods is forbidden" in words
    assert words.endswith("kubectl delete pod db-1 --namespace shop")


def test_a_server_that_says_nothing_is_asked_again() -> None:
    server, told = Server([ApiError(0, "no answer"), ApiError(503, "starting")]), Told()
    with replacing(server, told) as it:
        it.hear(begins())
        becomes(lambda: bool(it.replaced), "replaced")
    assert len(server.deleted) == 3


def test_an_update_that_goes_forward_says_so_of_what_it_replaces() -> None:
    server, told = Server(), Told()
    with replacing(server, told, Onward({DB: resource().urn})) as it:
        it.hear(begins())
        becomes(lambda: bool(it.replaced), "replaced")
    assert server.deleted == [(PATH, f"db-1 {OLD}")]
    (line,) = told.words
    assert line.startswith("replaced pod db-1 of StatefulSet db, which kept it from going on: ")


def test_a_verified_releases_pod_is_left_and_what_a_person_can_type_is_said_once() -> None:
    server, told = Server(), Told()
    verified = Onward({DB: resource().urn}, {DB: frozenset({OLD})})
    with replacing(server, told, verified) as it:
        it.hear(begins())
        becomes(lambda: bool(told.words), "told")
        it._look()
    assert (server.deleted, told.replaced, it.replaced) == ([], [], [])
    (words,) = told.words
    first = "pod db-1 of StatefulSet db keeps it from going on, and is left, for it may be of a"
    assert words.startswith(f"{first} release that is verified")
    assert "ended with exit code 3" in words
    assert words.endswith("kubectl delete pod db-1 --namespace shop")


def test_only_what_is_no_deployment_is_looked_at() -> None:
    web = Workload(namespace="shop", name="db")
    assert concerned({DB: resource(), web: resource()}) == {DB: resource().urn}


def test_the_pod_in_the_way_is_deleted_in_its_own_cluster() -> None:
    apis = two_apis()
    kind = "StatefulSet"
    both = [workload(name, kind=kind) for name in NAMES]
    pods: tuple[dict[str, Any], ...]
    for name, pods in (
        ("east", (pod("web-0"), pod("web-1"))),
        ("west", (pod("web-0"), pod("web-1", OLD, ready=False, state=CRASHED, restarts=1))),
    ):
        held = stateful_set(*pods)
        live = json.loads(json.dumps(held.live))
        live["metadata"]["name"] = "web"
        apis[name].lists["/apis/apps/v1/namespaces/shop/statefulsets"] = [live]
        apis[name].lists["/api/v1/namespaces/shop/pods"] = list(pods)
    assert NEW != OLD
    declared = {it: outline(_set(it.cluster)) for it in both}
    told: list[str] = []
    done = threading.Event()

    def tell(line: str) -> None:
        told.append(line)
        done.set()

    with Replacement(
        at(apis),
        concerned(declared),
        GATE,
        require=lambda: None,
        on_replaced=lambda _: None,
        tell=tell,
    ) as it:
        for resource in declared.values():
            begun = step("same", urn=resource.urn, type=resource.type)
            it.hear(Event("begins", step=begun, urn=resource.urn))
        assert done.wait(60)
    assert (apis["east"].changed, len(apis["west"].changed)) == ([], 1)
    assert apis["west"].changed[0].startswith("/api/v1/namespaces/shop/pods/web-1 ")
    assert told[0].startswith("replaced pod web-1 of StatefulSet web (provider west), ")


def _set(cluster: str) -> dict[str, Any]:
    it: dict[str, Any] = thing("kubernetes:apps/v1:StatefulSet", f"web-{cluster}")
    return it
