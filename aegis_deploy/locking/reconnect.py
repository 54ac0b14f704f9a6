"""Having a stack's providers connect as its program says now, where what is recorded is refused.

A refresh asks with the credentials in the state. Once those were rotated, nothing that begins with
a refresh gets anywhere, and who is locked out so cannot even go back. What the present program says
is put into the state by an update of the providers and of nothing else, which reads nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.events import Outcome
from aegis_deploy.stack.checkpoint import outline

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

MESSAGE = "aegis: providers connect as the settings say now"
_REFUSED = re.compile(
    r"\b40[13]\b|\bunauthori[sz]ed\b|\bforbidden: User\b|\baccess ?denied\b"
    r"|client to provide credentials|invalid_grant|\bunauthenticated\b"
    r"|(?:token|credential|session)\w* (?:\w+ ){0,3}(?:expired|revoked|invalid)"
    r"|(?:expired|invalid)(?:client)?token|unrecognizedclient|authfailure",
    re.IGNORECASE,
)
"""What providers say whose credentials are refused: Kubernetes, HTTP, AWS, OAuth.

A quota or an admission webhook forbids, too; but it does not say whom it does not let in."""


def is_refused(outcome: Outcome) -> bool:
    """Whether an update came to nothing since credentials were refused."""
    failed = not outcome.succeeded and not outcome.stopped and not outcome.touched
    return failed and any(says_refused(it.message) for it in outcome.failures)


def says_refused(text: str) -> bool:
    """Whether a text tells of credentials that are refused."""
    return _REFUSED.search(text) is not None


def reconnect(session: Session) -> bool:
    """Have the providers connect as the program says now; nothing else is changed.

    Args:
        session: The stack, claimed.

    Returns:
        Whether any of them connects otherwise than before.

    Raises:
        AegisError: The program cannot be run, or its providers cannot be made.
    """
    before = _providers(session)
    if not before:
        return False
    outcome = session.update(message=MESSAGE, targets=tuple(before))
    if not outcome.succeeded:
        raise AegisError(
            what=f"the credentials that the state of {session.name} holds are refused, and the "
            "program could not be run to learn the present ones",
            why=outcome.why,
            state="nothing that runs was changed",
            next=f"correct that, then the same command; `pulumi up --stack {session.name}` asks "
            "nobody with those of before, but deploys",
        )
    return _providers(session) != before


def reconnected(
    session: Session, outcome: Outcome, warn: Callable[[str], None] | None = None
) -> bool:
    """Whether an update came to nothing for its credentials, and now there are others.

    Args:
        session: The stack, claimed.
        outcome: What became of the update.
        warn: Told that it is tried once more, where somebody is to know.

    Raises:
        AegisError: As `reconnect` does.
    """
    if not is_refused(outcome) or not reconnect(session):
        return False
    if warn is not None:
        warn(
            f"{outcome.why.splitlines()[0]}\nthe credentials that were recorded are refused; "
            "once more, with those that the settings have now"
        )
    return True


def _providers(session: Session) -> dict[str, str]:
    """The providers in the state, and what each is given; secrets encrypted."""
    return {
        it["urn"]: repr(sorted((it.get("inputs") or {}).items()))
        for it in session.resources()
        if outline(it).is_provider and outline(it).alive
    }
