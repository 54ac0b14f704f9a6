"""A release, ready to be restored: what is decided before anything is done. Pure.

`replay.planning` decides it; `replay.program` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes.managed_fields import Path, written
from aegis_deploy.model.release import ConfigValue
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.model.workloads.workload_kinds import JOB, gated, is_job, is_ungated
from aegis_deploy.replay import adoption
from aegis_deploy.replay import providers as replay_providers
from aegis_deploy.replay.adoption import is_whole_object
from aegis_deploy.replay.edits import entering, references, retaining, reviving
from aegis_deploy.replay.edits.reviving import Revival
from aegis_deploy.replay.limits.data_loss import Loss, Rerun
from aegis_deploy.replay.limits.retained import Stay
from aegis_deploy.replay.ordering import First
from aegis_deploy.replay.secrets import SecretChange
from aegis_deploy.stack.checkpoint import Checkpoint, Resource


@dataclass(frozen=True)
class Owned:
    """A field that is left to a control loop.

    Attributes:
        resource: What declares it, as the release recorded that.
        path: Where it is.
        by: Who decides on it.
    """

    resource: Resource
    path: Path
    by: str

    def __str__(self) -> str:
        """Say it to a person."""
        return f"{self.resource.label}: {written(self.path)} is for {self.by} to decide"


@dataclass(frozen=True)
class Replay:
    """A release, ready to be restored.

    Attributes:
        resources: What is registered, in order.
        providers: The default providers' records, by URN: for their versions.
        outputs: The stack's outputs.
        aliases: More URNs that a resource has had: those it has now, after a renaming.
        exclude: The URNs that the update must leave alone.
        revivals: Objects that only wait to be deleted and are the release's own.
        unmade: Whether something was deleted for a replacement that was never made.
        entries: Records that the state gets from the release before the update; see `entries`.
        absent: The URNs of those that are not in the state yet.
        left: What the cluster still has, since it was left there when its resource went.
        adopted: What else the cluster has and the state has no more: taken back, a line each.
        altered: What of that is not as the release has it, which no preview can show.
        foreign: What the cluster has under the same names and is somebody else's, a line each.
        swaps: The values that are kept: what the release had, and what is current.
        connections: How its providers connect; None when that, too, is the release's.
        owned: The fields that are left to control loops; see `owned_fields`.
        freed: What has as many pods as it declares once its autoscaler is gone.
        settings: The settings that its update records; see `config`.
        encryption: How the release was encrypted, where that is not how the stack is now.
        deletes: What there is now and the release does not have; deleted last.
        first: What goes, and what comes back, before the rest.
        edits: What is made and what is changed, in words, as far as the records tell.
        stays: What the release does not have either and is not deleted, or has otherwise.
        retained: The URNs, as they are now, of what is replaced and stays in the cluster.
        kept: The URNs of what it does not have and is not deleted, with what it cannot be without.
        dying: The URNs, as they are now, of what is being deleted and has to be gone before.
        going: The URNs of all that goes, what only groups or connects too.
        outputs_now: The stack's outputs as they are now.
        losses: Data that would be destroyed.
        reruns: Jobs and Pods that would run again.
        secrets: Secrets that would change.
        protected: The URNs of what would be replaced and is protected: the engine refuses that.
        missing: What cannot be restored from the record, in words.
        hooks: The hooks that what is deleted still names; they do nothing in the replay.
        pending: How many operations the state says were begun and never ended; what they made
            is not in it, and would be in the way or be left over.
        places: Which clusters its providers lead to, by their URNs, as `Workload.cluster` has it;
            None for what leads to none.
    """

    resources: tuple[Resource, ...] = field(repr=False)
    providers: Mapping[str, Resource] = field(repr=False)
    outputs: Mapping[str, Any] = field(repr=False)
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: tuple[str, ...] = ()
    revivals: tuple[Revival, ...] = ()
    unmade: bool = False
    entries: tuple[Resource, ...] = field(default=(), repr=False)
    absent: frozenset[str] = frozenset()
    left: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    swaps: tuple[tuple[Any, Any], ...] = field(default=(), repr=False)
    connections: replay_providers.Connected | None = None
    owned: tuple[Owned, ...] = ()
    freed: tuple[Resource, ...] = ()
    settings: Mapping[str, ConfigValue] = field(default_factory=dict, repr=False)
    encryption: Mapping[str, Any] = field(default_factory=dict, repr=False)
    deletes: tuple[Resource, ...] = field(default=(), repr=False)
    first: First = field(default_factory=First)
    edits: tuple[str, ...] = ()
    stays: tuple[Stay, ...] = ()
    retained: frozenset[str] = frozenset()
    kept: frozenset[str] = frozenset()
    dying: tuple[str, ...] = ()
    going: frozenset[str] = frozenset()
    outputs_now: Mapping[str, Any] = field(default_factory=dict, repr=False)
    losses: tuple[Loss, ...] = ()
    reruns: tuple[Rerun, ...] = ()
    secrets: tuple[SecretChange, ...] = ()
    protected: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    hooks: tuple[str, ...] = ()
    pending: int = 0
    places: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def preview_exclude(self) -> tuple[str, ...]:
        """What a preview must leave alone: before `prepare` the engine would refuse the revived."""
        there = [urn for urn in self.exclude if urn not in self.absent]
        return (*there, *(item.urn for item in self.revivals))

    @property
    def prepares(self) -> bool:
        """Whether the state has to be changed by `prepare` before the update."""
        edits = (self.revivals, self.unmade, self.entries, self.retained, self.kept)
        return any(edits) or bool(self.first.goes)

    def present_urn(self, urn: str) -> str:
        """What is registered under a URN, as the state has it now: it may be called otherwise."""
        return next(iter(self.aliases.get(urn, ())), urn)

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """What it restores that a gate judges."""
        return tuple(self.declared)

    @property
    def declared(self) -> Mapping[Workload, Resource]:
        """What it restores that a gate judges, with what the release declared of it."""
        return {
            workload: item
            for item in self.resources
            for kind in [gated(item.type)]
            if kind and item.id and not item.external
            for workload in self._workloads(item, kind)
        }

    @property
    def jobs(self) -> tuple[Workload, ...]:
        """The Jobs that run again, as far as it is known what they are called then."""
        again = {rerun.urn for rerun in self.reruns}
        return tuple(
            workload
            for item in self.resources
            if is_job(item.type) and item.urn in again and item.id
            for workload in self._workloads(item, JOB)
        )

    @property
    def unjudged(self) -> tuple[str, ...]:
        """What it restores that runs pods and that no gate looks at."""
        return tuple(
            item.label
            for item in self.resources
            if is_ungated(item.type, item.inputs) and not item.external
        )

    def _workloads(self, item: Resource, kind: str) -> list[Workload]:
        cluster = self.places.get(item.provider_urn, "")
        if cluster is None:
            return []
        namespace, _, name = item.id.rpartition("/")
        return [
            Workload(
                namespace=namespace or "default",
                name=name,
                kind=kind,
                cluster=cluster,
                provider=item.provider_urn,
            )
        ]

    def made_anew(self, present: Checkpoint) -> list[Resource]:
        """Return the objects that it would create, or take for what was left there.

        Args:
            present: The state.
        """
        known = {it.urn for it in present.resources if not it.delete}
        known |= {*self.aliases, *(it.urn for it in self.revivals)}
        return [it for it in self.resources if it.urn not in known and is_whole_object(it)]

    def prepare(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """The state to begin from; see the modules that it is made by. Has secrets in it."""
        entered = entering.put(reviving.revive(state, self.revivals), self.entries)
        if self.retained:
            entered = retaining.retain(entered, self.retained)
        if not (self.kept or self.first.goes):
            return entered
        return references.cut(entered, self.first.urns, self.going if self.kept else ())

    def require(self, *, allow_data_loss: bool = False, command: str = "aegis rollback") -> None:
        """Refuse a replay that must not be carried out.

        Args:
            allow_data_loss: Whether a person insists although data is destroyed.
            command: What carries it out, for the advice.

        Raises:
            AegisError: It would destroy data, replace what is protected, or is not complete.
        """
        if self.missing:
            raise AegisError(
                what="the release cannot be restored from its record",
                why="\n".join(self.missing),
                next="choose another release: aegis history",
            )
        if self.foreign:
            raise adoption.taken(self.foreign)
        if self.protected:
            raise AegisError(
                what="the rollback would replace what is protected",
                why="\n".join(self.protected),
                next="\n".join(
                    [
                        "if it may be replaced:",
                        *(f"pulumi state unprotect '{urn}'" for urn in self.protected),
                        f"then: {command}",
                    ]
                ),
            )
        if self.losses and not allow_data_loss:
            raise AegisError(
                what="the rollback would destroy data",
                why="\n".join(f"{loss.resource}: {loss.what}; {loss.why}" for loss in self.losses),
                next=f"if the data may go: {command} --allow-data-loss",
            )
