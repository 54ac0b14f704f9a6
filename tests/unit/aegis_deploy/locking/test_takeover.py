"""What is said of an error that comes up after an update was done, or cut short."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.model.events import Outcome
from aegis_deploy.stack.session import Session
from tests.unit.aegis_deploy.stage import outcome, step

MISSING = AegisError(what="the backend cannot be reached", next="see that it is up")


def worded(came_to: Outcome | None, error: AegisError) -> AegisError:
    """What is told of an error once the work had an update; None for one that did not end."""
    turn = Takeover(cast("Session", None), cast("Output", None))

    def run(_: object) -> Outcome:
        if came_to is None:
            raise SystemExit
        return came_to

    with suppress(SystemExit):
        turn.noting(run)(lambda _: None)
    made = replace(error)
    turn._word(made)
    return made


@pytest.mark.parametrize(
    ("came_to", "state"),
    [
        (None, "the update was cut short"),
        (outcome(False, killed=True), "the update was cut short"),
        (outcome(), "an update had changed what runs"),
        (outcome(False, steps=(step(),)), "an update had changed what runs"),
    ],
    ids=["it did not end", "it was killed", "it succeeded", "it failed in its middle"],
)
def test_an_error_that_knows_of_no_change_is_told_that_there_was_one(
    came_to: Outcome | None, state: str
) -> None:
    error = worded(came_to, MISSING)
    assert error.state.startswith(state)
    assert error.next == "see that it is up\nonce that is mended: aegis recover"
    assert (error.code, error.again) == (ExitCode.NOT_ROLLED_BACK, True)
    again = worded(came_to, replace(MISSING, next="make room, then: aegis recover"))
    assert again.next == "make room, then: aegis recover"


def test_one_after_an_update_that_changed_nothing_is_as_it_was() -> None:
    assert worded(outcome(False), MISSING) == MISSING


def test_an_error_that_knows_better_is_left_alone() -> None:
    error = AegisError(what="not healthy", state="between two releases", next="aegis status")
    assert worded(outcome(), error) == error


def test_a_recovery_that_is_refused_does_not_say_that_nothing_was_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turn = Takeover(cast("Session", None), cast("Output", None))
    monkeypatch.setattr(turn, "_claimed", lambda *_, **__: nullcontext(SimpleNamespace()))
    with pytest.raises(AegisError) as caught, turn.recovering("recovery"):
        raise replace(MISSING)
    assert caught.value.state == "nothing that runs was changed"
    assert caught.value.code is ExitCode.REFUSED
