"""DORA's four: how often, how soon, how often it goes wrong, how soon it is mended. Pure.

The measures are those of the DORA research programme (`SOURCE`; Forsgren, Humble, Kim: Accelerate,
2018). What each of them counts here, where the history of a stack is all that is known, is said in
`DEFINITIONS`, which the page shows beside the figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from aegis_deploy.history.rollback_target import again
from aegis_deploy.model.release import Release

SOURCE = "https://dora.dev/guides/dora-metrics-four-keys/"
FREQUENCY, LEAD, FAILURES, RESTORE = (
    "deployment frequency",
    "lead time for changes",
    "change failure rate",
    "time to restore",
)
DEFINITIONS: Mapping[str, str] = {
    FREQUENCY: "Deployments in the time from the first one shown until now. A deployment is an "
    "update that changed something and is no rollback, also one that failed on the way.",
    LEAD: "From the time of the newest commit in a deployment to the end of that deployment, the "
    "median over those that were not rolled back and whose commit git knows here. Earlier commits "
    "in the same deployment waited longer.",
    FAILURES: "The share of deployments that failed, or that were rolled back afterwards, by the "
    "gate or by hand.",
    RESTORE: "From the start of a deployment that failed to the end of the next update that left "
    "the stack good, a rollback or a mended release: the median. One that was good at first and "
    "rolled back by hand later is not counted, since nobody recorded when it went wrong.",
}
"""What each measure counts."""
_DAY, _HOUR, _MINUTE = 86_400.0, 3_600.0, 60.0
_WEEK_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One of the four.

    Attributes:
        name: Its name.
        value: It, for a person; a dash when it cannot be told.
        basis: What it rests on.
        figure: It, for a machine: per day, seconds, or a share; None when it cannot be told.
    """

    name: str
    value: str
    basis: str
    figure: float | None = None

    def as_json(self) -> dict[str, object]:
        """Return it for machines."""
        return {
            "name": self.name,
            "value": self.figure,
            "shown": self.value,
            "basis": self.basis,
            "definition": DEFINITIONS[self.name],
            "source": SOURCE,
        }


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A release as the four measures see it.

    Attributes:
        release: The release.
        failed: Whether it failed or was rolled back.
        at_once: Whether it failed while it was deployed; otherwise nobody knows when.
    """

    release: Release
    failed: bool
    at_once: bool


def deployments(releases: Sequence[Release]) -> list[Deployment]:
    """Return a history's deployments, oldest first.

    Args:
        releases: The history, newest first, with the ledger's marks.
    """
    ordered = [it for it in reversed(releases) if it.deploys and not it.unchanged]
    undone = {
        old.key: new
        for old, new in pairwise(ordered)
        if new.restores is not None and not again(releases, new, old)
    }
    found = []
    for it in ordered:
        if not _is_deployment(it):
            continue
        by = undone.get(it.key)
        at_once = it.result == "failed" or (by is not None and by.automated)
        failed = at_once or it.refused or by is not None
        found.append(Deployment(release=it, failed=failed, at_once=at_once))
    return found


def measure(
    releases: Sequence[Release], committed: Mapping[str, datetime], now: datetime
) -> tuple[Measure, ...]:
    """Return the four measures.

    Args:
        releases: The history, newest first, with the ledger's marks.
        committed: When commits were made, as far as git knows them.
        now: The present moment.
    """
    found = deployments(releases)
    return (
        _frequency(found, now),
        _lead_time(found, committed),
        _failure_rate(found),
        _time_to_restore(releases, found),
    )


def commits(releases: Sequence[Release]) -> set[str]:
    """Return the commits whose times the measures need."""
    found = (it.release.git_commit for it in deployments(releases) if not it.failed)
    return {commit for commit in found if commit}


def lasted(seconds: float) -> str:
    """Say how long something lasted, in the unit that fits."""
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{seconds:.0f} s"


def _is_deployment(release: Release) -> bool:
    if release.kind != "update" or release.restores is not None:
        return False
    # One that failed before it changed anything was never deployed.
    changed = {kind for kind, count in release.changes.items() if count} - {"same"}
    return release.succeeded or (release.result == "failed" and bool(changed))


def _frequency(found: Sequence[Deployment], now: datetime) -> Measure:
    if not found:
        return Measure(name=FREQUENCY, value="-", basis="no deployment yet")
    days = max((now - found[0].release.started) / timedelta(days=1), 1.0)
    per_day = len(found) / days
    value = f"{per_day:.1f} a day" if per_day >= 1 else f"{per_day * _WEEK_DAYS:.1f} a week"
    return Measure(
        name=FREQUENCY,
        value=value,
        basis=f"{_count(len(found), 'deployment')} in {_count(round(days), 'day')}",
        figure=round(per_day, 4),
    )


def _lead_time(found: Sequence[Deployment], committed: Mapping[str, datetime]) -> Measure:
    good = [it.release for it in found if not it.failed]
    times = [
        ((it.ended or it.started) - committed[it.git_commit]).total_seconds()
        for it in good
        if it.git_commit is not None and it.git_commit in committed
    ]
    # A commit of the future is a clock that is wrong.
    times = [it for it in times if it >= 0]
    basis = f"{len(times)} of {_count(len(good), 'good deployment')} with a commit that git knows"
    if not times:
        return Measure(name=LEAD, value="-", basis=basis)
    middle = median(times)
    return Measure(name=LEAD, value=lasted(middle), basis=basis, figure=round(middle, 1))


def _failure_rate(found: Sequence[Deployment]) -> Measure:
    if not found:
        return Measure(name=FAILURES, value="-", basis="no deployment yet")
    failed = sum(it.failed for it in found)
    return Measure(
        name=FAILURES,
        value=f"{failed / len(found):.0%}",
        basis=f"{failed} of {_count(len(found), 'deployment')}",
        figure=round(failed / len(found), 4),
    )


def _time_to_restore(releases: Sequence[Release], found: Sequence[Deployment]) -> Measure:
    failures = {it.release.key: it for it in found if it.failed}
    later = sum(not it.at_once for it in failures.values())
    times: list[float] = []
    since: datetime | None = None
    for it in reversed(releases):
        if not it.deploys:
            continue
        failure = failures.get(it.key)
        if failure is not None:
            # Several that fail one after another are one trouble, which began with the first.
            since = it.started if since is None and failure.at_once else since
        elif it.succeeded and it.whole and since is not None:
            times.append(((it.ended or it.started) - since).total_seconds())
            since = None
    basis = _count(len(times), "restoration")
    basis += f"; {later} rolled back by hand later, not counted" if later else ""
    basis += "; one failure is not mended yet" if since is not None else ""
    if not times:
        return Measure(name=RESTORE, value="-", basis=basis)
    middle = median(times)
    return Measure(name=RESTORE, value=lasted(middle), basis=basis, figure=round(middle, 1))


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
