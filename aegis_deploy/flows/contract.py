"""Taking from a database what no release needs any more: what is done, in which order.

A contract never runs in a deploy: it ends the way back to every release that still uses what it
removes. So it is shown first what that is, and which releases those are; then the release's own
migration does it, as a Job in the stack's namespace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError, ExitCode
from aegis_deploy.common.signals import Interrupted
from aegis_deploy.history import schema_store, stack_history
from aegis_deploy.history.rollback_target import again, ways_back
from aegis_deploy.kubernetes.client import ApiError, require_answer
from aegis_deploy.locking.lock_holders import CONTRACT
from aegis_deploy.model.database import dataset as datasets
from aegis_deploy.model.database import schema
from aegis_deploy.model.database.schema import DatabaseSchema
from aegis_deploy.model.migration import contract_after, schema_plan
from aegis_deploy.model.migration.schema_plan import SchemaPlan
from aegis_deploy.operations import schema_job
from aegis_deploy.operations.schema_job import Ended, LostError, Migration, SchemaJob

if TYPE_CHECKING:
    from aegis_deploy.flows.context import FlowContext
    from aegis_deploy.model.release import Release

_QUOTED = 20
"""So many of the last lines of a log are quoted."""


@dataclass(frozen=True, kw_only=True)
class ContractRequest:
    """What was asked for.

    Attributes:
        preview: Whether to show what it would do, and no more.
        due: Whether to do it only where it is due by the setting `contractAfter`.
        yes: Whether to go on without asking.
        wait_seconds: How long to wait for another deployer.
    """

    preview: bool = False
    due: bool = False
    yes: bool = False
    wait_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ContractReport:
    """What a contract came to.

    Attributes:
        changed: Whether the database was changed.
        plan: What was to be done; None where a run was waited for that another began.
        database: What the database is now, or would be after it was only previewed.
        cut_off: The releases that cannot be gone back to any more.
        remaining: Those that can.
        job: The Job that did it; empty when none did.
        due_at: When it is due, where only that was asked for and something is pending.
    """

    changed: bool = False
    plan: SchemaPlan | None = None
    database: DatabaseSchema | None = None
    cut_off: tuple[int, ...] = ()
    remaining: tuple[int, ...] = ()
    job: str = ""
    due_at: datetime | None = None

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "changed": self.changed,
            "revisions": [] if self.plan is None else [it.as_json() for it in self.plan.revisions],
            "database": None if self.database is None else self.database.as_json(),
            "cutOff": list(self.cut_off),
            "remaining": list(self.remaining),
            "job": self.job or None,
            "dueAt": None if self.due_at is None else self.due_at.isoformat(),
        }


def contract(flow: FlowContext, request: ContractRequest) -> ContractReport:
    """Contract the database of what runs.

    Raises:
        AegisError: It was refused before any change, or failed.
    """
    if request.due:
        waits = _waits(flow)
        if waits:
            flow.out.show(waits)
            return ContractReport()
    with flow.takeover.claimed(CONTRACT, "migrate contract", request.wait_seconds):
        return _contract(flow, request)


def _contract(flow: FlowContext, request: ContractRequest) -> ContractReport:
    stack, releases = flow.session.name, stack_history.reading(flow.session)
    current = _verified(stack, releases)
    resources = flow.session.resources()
    migration = schema_job.find(resources, stack)
    flow.clusters.see(resources)
    cluster = flow.clusters.at(migration.provider)
    require_answer(cluster, stack)
    with refusing(stack, migration):
        running = SchemaJob(cluster, migration, flow.out.say).running()
    if running and request.preview:
        raise AegisError(what=f"a contract of {stack} is being run", why=f"Job {running}")
    if running:
        flow.out.say(f"Job {running} was begun before and has not ended")
        return _followed(flow, SchemaJob(cluster, migration, flow.out.say), running, None)
    plan = _planned(flow, SchemaJob(cluster, migration, lambda _: None), current, migration)
    if not plan.pending:
        flow.out.show("nothing to contract: the database is at this release's last revision")
        return ContractReport(plan=plan, database=plan.database)
    due = _due(flow, releases, current, plan) if request.due else None
    if due is not None and due > datetime.now(UTC):
        flow.out.show(f"not due before {due:%Y-%m-%d %H:%M} UTC: {_contract_after(flow)[0]}")
        return ContractReport(plan=plan, database=plan.database, due_at=due)
    report = replace(_announced(flow, plan, releases, current), due_at=due)
    if request.preview:
        return report
    if not request.yes and not flow.out.confirm(f"Contract the database of {stack} for good?"):
        raise AegisError(what="not confirmed", state="nothing was changed")
    flow.takeover.require()
    job = SchemaJob(cluster, migration, flow.out.say)
    with refusing(stack, migration):
        name = job.begin(schema_job.CONTRACT, str(plan.after.revision))
    done = _followed(flow, job, name, plan)
    return replace(report, changed=True, database=done.database, job=name)


def _waits(flow: FlowContext) -> str:
    """Say why nothing can be due, as far as nobody has to be asked for it; empty when it can.

    A schedule asks every day, of stacks that contract by hand as well: that is no failure.
    """
    given, _ = _contract_after(flow)
    if not given:
        return f"{flow.session.name} contracts by hand: {contract_after.SETTING} is not set"
    current = next((it for it in stack_history.reading(flow.session) if it.current), None)
    if current is None or not current.verified:
        return "not due: what runs is not verified"
    runs = stack_history.deployed(flow.session, current)
    known, code = schema_store.read(flow.session).of(runs.dataset), runs.schema
    if known and code and min(known.revision, known.least_head) >= code.head:
        return "nothing to contract: the database is at this release's last revision"
    return ""


def _contract_after(flow: FlowContext) -> tuple[str, timedelta]:
    """Read the setting, in words and as a time; empty and none where it is not set.

    Raises:
        AegisError: It is wrong.
    """
    name = f"{flow.session.project}:{contract_after.SETTING}"
    found = flow.program_update.settings().get(name)
    if found is None:
        return "", timedelta()
    try:
        return f"{name} is {found.value}", contract_after.FORM.parse(found.value)
    except ValueError as error:
        raise AegisError(
            what=f"the setting {name} is wrong",
            why=f"{found.shown} {error}",
            next=f"pulumi config set --stack {flow.session.name} {name} 7d",
        ) from error


def _due(
    flow: FlowContext, releases: Sequence[Release], current: Release, plan: SchemaPlan
) -> datetime:
    """Say when a contract is due: so long after nothing needs any more what it removes.

    Raises:
        AegisError: What a release deployed cannot be read.
    """
    _, after = _contract_after(flow)
    now = datetime.now(UTC)

    runs = stack_history.deployed(flow.session, current).dataset

    def fits(release: Release) -> bool:
        said = stack_history.deployed(flow.session, release)
        # Of what another data set's database loses, one that works on that one needs nothing.
        return said.dataset != runs or not schema.misfit(said.schema, plan.after)

    since = contract_after.done_without_since(releases, fits, enough=now - after)
    # What runs needs it: that is refused in words of its own, whenever it is due.
    return (since or current.ended or current.started) + after


def _verified(stack: str, releases: Sequence[Release]) -> Release:
    """Return what runs, which has to be good: there may be no way back from it.

    Raises:
        AegisError: It is not verified.
    """
    current = next((it for it in releases if it.current), None)
    if current is None or not current.verified:
        runs = "nothing is deployed" if current is None else f"release {current.number} is not"
        raise AegisError(
            what=f"what runs in {stack} is not verified",
            why=f"{runs}; a contract may leave no release to go back to",
            next="aegis deploy, which has it judged; then contract",
        )
    return current


def _planned(
    flow: FlowContext, job: SchemaJob, current: Release, migration: Migration
) -> SchemaPlan:
    """Say what would be done: the migration itself says it, or it is the most that it could do.

    Raises:
        AegisError: It does not say it, or nobody knows.
    """
    stack, known = flow.session.name, flow.schema_reader.look()
    code = stack_history.deployed(flow.session, current).schema
    if migration.plan_args is None:
        if code is None:
            raise AegisError(
                what=f"nobody can say what works with the database of {stack} after a contract",
                why=f"no workload says {schema.HEAD} and {schema.LEAST}, and the migration has no "
                f"{schema.PLAN_ARGS}",
                next="add them as docs/schema.md says, and deploy that",
            )
        # The least head cannot be more than what the release's own migration knows; nor is there
        # anything left to do where the database is at that.
        there = known is not None and known.revision >= code.head
        after = DatabaseSchema(revision=code.head, least_head=code.head)
        return SchemaPlan(database=known, after=known if known and there else after, told=False)
    with refusing(stack, migration), flow.out.progress("asking the migration what it would do"):
        name = job.begin(schema_job.PLAN, "x" if code is None else str(code.head))
        ended = _watched(job, name, stack, "nothing was changed: it was only asked")
    plan = schema_plan.of_log(ended.log) if ended.succeeded else None
    if plan is None:
        raise AegisError(
            what=f"the migration of {stack} does not say what it would do",
            why=quoted(ended),
            next=f"mend what it names; it was asked with {' '.join(migration.plan_args)}",
        )
    return plan


def _announced(
    flow: FlowContext, plan: SchemaPlan, releases: Sequence[Release], current: Release
) -> ContractReport:
    """Show what is going to be done; refuse what the release that runs would not work with.

    Raises:
        AegisError: It would not.
    """
    stack = flow.session.name
    at = "" if plan.database is None else f"{plan.database.revision} -> "
    flow.out.show(f"contracts the database of {stack}: revision {at}{plan.after.revision}")
    for line in plan.lines():
        flow.out.show(line)
    runs = stack_history.deployed(flow.session, current)
    why = schema.misfit(runs.schema, plan.after)
    if why:
        raise AegisError(
            what=f"release {current.number}, which runs, would not work with the database any more",
            why=f"after it: {why}",
            next="deploy code that does, and contract then",
        )
    cut_off: list[int] = []
    remaining: list[int] = []
    for it in ways_back(releases):
        if again(releases, it, current):
            continue
        said = stack_history.deployed(flow.session, it)
        if said.dataset != runs.dataset:
            if not flow.schema_reader.known.misfit(said.schema, said.dataset):
                remaining.append(it.number)
            continue
        if schema.misfit(said.schema, plan.database):
            continue
        (cut_off if schema.misfit(said.schema, plan.after) else remaining).append(it.number)
    flow.out.show(f"can no longer be gone back to: {_listed(cut_off) or 'none more than now'}")
    flow.out.show(f"can still be gone back to: {_listed(remaining) or 'none'}")
    return ContractReport(
        plan=plan, database=plan.after, cut_off=tuple(cut_off), remaining=tuple(remaining)
    )


def _followed(
    flow: FlowContext, job: SchemaJob, name: str, plan: SchemaPlan | None
) -> ContractReport:
    """Wait for a run to its end; remember what the database is then.

    Raises:
        AegisError: It failed, or nobody knows what became of it.
    """
    stack = flow.session.name
    with flow.out.progress(f"Job {name} contracts the database"):
        ended = _watched(job, name, stack, f"Job {name} goes on by itself in the cluster")
    if not ended.succeeded:
        with suppress(AegisError):  # The next who asks remembers how far it got.
            flow.schema_reader.look()
        raise AegisError(
            what=f"the contract of {stack} failed",
            why=quoted(ended),
            state="what was applied before it failed stays applied; what runs was not changed",
            next=f"correct what it names; then aegis migrate contract --stack {stack} goes on",
            code=ExitCode.NOT_ROLLED_BACK,
        )
    said = schema.of_answer(ended.message)
    if said is None:
        flow.out.warn("the migration did not end with what the database is (docs/schema.md)")
        said = None if plan is None else plan.after
    elif plan is not None:
        said = schema.frozen(said, plan.after.irreversible)
    if said is None:
        return ContractReport(changed=True, database=flow.schema_reader.look(), job=name)
    runs = datasets.of_manifests(it.get("inputs") or {} for it in flow.session.resources())
    now = schema_store.remember(flow.session, said, runs)
    return ContractReport(changed=True, database=now, job=name)


def _watched(job: SchemaJob, name: str, stack: str, state: str) -> Ended:
    try:
        return job.follow(name)
    except Interrupted as signal:
        raise AegisError(
            what=f"stopped by {signal}",
            why=f"Job {name} has not ended",
            state=state,
            next=f"aegis migrate contract --stack {stack}, which waits for a contract that runs",
            code=ExitCode.INTERRUPTED,
        ) from None
    except LostError as error:
        raise AegisError(
            what=f"the cluster of {stack} does not say what became of Job {name}",
            why=str(error),
            state=state,
            next="once it answers: aegis migrate contract "
            f"--stack {stack}, which waits for a contract that runs",
            code=ExitCode.NOT_ROLLED_BACK,
        ) from error


@contextmanager
def refusing(stack: str, migration: Migration) -> Iterator[None]:
    """Word what the cluster does not allow before anything is begun."""
    try:
        yield
    except ApiError as error:
        raise AegisError(
            what=f"the migration of {stack} cannot be run",
            why=str(error),
            next="see whether this account may: kubectl auth can-i create jobs --namespace "
            f"{migration.namespace}",
        ) from error


def quoted(ended: Ended) -> str:
    """Quote what a run said before it failed, and what the cluster says of it."""
    lines = [it for it in ended.log.splitlines() if it.strip()][-_QUOTED:]
    return "\n".join([f"Job {ended.name}: {ended.why}", *lines] if ended.why else lines)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(f"release {it}" for it in numbers)
