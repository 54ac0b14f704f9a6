"""Carrying a replay out: what goes first in updates of its own, then all the rest in one.

To whoever deploys it is one update: it is watched as one, fails as one, and its record is that of
the last. The history keeps the others as a rollback that was begun; see `model.release.BEGUN`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.model.events import Outcome, UpdateFailure
from aegis_deploy.model.release import beginning

if TYPE_CHECKING:
    from aegis_deploy.model.events import OnEvent
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.stack.session import Session


def register(replay: Replay, settle: Callable[[], str | None] | None = None) -> Callable[[], Any]:
    """The program `replay.program.registering`; Pulumi's SDK is imported once it is run.

    Args:
        replay: The replay.
        settle: Waits until what was registered serves; returns why it never will.
    """

    def run() -> Any:  # noqa: ANN401 - whatever the program returns
        from aegis_deploy.replay.program import registering

        return registering(replay, settle)()

    return run


def clear(replay: Replay) -> Callable[[], Any]:
    """The program `replay.program.clearing`, likewise.

    Args:
        replay: The replay.
    """

    def run() -> Any:  # noqa: ANN401 - whatever the program returns
        from aegis_deploy.replay.program import clearing

        return clearing(replay)()

    return run


def carry_out(
    session: Session,
    replay: Replay,
    *,
    message: str,
    refresh: bool,
    settle: Callable[[], str | None],
    on_event: OnEvent,
    on_cleared: Callable[[], None],
    stopped: Callable[[], bool],
) -> Outcome:
    """Carry a replay out; the state is prepared for it already.

    Args:
        session: The stack.
        replay: The replay.
        message: What history says about it.
        refresh: Whether the live objects are to be read first.
        settle: Waits until what was registered serves; returns why it never will.
        on_event: Told everything as it happens, on another thread.
        on_cleared: Called each time that something of what goes first is gone.
        stopped: Whether to begin no further update.

    Raises:
        AegisError: When it could not begin.
    """
    done: list[Outcome] = []
    try:
        for several in replay.first.goes:
            named = ", ".join(item.label for item in several)
            outcome = session.update(
                program=clear(replay),
                message=beginning(message, f"{named} goes before the rest"),
                targets=[item.urn for item in several],
                config=replay.settings,
                on_event=on_event,
            )
            done.append(outcome)
            if not outcome.succeeded:
                return _together(done)
            on_cleared()
            if stopped():
                return _cut_off(_together(done))
        done.append(
            session.update(
                program=register(replay, settle),
                message=message,
                refresh=refresh,
                exclude=replay.exclude,
                config=replay.settings,
                on_event=on_event,
            )
        )
    except AegisError as error:
        if done:
            error.state = "what could block the rest is gone; everything else is as it was"
            error.next = f"mend that, then: aegis recover --stack {session.name}"
            error.code = ExitCode.NOT_ROLLED_BACK
        raise
    return _together(done)


def _together(done: Sequence[Outcome]) -> Outcome:
    return replace(
        done[-1],
        started=done[0].started,
        duration=sum(it.duration for it in done),
        steps=tuple(step for it in done for step in it.steps),
    )


def _cut_off(outcome: Outcome) -> Outcome:
    why = "stopped once what could block the rest was gone"
    return replace(outcome, succeeded=False, stopped=True, failures=(UpdateFailure("", why),))
