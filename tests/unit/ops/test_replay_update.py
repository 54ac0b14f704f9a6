"""Carrying a replay out: what goes first in updates of its own, then the rest."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from ops.errors import AegisError, ExitCode
from ops.events import Outcome
from ops.replay import plan
from ops.replay_update import carry_out
from tests.unit.ops.stage import outcome, step
from tests.unit.ops.states import CONFIG_KIND, made, thing

WEBHOOK = "kubernetes:admissionregistration.k8s.io/v1:ValidatingWebhookConfiguration"
QUOTA = "kubernetes:core/v1:ResourceQuota"
GUARD, LIMIT, WEB = thing(WEBHOOK, "guard"), thing(QUOTA, "limit"), thing(CONFIG_KIND, "web")
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


def carried(session: Session, *, stops: bool = False) -> tuple[Outcome, int]:
    """Carry a replay out; return what it came to, and how often something was cleared."""
    cleared: list[int] = []
    done = carry_out(
        cast("Any", session),
        plan(made(WEB), made(GUARD, LIMIT, WEB)),
        message=MESSAGE,
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
