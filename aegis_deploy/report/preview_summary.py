"""What a change would do to several stacks, worded for the people who review it. Pure.

A preview says which resources change. Reviewers ask more: does this cost a request, does it destroy
anything, does it break a rule? The answers come first, the list of resources is folded away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from aegis_deploy.common import markdown as md
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.database.schema import DatabaseSchema
from aegis_deploy.model.events import Changes, Step, Violation
from aegis_deploy.model.fingerprint import is_shown
from aegis_deploy.model.migration.schema_plan import Ahead, Foreseen, PendingRevision, ahead
from aegis_deploy.model.routes.route_findings import RouteFindings
from aegis_deploy.model.workloads.workload_kinds import STATEFUL_SET, is_workload

MARK = "<!-- aegis preview -->"
"""By which the comment is found again, to be edited in place."""
COMMENT_LIMIT = 65_000
"""GitHub takes 65,536 characters; https://github.com/orgs/community/discussions/27190."""

_REPLACING = ("replace", "create-replacement", "delete-replaced")
_DELETING = ("delete",)
_SERVING = ("Service", "Ingress", "Gateway", "HTTPRoute")
_HOLDING = ("Namespace", "PersistentVolumeClaim", "PersistentVolume", STATEFUL_SET)
_COMING_AND_GOING = ("ConfigMap", "Secret", "Image")
"""Each release has others, named by what is in them; an image stays in its registry."""
_PATHS = 20
"""How many changed fields of one resource are named in a comment."""
_MORE = "> - and {} more"
_SIGNS = {"create": "+", "update": "~", "delete": "-", "replace": "±"}


class Danger(Enum):
    """What a step can cost."""

    DATA = "data loss"
    DOWNTIME = "downtime"
    CAPACITY = "less capacity"
    PROTECTION = "less protection"
    REMOVAL = "removal"


_WHEN_GONE = {
    **dict.fromkeys(_SERVING, (Danger.DOWNTIME, ": none answers")),
    "PodDisruptionBudget": (Danger.CAPACITY, ": a drain may take every pod at once"),
    **dict.fromkeys(
        ("NetworkPolicy", "ResourceQuota", "LimitRange"),
        (Danger.PROTECTION, ": what it forbade is allowed"),
    ),
}
"""What it means that an object goes, by its kind."""


@dataclass(frozen=True)
class Risk:
    """A step that costs something.

    Attributes:
        danger: What it costs.
        resource: Which resource, as a person calls it.
        why: Why it does.
    """

    danger: Danger
    resource: str
    why: str


@dataclass(frozen=True, kw_only=True)
class StackPreview:
    """What a change would do to one stack.

    Attributes:
        stack: The stack's name.
        changes: What it would change; None when that could not be found out.
        error: Why not.
        database: What its database was when last heard of; None when nothing was.
        foreseen: What the checkout says of the revisions ahead; None where nothing says any.
        routes: What is wrong with what leads in from outside.
    """

    stack: str
    changes: Changes | None = None
    error: AegisError | None = None
    database: DatabaseSchema | None = None
    foreseen: Foreseen | None = None
    routes: RouteFindings = field(default_factory=RouteFindings)

    @property
    def good(self) -> bool:
        """Whether it was previewed, would break no mandatory policy, and would be reached."""
        return self.changes is not None and not self.changes.forbidden and not self.routes.faults

    @property
    def migrates(self) -> Ahead | None:
        """How far it would migrate the database; None when it would not."""
        return None if self.changes is None else ahead(self.changes.steps, self.database)

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        migrates = self.migrates
        if self.changes is None:
            error = self.error or AegisError(what="not previewed")
            return {"stack": self.stack, "error": {"what": error.what, "why": error.why}}
        return {
            "stack": self.stack,
            "counts": counts(self.changes),
            "images": dict(zip(("before", "after"), images(self.changes), strict=True)),
            "replicas": dict(zip(("before", "after"), replicas(self.changes), strict=True)),
            "risks": [
                {"danger": it.danger.value, "resource": it.resource, "why": it.why}
                for it in risks(self.changes)
            ],
            "violations": [
                {
                    "rule": it.rule,
                    "resource": _name(it.urn),
                    "mandatory": it.mandatory,
                    "message": it.message,
                }
                for it in self.changes.violations
            ],
            "warnings": list(self.changes.warnings),
            "migrates": None if migrates is None else migrates.as_json(),
            "routes": self.routes.as_json(),
            "pending": None if self.foreseen is None else self.foreseen.as_json(),
            "resources": [
                {"op": it.op, "type": it.type, "name": it.name, "changed": list(it.diffs)}
                for it in _shown(self.changes)
            ],
        }


def counts(changes: Changes) -> dict[str, int]:
    """Count the resources by sign: ``+ ~ - ±``, without those that only group or connect."""
    found = dict.fromkeys(_SIGNS.values(), 0)
    for step in _shown(changes):
        found[_sign(step)] += 1
    return found


def images(changes: Changes) -> tuple[str, str]:
    """Return the images of the workloads before and after, short; a build's is not known yet."""
    steps = _workloads(changes)
    before = [_short(it) for step in steps for it in step.images_before]
    after = [_short(it) or "built by the update" for step in steps for it in step.images]
    return ", ".join(dict.fromkeys(filter(None, before))), ", ".join(dict.fromkeys(after))


def replicas(changes: Changes) -> tuple[int | None, int | None]:
    """Return how many pods the workloads have before and after; None where that is not said."""
    steps = _workloads(changes)
    before = [it.replicas_before for it in steps if it.replicas_before is not None]
    after = [it.replicas for it in steps if it.replicas is not None]
    return (sum(before) if before else None, sum(after) if after else None)


def risks(changes: Changes) -> list[Risk]:
    """Say what a change can cost, the worst first."""
    found = [risk for step in _shown(changes) if (risk := _risk(step)) is not None]
    order = list(Danger)
    return sorted(found, key=lambda risk: order.index(risk.danger))


def markdown(previews: Sequence[StackPreview], limit: int = COMMENT_LIMIT) -> str:
    """Word previews as one comment: violations and risks, a table, the details folded.

    Args:
        previews: One a stack.
        limit: How many characters the comment may have.
    """
    # However many there are of one kind, there is room for the others.
    share = limit // (4 * max(1, len(previews)))
    return md.fitted(_parts(previews, share), limit)


def _parts(previews: Sequence[StackPreview], share: int) -> Iterator[str]:
    seen = [(it.stack, it.changes) for it in previews if it.changes is not None]
    yield MARK
    yield "### What this change does"
    yield from (_violations(*it, share) for it in seen if it[1].violations)
    yield from (_routes(it, share) for it in previews if it.routes)
    for stack, changes in seen:
        if found := risks(changes):
            yield _risks(stack, found, share)
    yield md.table(("stack", "+", "~", "-", "±", "images", "replicas"), map(_row, previews))
    for it in previews:
        if (migrates := it.migrates) is not None:
            yield f"**{md.text(it.stack)}** {md.text(str(migrates))}"
            if it.foreseen is not None:
                yield _foreseen(it.foreseen, share)
            if migrates.freezes:
                yield f"> [!WARNING]\n> **{md.text(it.stack)}** {md.text(migrates.freezes)}"
    yield from (_unknown(it) for it in previews if it.changes is None)
    yield from (_details(*it, share) for it in seen if it[1] or it[1].warnings)


def lines(preview: StackPreview) -> list[str]:
    """Word a preview for a terminal."""
    if preview.changes is None:
        error = preview.error or AegisError(what="not previewed")
        return [f"{preview.stack}: could not be previewed: {error.what}", *_indented(error.why)]
    changes = preview.changes
    signs = " ".join(f"{sign}{number}" for sign, number in counts(changes).items() if number)
    found = [f"{preview.stack}: {signs or 'nothing changes'}"]
    for it in changes.violations:
        level = "POLICY" if it.mandatory else "policy"
        found.append(f"  {level}  {it.rule}: {_name(it.urn)}")
        found += _indented(it.message)
    for fault in preview.routes.faults:
        found += [f"  UNREACHABLE  {fault.why}", *_indented(fault.next)]
    found += [f"  {it.danger.value.upper()}  {it.resource}: {it.why}" for it in risks(changes)]
    found += [f"  {_sign(it)} {_label(it)}{_changed(it)}" for it in _shown(changes)]
    if (migrates := preview.migrates) is not None:
        pending = [] if preview.foreseen is None else preview.foreseen.lines()
        found += [f"  {migrates}", *(f"    {it}" for it in pending)]
        found += [f"  {migrates.freezes}"] if migrates.freezes else []
    found += [f"  warning: {it}" for it in (*changes.warnings, *preview.routes.warnings)]
    return found


def _risk(step: Step) -> Risk | None:
    kind = step.type.rpartition(":")[2]
    replaced = step.op in _REPLACING
    gone = step.op in _DELETING
    because = f"replaced, since {', '.join(step.keys)} changes" if step.keys else "replaced"
    if (gone or replaced) and kind in _HOLDING:
        what = "deleted with everything in it" if kind == "Namespace" else "its data goes with it"
        return Risk(Danger.DATA, _label(step), f"{because if replaced else 'deleted'}: {what}")
    if is_workload(step.type):
        return _workload_risk(step, because, replaced=replaced, gone=gone)
    if replaced and kind not in _COMING_AND_GOING:
        danger = Danger.DOWNTIME if kind in _SERVING else Danger.REMOVAL
        return Risk(danger, _label(step), because)
    if gone and kind not in _COMING_AND_GOING:
        danger, meaning = _WHEN_GONE.get(kind, (Danger.REMOVAL, ""))
        return Risk(danger, _label(step), "deleted" + meaning)
    return None


def _workload_risk(step: Step, because: str, *, replaced: bool, gone: bool) -> Risk | None:
    before, after = step.replicas_before, step.replicas
    if gone:
        return Risk(Danger.DOWNTIME, _label(step), "deleted: nothing serves any more")
    if replaced:
        why = f"{because}: its pods end before the new ones are ready"
        return Risk(Danger.DOWNTIME, _label(step), why)
    if after == 0:
        return Risk(Danger.DOWNTIME, _label(step), "scaled to 0: nothing serves")
    if step.strategy == "Recreate" and step.op == "update":
        return Risk(Danger.DOWNTIME, _label(step), "strategy Recreate: every pod ends at once")
    if before is not None and after is not None and after < before:
        return Risk(Danger.CAPACITY, _label(step), f"from {before} to {after} pods")
    return None


def _shown(changes: Changes) -> list[Step]:
    """The steps that are news: one a resource, a replacement by its main step."""
    last: dict[str, Step] = {}
    for step in changes.steps:
        known = last.get(step.urn)
        if is_shown(step) and (known is None or known.op not in _REPLACING):
            last[step.urn] = step
    return list(last.values())


def _workloads(changes: Changes) -> list[Step]:
    found = {it.urn: it for it in changes.steps if is_workload(it.type) and it.op not in _DELETING}
    return list(found.values())


def _sign(step: Step) -> str:
    return _SIGNS["replace"] if step.op in _REPLACING else _SIGNS.get(step.op, "~")


def _label(step: Step) -> str:
    return f"{step.type.rpartition(':')[2]} {step.object or step.name}"


def _changed(step: Step) -> str:
    paths = sorted(step.paths) or list(step.diffs)
    return f" [{', '.join(paths)}]" if paths and step.op != "create" else ""


def _short(image: str) -> str:
    name, _, digest = image.rpartition("/")[2].partition("@")
    return f"{name}@{digest[:19]}" if digest else name


def _name(urn: str) -> str:
    if not urn:
        return "the stack"
    kind, _, name = urn.rpartition("::")
    return f"{kind.rpartition(':')[2]} {name}"


def _indented(text: str) -> list[str]:
    return [f"    {line}" for line in text.splitlines()]


def _row(preview: StackPreview) -> tuple[str, ...]:
    name = md.text(preview.stack)
    if preview.changes is None:
        return (name, "?", "?", "?", "?", "not known", "")
    numbers = (str(number) if number else "" for number in counts(preview.changes).values())
    before, after = images(preview.changes)
    return (name, *numbers, _arrow(before, after), _arrow(*map(_text, replicas(preview.changes))))


def _arrow(before: str, after: str) -> str:
    shown = [md.code(it) for it in (before, after) if it]
    return shown[0] if before == after and shown else " → ".join(shown)


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _violations(stack: str, changes: Changes, limit: int) -> str:
    refused = "refused" if changes.forbidden else "advised against"
    head = f"> [!CAUTION]\n> **{md.text(stack)}** is {refused} by policy:"
    rows = md.first(_worst_first(changes.violations), _violation, limit, _MORE)
    return "\n".join([head, *rows])


def _routes(preview: StackPreview, limit: int) -> str:
    routes = preview.routes
    head = "> [!CAUTION]" if routes.faults else "> [!WARNING]"
    told = "would not be reached from outside" if routes.faults else "is reached from outside, but"
    said = [*(f"{it.why} ({it.next})" for it in routes.faults), *routes.warnings]
    rows = md.first(said, lambda it: f"> - {md.text(it, limit=400)}", limit, _MORE)
    return "\n".join([f"{head}\n> **{md.text(preview.stack)}** {told}:", *rows])


def _worst_first(violations: Iterable[Violation]) -> list[Violation]:
    return sorted(violations, key=lambda it: not it.mandatory)


def _violation(it: Violation) -> str:
    level = "" if it.mandatory else " (advisory)"
    where = f"{md.code(it.rule)}{level} {md.code(_name(it.urn))}"
    return f"> - {where}: {md.text(it.message, limit=400)}"


def _risks(stack: str, found: Sequence[Risk], limit: int) -> str:
    head = f"> [!WARNING]\n> **{md.text(stack)}**"
    return "\n".join([head, *md.first(found, _risk_line, limit, _MORE)])


def _risk_line(it: Risk) -> str:
    return f"> - **{it.danger.value}** {md.code(it.resource)}: {md.text(it.why)}"


def _unknown(preview: StackPreview) -> str:
    error = preview.error or AegisError(what="not previewed")
    parts = [f"**{md.text(preview.stack)}** could not be previewed: {md.text(error.what)}"]
    if error.why:
        parts.append(md.block(error.why))
    if error.next:
        parts.append(f"next: {md.code(error.next)}")
    return "\n\n".join(parts)


def _foreseen(found: Foreseen, limit: int) -> str:
    columns = ("revision", "", "what it does", "squawk")
    table = md.short_table(columns, found.revisions, _revision, limit) if found.revisions else ""
    return "\n\n".join(filter(None, (md.text(found.fault, limit=400), table)))


def _revision(it: PendingRevision) -> tuple[str, ...]:
    kind = f"{it.kind}, irreversible" if it.irreversible else it.kind
    said = (line.partition(": ") for line in it.lint)
    against = "; ".join(f"{md.code(rule)} {md.text(why, limit=200)}" for rule, _, why in said)
    return (str(it.number), md.text(kind), md.text(it.about, limit=200), against)


def _details(stack: str, changes: Changes, limit: int) -> str:
    shown = _shown(changes)
    columns = ("", "resource", "what changes")
    warnings = md.first(changes.warnings, _warning, limit // 2, "- {} more warnings")
    body = [
        md.short_table(columns, shown, _cells, limit // 2) if shown else "Nothing changes.",
        "\n".join(warnings),
    ]
    return md.folded(f"{stack}: {len(shown)} resources", "\n\n".join(filter(None, body)))


def _cells(step: Step) -> tuple[str, ...]:
    return (_sign(step), md.code(_label(step)), " ".join(map(md.code, _paths(step))))


def _warning(message: str) -> str:
    return f"- warning: {md.text(message, limit=400)}"


def _paths(step: Step) -> list[str]:
    found = [] if step.op == "create" else sorted(step.paths) or list(step.diffs)
    more = len(found) - _PATHS
    return [*found[:_PATHS], f"{more} more"] if more > 0 else found
