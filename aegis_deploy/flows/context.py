"""What the flows work with: one stack, open, and whoever does things to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aegis_deploy.common.console import Output
from aegis_deploy.common.signals import Signals
from aegis_deploy.drift.clusters import Clusters
from aegis_deploy.locking.takeover import Takeover
from aegis_deploy.operations.adopting import Adopting
from aegis_deploy.operations.cluster_settings import ClusterSettings
from aegis_deploy.operations.gate_runner import GateRunner
from aegis_deploy.operations.program_update import ProgramUpdate
from aegis_deploy.operations.replay_planner import ReplayPlanner
from aegis_deploy.operations.replay_runner import ReplayRunner
from aegis_deploy.operations.schema_reader import SchemaReader
from aegis_deploy.operations.update_runner import UpdateRunner
from aegis_deploy.registry.image_registry import Presence, look_up_all
from aegis_deploy.report.recorder import Recorder
from aegis_deploy.stack.session import Session


@dataclass(frozen=True, kw_only=True)
class FlowContext:
    """What a flow works with. It does nothing by itself.

    Attributes:
        session: The stack, open.
        out: Where progress goes.
        signals: What signals do meanwhile.
        recorder: Listens, for the timeline.
        takeover: The claim on the stack, and what a dead deployer left.
        clusters: The clusters that the stack is in.
        gate_runner: Judges what runs.
        adopting: Looks for what is about to be made and is there already.
        program_update: Previews and deploys what the program declares.
        replay_planner: Plans the restoring of a release.
        replay_runner: Previews it and carries it out.
        schema_reader: Knows what the database is, and which releases fit it.
        look_up_images: Asks the registries for images.
    """

    session: Session
    out: Output
    signals: Signals
    recorder: Recorder
    takeover: Takeover
    clusters: Clusters
    gate_runner: GateRunner
    adopting: Adopting
    program_update: ProgramUpdate
    replay_planner: ReplayPlanner
    replay_runner: ReplayRunner
    schema_reader: SchemaReader
    look_up_images: Callable[[Sequence[str]], list[Presence]] = look_up_all

    @classmethod
    def of(cls, session: Session, out: Output, signals: Signals) -> FlowContext:
        """Make what works on one stack, each knowing what it needs of the others.

        Args:
            session: The stack, open.
            out: Where progress goes.
            signals: What signals do meanwhile.
        """
        recorder = Recorder(session.name)
        takeover = Takeover(session, out)
        clusters = Clusters(session, ClusterSettings(session).way)
        gate_runner = GateRunner(
            session, out, clusters, takeover=takeover, recorder=recorder, signals=signals
        )
        adopting = Adopting(session, out, clusters)
        update_runner = UpdateRunner(takeover, out, signals, clusters.of, recorder)
        return cls(
            session=session,
            out=out,
            signals=signals,
            recorder=recorder,
            takeover=takeover,
            clusters=clusters,
            gate_runner=gate_runner,
            adopting=adopting,
            program_update=ProgramUpdate(session, out, takeover, update_runner, recorder),
            replay_planner=ReplayPlanner(session, out, clusters, adopting),
            replay_runner=ReplayRunner(session, out, clusters, gate_runner, update_runner),
            schema_reader=SchemaReader(session, out, clusters),
        )
