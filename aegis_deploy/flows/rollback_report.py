"""What a rollback means and came to: its report, and the lines that say it to people. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aegis_deploy.flows.decisions import headline
from aegis_deploy.model.release import Deployed, Release
from aegis_deploy.model.verdict import Verdict

if TYPE_CHECKING:
    from aegis_deploy.replay.limits.retained import Stay
    from aegis_deploy.replay.model import Replay


@dataclass(frozen=True, kw_only=True)
class RollbackReport:
    """What a rollback came to.

    Attributes:
        target: The release restored.
        deployed: What it runs.
        release: The number the rollback itself has in the history; None for a preview.
        verdict: The gate's; None for a preview.
        secrets: The secrets that changed, and those whose value was kept.
        losses: The data that was destroyed.
        stays: What the release does not have, and was not deleted.
        first: What went before the rest.
        reruns: The jobs that ran again.
        left: What had been left in the cluster and was taken back.
        adopted: What the state had lost and the cluster has: taken back, too.
        foreign: What the cluster has under the same names and is not the stack's: it is refused.
        replaced: The pods that kept a workload from going back and were replaced.
        unjudged: What runs pods and is not looked at by the gate.
        connections: The providers whose connections stay as they are.
        owned: The fields that are left to control loops.
        changes: What a preview showed.
        seconds: How long the update took.
    """

    target: Release
    deployed: Deployed
    release: int | None = None
    verdict: Verdict | None = None
    secrets: tuple[str, ...] = ()
    losses: tuple[str, ...] = ()
    stays: tuple[Stay, ...] = ()
    first: tuple[str, ...] = ()
    reruns: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    owned: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_json(self) -> dict[str, object]:
        """Return the report for machines."""
        return {
            "restored": self.target.number,
            "version": self.deployed.version,
            "imageDigest": self.deployed.image_digest,
            "release": self.release,
            "gate": None if self.verdict is None else self.verdict.as_json(),
            "secrets": list(self.secrets),
            "dataLost": list(self.losses),
            "stays": list(map(str, self.stays)),
            "first": list(self.first),
            "runAgain": list(self.reruns),
            "takenBack": list(self.left),
            "adopted": list(self.adopted),
            "foreign": list(self.foreign),
            "podsReplaced": list(self.replaced),
            "notJudged": list(self.unjudged),
            "connectionsKept": list(self.connections),
            "leftToControlLoops": list(self.owned),
            "changes": list(self.changes),
            "seconds": round(self.seconds, 3),
        }


def planned_report(target: Release, deployed: Deployed, replay: Replay) -> RollbackReport:
    """Return the report of a rollback that is yet to be done, as far as it is known.

    Args:
        target: The release.
        deployed: What it runs.
        replay: What would be carried out.
    """
    return RollbackReport(
        target=target,
        deployed=deployed,
        secrets=secret_lines(replay),
        losses=tuple(f"{it.resource}: {it.what}; {it.why}" for it in replay.losses),
        stays=replay.stays,
        first=tuple(it.label for several in replay.first.goes for it in several),
        reruns=tuple(f"{it.resource}: {it.why}" for it in replay.reruns),
        left=replay.left,
        adopted=replay.adopted,
        foreign=replay.foreign,
        unjudged=replay.unjudged,
        connections=() if replay.connections is None else replay.connections.kept,
        owned=tuple(map(str, replay.owned)),
    )


def summary_lines(report: RollbackReport) -> list[str]:
    """Say what a rollback means, before it is done."""
    target = report.target
    mark = "verified" if target.verified else "NOT verified by a gate"
    lines = [f"back to {named(target, report.deployed)} of {target.started:%Y-%m-%d %H:%M}, {mark}"]
    if not target.whole:
        lines.append(
            f"  part    it is a {target.operation}, which left what older ones had deployed"
        )
    lines += [f"  secret  {line}" for line in report.secrets]
    if any("value back" in line for line in report.secrets):
        lines.append("          to keep one as it is now: --keep KEY")
    lines += [f"  stays   {line} as it is now" for line in report.connections]
    if report.connections:
        lines.append("          to restore these as well: --restore-providers")
    lines += [f"  first   {it} goes before the rest, which it could block" for it in report.first]
    lines += [f"  stays   {line}" for line in report.stays]
    if any(it.for_its_data for it in report.stays):
        lines.append("          to delete what holds data as well: --allow-data-loss")
    lines += [f"  stays   {line}" for line in report.owned]
    lines += [f"  DATA    {line}" for line in report.losses]
    lines += [f"  again   {line}" for line in report.reruns]
    lines += [f"  back    {it}: the cluster may still have it; taken back" for it in report.left]
    lines += [f"  adopted {it}: the cluster has it, the state no more" for it in report.adopted]
    lines += [f"  FOREIGN {it}" for it in report.foreign]
    lines += [f"  ungated {it}: only the provider waits for it" for it in report.unjudged]
    return lines


def secret_lines(replay: Replay) -> tuple[str, ...]:
    """Say of every secret that differs what happens to it."""
    words = {
        "changed": "gets the release's value back",
        "added": "comes back",
        "removed": "goes",
    }
    return tuple(
        f"{it.resource}: {it.path} "
        + ("keeps its current value" if it.kept else words.get(it.change, it.change))
        for it in replay.secrets
    )


def message(target: Release, why: str) -> str:
    """Word the history's message of a rollback; the history reads the number from it."""
    kind = "automated rollback" if why else "rollback"
    reason = f": {headline(why)}" if why else ""
    return f"aegis: {kind} to release {target.number}{reason}"


def named(target: Release, deployed: Deployed) -> str:
    """Name a release for a person: its number and version."""
    version = f" ({deployed.version})" if deployed.version else ""
    return f"release {target.number}{version}"


def command_to(target: Release, stack: str) -> str:
    """Return the command that goes back to a release."""
    return f"aegis rollback --to {target.number} --stack {stack}"
