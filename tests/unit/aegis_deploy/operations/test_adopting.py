"""Looking, for the flows, whether what they are about to make is there already."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.flows import marking
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.history import stack_history
from aegis_deploy.kubernetes.client import ApiError, Cluster
from aegis_deploy.model.events import Changes, Step
from aegis_deploy.model.release import Release
from aegis_deploy.operations.adopting import Adopting
from aegis_deploy.replay.model import Replay
from aegis_deploy.replay.planning import plan
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.made_backend import MadeBackend, deployment
from tests.unit.aegis_deploy.replay.test_adoption import Fake, live, recorded
from tests.unit.aegis_deploy.states import CONFIG_KIND, DEFAULT, state


@pytest.fixture
def backend(tmp_path: Path) -> MadeBackend:
    """One release with two ConfigMaps, of which the state has one."""
    made = MadeBackend(tmp_path)
    made.update(state=state(recorded("alpha", "1"), recorded("beta", "2")))
    made.leave(state(recorded("alpha", "1")))
    return made


class Looking:
    """An `Adopting` whose cluster and words a test has in hand."""

    def __init__(self, session: Session, cluster: Any) -> None:
        self.session = session
        self.messages = io.StringIO()
        out = Output(results=io.StringIO(), messages=self.messages)
        clusters = Clusters(session, ambient=lambda: cast(Cluster, cluster))
        self.adopting = Adopting(session, out, clusters)

    @property
    def release(self) -> Release:
        return stack_history.releases(self.session)[-1]

    def of_replay(self) -> tuple[Replay, Any]:
        both = checkpoint.both(self.session, self.release)
        planned = plan(*both)
        return planned, self.adopting.of_replay(planned, both, self.release)


def changes(*urns: str, op: str = "create") -> Changes:
    """A preview that shows one operation on some resources."""
    steps = [Step(op=op, urn=urn, type=CONFIG_KIND, name=urn.rpartition("::")[2]) for urn in urns]
    return Changes(tuple(steps), {op: len(urns)}, ())


ALPHA, BETA = (recorded(name, "")["urn"] for name in ("alpha", "beta"))


def test_a_replay_is_told_what_is_there(backend: MadeBackend) -> None:
    found = Looking(backend.session(), Fake(beta=live("2"))).of_replay()[1]
    assert list(found.ours) == [BETA]


class Silent(Fake):
    """A cluster that does not answer."""

    def get(self, path: str) -> dict[str, Any]:
        raise ApiError(0, f"{path}: no answer")


def test_a_cluster_that_does_not_answer_is_told_and_refuses_nothing(backend: MadeBackend) -> None:
    looking = Looking(backend.session(), Silent())
    planned, found = looking.of_replay()
    assert not found
    assert not planned.adopted
    assert "is not known" in looking.messages.getvalue()
    assert looking.adopting.of_update(changes(BETA)) == ()


class TestAnUpdateOfTheProgram:
    """Only what it would make, and the last release had, is looked for."""

    def test_is_given_the_records_of_what_is_there(self, backend: MadeBackend) -> None:
        looking = Looking(backend.session(), Fake(beta=live("2")))
        (record,) = looking.adopting.of_update(changes(BETA))
        assert (record.urn, record.id, record.provider) == (BETA, "shop/beta", f"{DEFAULT}::1")

    @pytest.mark.parametrize("preview", [changes(ALPHA), changes(BETA, op="same"), changes()])
    def test_asks_nobody_otherwise(self, backend: MadeBackend, preview: Changes) -> None:
        cluster = Fake(beta=live("2"))
        assert Looking(backend.session(), cluster).adopting.of_update(preview) == ()
        assert cluster.asked == []

    def test_makes_what_is_not_there(self, backend: MadeBackend) -> None:
        assert Looking(backend.session(), Fake()).adopting.of_update(changes(BETA)) == ()

    def test_is_refused_what_is_somebody_else_s(self, backend: MadeBackend) -> None:
        looking = Looking(backend.session(), Fake(beta=live("3", "helm")))
        with pytest.raises(AegisError, match="not this stack's") as refused:
            looking.adopting.of_update(changes(BETA))
        assert refused.value.next

    def test_is_not_kept_by_a_record_that_cannot_be_read(self, backend: MadeBackend) -> None:
        backend.file(backend.keys[-1], "checkpoint").write_text("{")
        looking = Looking(backend.session(), Fake(beta=live("2")))
        assert looking.adopting.of_update(changes(BETA)) == ()
        assert "is not known" in looking.messages.getvalue()


@pytest.mark.parametrize(
    "last",
    [
        {"environment": {"pulumi.flag.exclude": "set"}},
        {"kind": "resource-import"},
        {"kind": "destroy"},
    ],
)
def test_what_is_no_whole_release_is_never_marked(tmp_path: Path, last: dict[str, Any]) -> None:
    backend = MadeBackend(tmp_path)
    backend.update(state=deployment(), **last)
    session, messages = backend.session(), io.StringIO()
    out = Output(results=io.StringIO(), messages=messages)
    flow = FlowContext.of(session, out, Signals())
    marking.mark_verified(flow, stack_history.releases(session)[0])
    assert not session.tags()
    assert "no whole release" in messages.getvalue()
    assert "aegis deploy --stack staging" in messages.getvalue()
