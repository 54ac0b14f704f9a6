"""Looking, for the flows, whether what they are about to make is in the cluster already.

What is decided, and by what an object is known, is `adoption`; this module asks the clusters that a
stack's providers lead to, and the stack's history.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.replay import adoption
from aegis_deploy.replay.adoption import NONE, Adoption

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.model.events import Changes
    from aegis_deploy.model.release import Release
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.stack.checkpoint import Checkpoint, Resource
    from aegis_deploy.stack.session import Session


@dataclass
class Adopting:
    """Looks for one stack.

    Attributes:
        session: The stack, open.
        out: Where it is told that nobody can look.
        clusters: The clusters that the stack's providers lead to.
    """

    session: Session
    out: Output
    clusters: Clusters

    def of_replay(
        self, planned: Replay, both: tuple[Checkpoint, Checkpoint], target: Release
    ) -> Adoption:
        """Look for what a replay would make.

        Args:
            planned: The replay, without anything adopted.
            both: What the release recorded, and the state.
            target: The release.
        """
        wanted = planned.made_anew(both[1])
        own = {it.urn: it for it in planned.resources if it.is_provider}
        providers = {**planned.providers, **own}
        return self._look(wanted, providers, both, target)

    def of_update(self, changes: Changes) -> tuple[Resource, ...]:
        """Look for what an update of the program would make, and the last release had.

        Args:
            changes: What the update's preview shows.

        Returns:
            The records that the state is to get before the update, so that it makes nothing that
            is there.

        Raises:
            AegisError: There is something, and it is not this stack's.
        """
        from aegis_deploy.drift import forgotten
        from aegis_deploy.replay.edits import entering
        from aegis_deploy.stack import checkpoint

        created = {it.urn for it in changes.steps if it.op == "create" and it.custom}
        if not created:
            return ()
        try:
            lost = forgotten.look(self.session, stack_history.reading(self.session))
            if lost.release is None or not created & {it.urn for it in lost.resources}:
                return ()
            both = checkpoint.both(self.session, lost.release)
        except AegisError as error:
            self._untold(error)
            return ()
        wanted = [
            it
            for it in both[0].alive.values()
            if it.urn in created and it.urn not in both[1].alive and adoption.is_whole_object(it)
        ]
        providers = {it.urn: it for state in both for it in state.alive.values() if it.is_provider}
        found = self._look(wanted, providers, both, lost.release)
        if found.foreign:
            raise adoption.taken(found.foreign)
        ours = found.ours
        return tuple(entering.absent(*both, lambda it: it.urn in ours, ours).values())

    def _look(
        self,
        wanted: list[Resource],
        providers: Mapping[str, Resource],
        both: tuple[Checkpoint, Checkpoint],
        target: Release,
    ) -> Adoption:
        from aegis_deploy.kubernetes.client import ApiError

        if not wanted:
            return NONE

        self.clusters.learn(providers.values())

        def cluster(provider: Resource | None) -> Cluster:
            return self.clusters.at("" if provider is None else provider.urn)

        try:
            return adoption.look(
                self.session,
                wanted,
                providers,
                both,
                releases=self._since(target),
                connect=cluster,
            )
        except (ApiError, AegisError) as error:
            self._untold(error)
            return NONE

    def _untold(self, error: Exception) -> None:
        self.out.warn(f"whether the cluster has what is to be made is not known\n{error}")

    def _since(self, target: Release) -> Iterator[Release]:
        found = stack_history.reading(self.session)
        return takewhile(lambda it: it.number > target.number, found)
