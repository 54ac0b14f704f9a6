"""What there is to tell of one release, and it in Markdown; the page is `report.html`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.common import markdown as md
from aegis_deploy.history.dora import lasted
from aegis_deploy.model.timeline import ROLLBACK, Judgement, Span, Timeline
from aegis_deploy.report.timeline_plot import moments

if TYPE_CHECKING:
    from aegis_deploy.history.compare import Compared
    from aegis_deploy.history.diff import Difference
    from aegis_deploy.history.listing import ReleaseEntry
    from aegis_deploy.model.release import Release

SUMMARY_LIMIT = 500_000
"""GitHub takes 1 MiB of summary a step, in bytes;
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#step-isolation-and-limits."""
SIGNS = {"added": "+", "removed": "-", "changed": "~"}
GOOD, BAD, UNSURE = "good", "bad", "unsure"
_SHORT = 12
_MOST_ROWS = 60


@dataclass(frozen=True, kw_only=True)
class ReleaseReport:
    """Everything there is to tell of one release.

    Attributes:
        stack: The stack's name.
        entry: The release, as the history lists it.
        before: The release it is compared with; None for the first one.
        compared: What it changed; None when there is nothing to compare with.
        timeline: How it went; None when nobody recorded that.
        rollback: The rollback that took its place, when one did.
        unknown: What cannot be told, and why.
    """

    stack: str
    entry: ReleaseEntry
    before: int | None = None
    compared: Compared | None = None
    timeline: Timeline | None = None
    rollback: Release | None = None
    unknown: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The release's number."""
        return self.entry.release.number

    @property
    def title(self) -> str:
        """What the report is about."""
        return f"{self.stack}: release {self.number}"

    @property
    def status(self) -> tuple[str, str]:
        """How it stands with the release: good, bad or unsure, and in words."""
        release = self.entry.release
        if self.rollback is not None:
            restored = f"rolled back to release {self.rollback.restores} by release "
            done = f"{restored}{self.rollback.number}"
            if release.result == "failed":
                return BAD, f"failed, {done}"
            return BAD, done
        if release.result == "failed":
            return BAD, "failed"
        if release.refused:
            return BAD, "rolled back"
        what = "" if release.restores is None else f"rollback to release {release.restores}, "
        if release.verified:
            return GOOD, f"{what}verified"
        return UNSURE, f"{what}{release.result}, not verified"

    @property
    def facts(self) -> tuple[tuple[str, str], ...]:
        """What the history says of it, by name; what it does not say is left out."""
        release, deployed = self.entry.release, self.entry.deployed
        took = lasted((release.ended - release.started).total_seconds()) if release.ended else ""
        changes = ", ".join(f"{n} {op}" for op, n in sorted(release.changes.items()) if n)
        found = (
            ("message", release.message),
            ("notes", self.entry.notes),
            ("started", f"{release.started:%Y-%m-%d %H:%M:%S} UTC"),
            ("update took", took),
            ("by", release.who),
            ("commit", release.git_commit or ""),
            ("version", deployed.version or ""),
            ("image", deployed.image_digest or ""),
            ("schema", self.entry.schema),
            ("data set", deployed.dataset),
            ("resources", changes),
        )
        return tuple((name, text) for name, text in found if text)

    @property
    def judgements(self) -> tuple[Judgement, ...]:
        """The verdicts on this very release: those on what replaced it are the rollback's."""
        found = () if self.timeline is None else self.timeline.judgements
        restored = self.entry.release.restores is not None
        own = tuple(it for it in found if (it.of == ROLLBACK) is restored)
        return own or found

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        level, words = self.status
        return {
            "stack": self.stack,
            "status": {"level": level, "text": words},
            "release": self.entry.as_json(),
            "changes": None if self.compared is None else self.compared.as_json(),
            "timeline": None if self.timeline is None else asdict(self.timeline),
            "rollback": None if self.rollback is None else self.rollback.number,
            "unknown": list(self.unknown),
        }


def took(span: Span) -> str:
    """Say how long a phase or a step took."""
    said = "its end was not seen" if span.seconds is None else f"{span.seconds:.1f} s"
    return f"{said}, failed" if span.failed else said


def change_text(item: Difference) -> str:
    """Say what became of a thing that differs."""
    if item.change == "changed":
        return f"{item.before} → {item.after}"
    return item.after if item.change == "added" else item.before


def markdown(report: ReleaseReport, limit: int = SUMMARY_LIMIT) -> str:
    """Word a report for the summary of a pipeline's job.

    Args:
        report: The report.
        limit: How many characters it may have.
    """
    level, words = report.status
    mark = {GOOD: "✅", BAD: "❌", UNSURE: "❔"}[level]
    parts = [f"### {mark} {md.text(report.title)}: {md.text(words)}"]
    parts.append(
        md.table(("", ""), [(name, md.code(text, limit=300)) for name, text in report.facts])
    )
    parts += _verdicts(report)
    parts += _changes(report)
    parts += _moments(report)
    parts += [f"- not known: {md.text(line, limit=400)}" for line in report.unknown]
    return md.fitted(parts, limit)


def _verdicts(report: ReleaseReport) -> Iterator[str]:
    for it in report.judgements:
        yield f"**{it.words.capitalize()}**: {md.text(it.reason, limit=400)}"
        if it.evidence:
            yield md.block("\n".join(it.evidence))
        if it.figures:
            yield md.table(
                ("probes", "failed", "p99"),
                [
                    tuple(
                        md.text(it.figures.get(key, "-")) + unit
                        for key, unit in (("total", ""), ("failed", ""), ("p99Ms", " ms"))
                    )
                ],
            )
        if it.serving:
            yield f"Then: {md.text(it.serving)}"
    if report.timeline is not None and report.timeline.outcome and not report.judgements:
        yield md.block(report.timeline.outcome)


def _changes(report: ReleaseReport) -> Iterator[str]:
    compared = report.compared
    if compared is not None:
        changed = [*compared.settings, *compared.images, *compared.schema]
        if changed:
            rows = [
                (
                    SIGNS[it.change],
                    md.code(it.what),
                    "" if it.what == change_text(it) else md.code(change_text(it)),
                )
                for it in changed[:_MOST_ROWS]
            ]
            yield f"**What changed** since release {compared.before}"
            yield md.table(("", "setting, image or schema", "value"), rows)
        if compared.resources:
            lines = []
            for one in compared.resources[:_MOST_ROWS]:
                kind = one.type.rpartition(":")[2]
                lines.append(f"- {SIGNS[one.change]} {md.text(kind)} {md.code(one.name)}")
                lines += [
                    f"  - {SIGNS[it.change]} {md.code(it.what)}: {md.code(change_text(it))}"
                    for it in one.properties[:_MOST_ROWS]
                ]
            yield md.folded(_many(compared.resources, "differ"), "\n".join(lines))
        if compared.partial:
            yield f"_{md.text(compared.partial, limit=400)}_"
    planned = () if report.timeline is None else report.timeline.planned
    if planned:
        lines = [f"- {md.text(line)}" for line in planned[:_MOST_ROWS]]
        yield md.folded(_many(planned, "were to change"), "\n".join(lines))


def _moments(report: ReleaseReport) -> Iterator[str]:
    timeline = report.timeline
    if timeline is None:
        return
    rows = [(md.text(it.name), f"{it.at:.1f} s", md.text(took(it))) for it in timeline.phases]
    yield md.table(("phase", "began", "took"), rows)
    if found := moments(timeline):
        yield md.table(
            ("when", "what"), [(f"{it.at:.1f} s", md.text(it.words, limit=300)) for it in found]
        )
    if timeline.steps:
        shown = timeline.steps[:_MOST_ROWS]
        steps = [(md.code(it.name), f"{it.at:.1f} s", md.text(took(it))) for it in shown]
        table = md.table(("step", "began", "took"), steps)
        yield md.folded(f"{len(timeline.steps)} steps", table)


def _many(things: Sequence[object], what: str) -> str:
    return f"resources that {what}: {len(things)}"
