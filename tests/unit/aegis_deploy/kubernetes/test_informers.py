"""Several live copies as one: it is known only as far as each of them is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from aegis_deploy.kubernetes import informer as module
from aegis_deploy.kubernetes.client import Cluster
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.informers import Informers, informer_of, reach
from aegis_deploy.model.workloads.rollout import Workload
from tests.unit.aegis_deploy.kubernetes.test_informer import Server, becomes

EAST, WEST = (Workload(namespace="team", name="web", cluster=it) for it in ("east", "west"))


@dataclass
class Named(Server):
    """An API server whose Deployments are called `web` and whose uids are its own."""

    name: str = ""

    def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        found = super().get(path, query)
        if path.endswith("/deployments"):
            found["items"] = [{"metadata": {"name": "web", "uid": self.name}}]
        if path.endswith("/pods"):
            found["items"] = [{"metadata": {"name": "web-1", "uid": f"pod of {self.name}"}}]
        return found


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Named]:
    monkeypatch.setattr(module, "_BEAT_SECONDS", 0.02)
    monkeypatch.setattr(module, "_AGAIN_SECONDS", 0.02)
    return {name: Named(name=name) for name in ("east", "west")}


def both(servers: dict[str, Named]) -> Informers:
    found = informer_of(lambda it: cast("Cluster", servers[it.cluster]), [EAST, WEST])
    assert isinstance(found, Informers)
    return found


def test_those_of_one_name_are_each_their_own_clusters(servers: dict[str, Named]) -> None:
    with both(servers) as it:
        it.first()
        assert it.complete
        assert [cast("Any", it.snapshot(w).live)["metadata"]["uid"] for w in (EAST, WEST)] == [
            "east",
            "west",
        ]
        assert it.pods("team") == {"pod of east", "pod of west"}


def test_the_silence_of_one_is_the_silence_of_all_and_it_is_named(
    servers: dict[str, Named],
) -> None:
    with both(servers) as it:
        becomes(lambda: it.complete and it.beats > 0, "complete")
        assert it.lost_for == 0
        servers["west"].silent = True
        becomes(lambda: it.lost_for > 0, "lost")
        heard, beats = it.heard, it.beats
        changes = it.wait(-1, 0)
        becomes(lambda: it.wait(changes, 0.01) != changes, "the other goes on")
        assert (it.heard, it.beats) == (heard, beats)
        assert it.loss == "no answer (provider west)"
        servers["west"].silent = False
        becomes(lambda: it.lost_for == 0 and it.beats > beats and it.heard > heard, "heard again")
        assert it.silent > 0


def test_one_that_may_not_be_watched_is_named(servers: dict[str, Named]) -> None:
    servers["west"].refuses = 403
    with both(servers) as it:
        becomes(lambda: it.refusal is not None, "refused")
        assert it.refusal == "you may not list pods (provider west)"
        assert not it.complete


def test_an_answer_counts_that_came_while_all_were_heard(servers: dict[str, Named]) -> None:
    with both(servers) as it:
        becomes(lambda: it.complete and it.beats > 0, "complete")
        servers["west"].silent = True
        becomes(lambda: it.lost_for > 0, "lost")
        now = it._all[1]._clock()
        becomes(lambda: it._all[0].was_heard(now, now), "the other is heard")
        assert not it.was_heard(now, now)
        assert not it.doubted_since(0)


def test_what_is_in_one_cluster_has_one_copy(servers: dict[str, Named]) -> None:
    one = cast("Cluster", servers["east"])
    assert isinstance(informer_of(one, [EAST, WEST]), Informer)
    assert isinstance(informer_of(lambda _: one, [EAST, WEST]), Informer)
    assert reach(one)(WEST) is one
