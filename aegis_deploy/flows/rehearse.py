"""Trying a migration on a copy of a stack's database, by the release's own migration.

Nothing of the stack is changed, so that nobody's turn is waited for: a Job in its namespace makes
the copy, tries, and drops it, so that nobody here needs the database's password.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.flows.contract import quoted, refusing
from aegis_deploy.kubernetes.client import require_answer
from aegis_deploy.model.database import schema
from aegis_deploy.model.migration import rehearsal
from aegis_deploy.operations import schema_job
from aegis_deploy.operations.schema_job import LostError, SchemaJob

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.migration.rehearsal import Rehearsal


@dataclass(frozen=True, kw_only=True)
class RehearseRequest:
    """What was asked for.

    Attributes:
        image_digest: The image whose migration is tried; None means that of what runs, which has
            its contracts before it alone.
    """

    image_digest: str | None = None


def rehearse(flow: FlowContext, request: RehearseRequest) -> Rehearsal:
    """Try what is pending on a copy.

    Raises:
        AegisError: It cannot be tried, or nobody knows what came of it.
    """
    stack = flow.session.name
    resources = flow.session.resources()
    migration = schema_job.find(resources, stack, says=schema.REHEARSE_ARGS)
    if request.image_digest is not None:
        migration = replace(migration, image_digest=request.image_digest)
    flow.clusters.see(resources)
    cluster = flow.clusters.at(migration.provider)
    require_answer(cluster, stack)
    job = SchemaJob(
        cluster, migration, lambda line: None if line.startswith("{") else flow.out.say(line)
    )
    with refusing(stack, migration):
        name = job.begin(schema_job.REHEARSE, "x")
    goes_on = f"nothing was changed; Job {name} ends by itself, and drops its copy"
    try:
        with flow.out.progress(f"Job {name} tries the migration on a copy"):
            ended = job.follow(name)
    except Interrupted as signal:
        raise AegisError(
            what=f"stopped by {signal}", state=goes_on, code=ExitCode.INTERRUPTED
        ) from None
    except LostError as error:
        raise AegisError(
            what=f"the cluster of {stack} does not say what became of Job {name}",
            why=str(error),
            state=goes_on,
            next="once it answers and that has ended, rehearse again",
        ) from error
    found = rehearsal.of_log(ended.log)
    if found is None:
        raise AegisError(
            what=f"the migration of {stack} could not be rehearsed",
            why=quoted(ended),
            state="nothing was changed",
            next="mend what it names; docs/schema.md says what a rehearsal needs",
        )
    return found
