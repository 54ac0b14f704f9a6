"""Carrying a replay out: what goes first in updates of its own, then the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.model.events import Event, Outcome
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.pods.stuck_pods import Lookout
from aegis_deploy.replay.apply import carry_out
from aegis_deploy.replay.planning import plan
from tests.unit.aegis_deploy.sets import CRASHED, pod, stateful_set
from tests.unit.aegis_deploy.stage import outcome, step
from tests.unit.aegis_deploy.states import CONFIG_KIND, made, thing

WEBHOOK = "kubernetes:admissionregistration.k8s.io/v1:ValidatingWebhookConfiguration"
QUOTA = "kubernetes:core/v1:ResourceQuota"
GUARD, LIMIT, WEB = thing(WEBHOOK, "guard"), thing(QUOTA, "limit"), thing(CONFIG_KIND, "web")
DATABASE = thing("kubernetes:apps/v1:StatefulSet", "db")
MESSAGE = "aegis: automated rollback to release 3: it crashed"
BEGINS = "aegis: automated rollback to release 3 begins"


@dataclass
class Session:
    """A stack whose updates come to what they are told to."""

    outcomes: list[Outcome | AegisError]
    updates: list[dict[str, Any]] = field(default_factory=list)
    name = "s"

    def update(self, **options: Any) -> Outcome:
        self.updates.append(options)
        found = self.outcomes.pop(0)
        if isinstance(found, AegisError):
            raise found
        return found


def carried(session: Session, *, stops: bool = False, refresh: bool = True) -> tuple[Outcome, int]:
    """Carry a replay out; return what it came to, and how often something was cleared."""
    cleared: list[int] = []
    done = carry_out(
        cast("Any", session),
        plan(made(WEB), made(GUARD, LIMIT, WEB)),
        message=MESSAGE,
        refresh=refresh,
        settle=lambda: None,
        on_event=lambda _: None,
        on_cleared=lambda: cleared.append(1),
        stopped=lambda: stops,
    )
    return done, len(cleared)


def test_what_goes_first_goes_alone_and_all_of_it_counts_as_one() -> None:
    steps = [step(name) for name in "abc"]
    came = [outcome(steps=[it], recorded=it.op) for it in steps]
    session = Session(list(came))
    done, cleared = carried(session)
    assert [it.get("targets") for it in session.updates] == [[GUARD["urn"]], [LIMIT["urn"]], None]
    assert [it["message"] for it in session.updates] == [
        f"{BEGINS}: ValidatingWebhookConfiguration guard goes before the rest",
        f"{BEGINS}: ResourceQuota limit goes before the rest",
        MESSAGE,
    ]
    assert [it.get("refresh", False) for it in session.updates] == [False, False, True]
    assert (done.recorded, done.steps, done.duration) == ("c", tuple(steps), 4.5)
    assert cleared == 2


def test_what_is_as_it_was_recorded_is_not_read_once_more() -> None:
    session = Session([outcome()] * 3)
    carried(session, refresh=False)
    assert [it.get("refresh", False) for it in session.updates] == [False, False, False]


def test_a_pod_in_the_way_is_looked_for_only_once_what_keeps_others_from_coming_is_gone() -> None:
    """A quota that allows none of the restored pods, and a set whose pod of the bad release hangs.

    Deleted while the quota stands, the pod would be followed by none.
    """
    workload = Workload(namespace="shop", name="db", kind="StatefulSet")
    broken = pod("db-1", "db-bad", ready=False, state=CRASHED, restarts=2)
    bad = stateful_set(pod("db-0"), broken, status={"updateRevision": "db-bad"}, generation=3)
    restored = stateful_set(pod("db-0"), broken, generation=4)
    lookout = Lookout(workload, GateSettings())
    lookout.find(bad, 0.0)
    seen: list[tuple[str, str | None]] = []

    class Engine(Session):
        """Comes to the quota, and then to the set; the cluster is looked at meanwhile."""

        def update(self, **options: Any) -> Outcome:
            item = LIMIT if options.get("targets") else DATABASE
            op = "delete" if item is LIMIT else "update"
            self._note(Event("begins", step(op, urn=item["urn"]), urn=item["urn"]))
            for moment, snapshot in enumerate((bad,) if item is LIMIT else (bad, restored)):
                found = lookout.find(snapshot, 1000.0 * len(self.updates) + moment)
                name = item["urn"].rpartition("::")[2]
                seen.append((f"{op} {name}", None if found is None else found.pod))
            return super().update(**options)

        def _note(self, event: Event) -> None:
            if event.urn == DATABASE["urn"] and event.step is not None:
                lookout.begins(event.step)

    session = Engine([outcome(), outcome()])
    now = made(LIMIT, {**DATABASE, "inputs": {"spec": {"x": 2}}, "dependencies": [LIMIT["urn"]]})
    carry_out(
        cast("Any", session),
        plan(made(DATABASE), now),
        message=MESSAGE,
        refresh=True,
        settle=lambda: None,
        on_event=lambda _: None,
        on_cleared=lambda: None,
        stopped=lambda: False,
    )
    assert seen == [("delete limit", None), ("update db", None), ("update db", "db-1")]


def test_one_that_fails_is_followed_by_nothing() -> None:
    session = Session([outcome(), outcome(False, recorded="b")])
    done, cleared = carried(session)
    assert (done.succeeded, done.recorded) == (False, "b")
    assert (len(session.updates), cleared) == (2, 1)


def test_a_signal_between_two_is_not_lost() -> None:
    session = Session([outcome()])
    done, _ = carried(session, stops=True)
    assert (done.succeeded, done.stopped) == (False, True)
    assert done.why == "stopped once what could block the rest was gone"


def test_an_update_that_cannot_begin_after_another_is_not_one_that_changed_nothing() -> None:
    session = Session([outcome(), AegisError(what="the lock is held")])
    with pytest.raises(AegisError) as caught:
        carried(session)
    assert caught.value.code is ExitCode.NOT_ROLLED_BACK
    assert caught.value.next.endswith("aegis recover --stack s")
    error = AegisError(what="the lock is held")
    with pytest.raises(AegisError) as caught:
        carried(Session([replace(error)]))
    assert caught.value == error
