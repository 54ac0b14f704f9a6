"""Planning the restoring of a release: from its record, the state, and what the clusters have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.detection import is_object
from aegis_deploy.history import stack_history
from aegis_deploy.operations.adopting import Adopting
from aegis_deploy.replay import choices as replay_choices

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.model.release import Release
    from aegis_deploy.replay.choices import Choices
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.stack.checkpoint import Checkpoint
    from aegis_deploy.stack.session import Session


class ReplayPlanner:
    """Plans for one stack.

    Args:
        session: The stack, open.
        out: Where progress goes.
        clusters: Its clusters.
        adopting: Looks for what would be made and is there already.
    """

    def __init__(
        self, session: Session, out: Output, clusters: Clusters, adopting: Adopting
    ) -> None:
        self._session, self._out, self._clusters = session, out, clusters
        self._adopting = adopting

    def plan(self, target: Release, choices: Choices = replay_choices.NONE) -> Replay:
        """Plan the restoring of a release; see `replay.planning.plan` and `operations.adopting`."""
        from aegis_deploy.replay import config as replay_config
        from aegis_deploy.replay import planning
        from aegis_deploy.stack import checkpoint

        self._out.say(f"reading what release {target.number} declared")
        recorded, current = checkpoint.both(self._session, target)
        both = self._declared_by(target, recorded), current
        planned = planning.plan(*both, choices)
        self._clusters.learn(current.alive.values())
        self._clusters.learn((*planned.providers.values(), *planned.resources))
        found = self._adopting.of_replay(planned, both, target)
        if found:
            planned = planning.plan(*both, choices, adopting=found)
        providers = {it.provider_urn for it in planned.resources if is_object(it)}
        planned = replace(planned, places={it: self._clusters.place(it) for it in providers})
        planned = self._leaving(planned, current)
        return replay_config.completed(planned, target.config, self._session)

    def beside(self, target: Release) -> Replay:
        """Plan the restoring of a release that was restored, to learn what stays beside it.

        All that a rollback knew of that is in the state and in the release's record still; nobody
        else is asked.

        Raises:
            AegisError: One of them cannot be read.
        """
        from aegis_deploy.replay import planning
        from aegis_deploy.stack import checkpoint

        return planning.plan(*checkpoint.both(self._session, target))

    def declared_in(self, release: Release) -> Checkpoint:
        """Return what a release declared, resource by resource.

        Raises:
            AegisError: Its record cannot be loaded.
        """
        from aegis_deploy.stack import checkpoint

        return self._declared_by(release, checkpoint.load(self._session, release))

    def _declared_by(self, release: Release, recorded: Checkpoint) -> Checkpoint:
        from aegis_deploy.replay import owned_fields
        from aegis_deploy.stack import checkpoint

        def load(other: Release) -> Checkpoint:
            return checkpoint.load(self._session, other)

        releases = stack_history.reading(self._session)
        return owned_fields.declared(recorded, release, releases, load)

    def _leaving(self, replay: Replay, current: Checkpoint) -> Replay:
        """Leave to control loops what they own of what a replay restores."""
        from aegis_deploy.kubernetes.client import ApiError
        from aegis_deploy.replay import owned_fields

        try:
            return owned_fields.looked_at(replay, current, self._clusters)
        except (ApiError, AegisError) as error:
            self._out.warn(f"what control loops own is not known, and is written over\n{error}")
            return replay
