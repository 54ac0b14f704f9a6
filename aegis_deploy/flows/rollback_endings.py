"""How a rollback is told that did not end with a verified release. Pure.

How far it was says what is true now, and what can be typed next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.flows.decisions import lost, unknown
from aegis_deploy.flows.rollback_report import command_to
from aegis_deploy.pulumi_cli.cli_errors import installing

if TYPE_CHECKING:
    from aegis_deploy.common.signals import Interrupted
    from aegis_deploy.model.release import Release
    from aegis_deploy.model.verdict import Verdict
    from aegis_deploy.operations.update_runner import Ran

_BETWEEN = "the stack is between two releases"


def images_gone(target: Release, images: Sequence[str]) -> AegisError:
    """Word a rollback that is refused, for images are gone from their registry."""
    return AegisError(
        what=f"release {target.number} cannot be restored",
        why="\n".join(f"its image is gone from the registry: {image}" for image in images),
        next="choose another release: aegis history",
    )


def interrupted(stack: str, target: Release, ran: Ran, *, began: bool) -> AegisError:
    """Word a rollback whose update a signal ended.

    Args:
        stack: The stack.
        target: The release.
        ran: The update.
        began: Whether anything that runs was changed.
    """
    return AegisError(
        what=f"the rollback of {stack} to release {target.number} was interrupted",
        why=ran.outcome.why,
        state=_and(_BETWEEN if began else "it changed nothing that runs", ran.serving),
        next=f"aegis recover --stack {stack}",
        code=ExitCode.INTERRUPTED,
    )


def cut_short(stack: str, target: Release, ran: Ran) -> AegisError:
    """Word a rollback whose update is killed again and again."""
    return AegisError(
        what=f"the rollback of {stack} to release {target.number} was cut short",
        why=ran.outcome.why,
        state=_and(_BETWEEN, ran.serving),
        next=f"see to what kills it; aegis recover --stack {stack} goes on with it",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def cluster_lost(stack: str, target: Release, verdict: Verdict) -> AegisError:
    """Word a rollback during which a cluster or the database stopped answering."""
    during, who = f"during the rollback to release {target.number}", verdict.silent
    why = "\n".join([verdict.reason, *verdict.evidence])
    # While it is the database that is silent, the cluster says what is ready.
    state = _and(unknown(who), verdict.serving if who == "database" else "")
    return lost(stack, during, why, who=who, state=state)


def unjudged(stack: str, target: Release, signal: Interrupted) -> AegisError:
    """Word a rollback whose judgement a signal ended."""
    return AegisError(
        what=f"stopped by {signal} while the gate judged the rollback",
        state=f"release {target.number} is restored; nobody has seen yet that it is healthy",
        next=f"aegis recover --stack {stack} lets the gate judge it",
        code=ExitCode.INTERRUPTED,
    )


def not_begun(stack: str, target: Release, why: str) -> AegisError:
    """Word a rollback whose update failed before it changed anything that runs."""
    missing = installing(why)
    following = f"{missing}, then" if missing else "correct that, then"
    return AegisError(
        what=f"the rollback of {stack} to release {target.number} could not begin",
        why=why,
        state="nothing that runs was changed",
        next=f"{following}: {command_to(target, stack)}",
    )


def incomplete(stack: str, target: Release, verdict: Verdict) -> AegisError:
    """Word a rollback of which something is held on its way out."""
    return AegisError(
        what=f"the rollback of {stack} to release {target.number} is not complete",
        why=verdict.reason,
        state=_and("everything else is restored, and NOT verified", verdict.serving),
        next="see to what holds it; once it is gone, this makes it again: "
        f"aegis recover --stack {stack}",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def unhealthy(stack: str, target: Release, why: str, serving: str = "") -> AegisError:
    """Word a rollback that did not come up healthy.

    Args:
        stack: The stack.
        target: The release.
        why: Why it did not.
        serving: What serves, in a few words.
    """
    return AegisError(
        what=f"THE ROLLBACK of {stack} to release {target.number} DID NOT COME UP HEALTHY",
        why=why,
        state=_and("the stack is NOT at a verified release", serving),
        next=f"aegis status --stack {stack}; a person is needed now\n"
        f"once the cause is gone: aegis recover --stack {stack}",
        code=ExitCode.NOT_ROLLED_BACK,
    )


def _and(state: str, serving: str) -> str:
    return f"{state}; {serving}" if serving else state
