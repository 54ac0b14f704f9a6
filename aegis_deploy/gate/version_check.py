"""Whether what answers a gate is the release that was deployed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aegis_deploy.gate.prober import identity
from aegis_deploy.gate.routes import Routes
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.informers import Informers
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import ProbeMetrics
from aegis_deploy.model.workloads.rollout import (
    Snapshot,
    Workload,
    is_ready,
    template_version,
    version_of,
)

Expected = Mapping[str, str]
"""What the service must say of itself: members of its JSON answer and their values."""


class VersionCheck:
    """The version check of one run of the gate.

    Args:
        informer: The live copy of the cluster.
        workloads: What is judged.
        settings: What is asked of the release, and whether its version is.
        expected: What it must say of itself; by default the version its pods are labelled with.
        routes: The ways to its pods.
        note: Told what could not be compared, and why.
    """

    def __init__(
        self,
        informer: Informer | Informers,
        workloads: Sequence[Workload],
        *,
        settings: GateSettings,
        expected: Expected | None,
        routes: Routes,
        note: Callable[[str], None],
    ) -> None:
        self._informer, self._workloads, self._expected = informer, tuple(workloads), expected
        self._path, self._routes, self._note = settings.path, routes, note
        self._on = settings.version_check and bool(settings.path)
        self._asked: set[str] = set()

    def named(self) -> frozenset[str | None]:
        """Return the versions that the workloads must name; None among them for any.

        Pods that a strategy leaves at a release before answer as that one.
        """
        snapshots = [self._informer.snapshot(it) for it in self._workloads]
        return frozenset(
            version
            for it in snapshots
            for version in (self._wanted(it).get("version"), *map(version_of, it.kept_pods))
        )

    def wrong_pod(self) -> str | None:
        """Ask each new pod that is ready, once; return in what one is not what was deployed.

        Raises:
            NoServiceError: The one that a workload names is not there.
        """
        if not self._on or self._informer.lost_for > 0:
            return None
        for workload in self._workloads:
            snapshot = self._informer.snapshot(workload)
            wanted = self._wanted(snapshot)
            for pod in snapshot.new_pods if wanted else ():
                if not is_ready(pod) or pod["metadata"]["uid"] in self._asked:
                    continue
                route = self._routes.of_pod(workload, pod)
                if route is None:
                    continue
                self._asked.add(pod["metadata"]["uid"])
                said = identity(route, self._path)
                if isinstance(said, str):
                    self._note(f"the version of {workload.name}'s pods{workload.where}: {said}")
                    continue
                why = self._difference(pod["metadata"]["name"], wanted, said)
                if why is not None:
                    return f"{why}{workload.where}"
        return None

    def wrong_answer(self, figures: ProbeMetrics) -> str | None:
        """Return which other version the service named, once the old pods were gone."""
        wanted = self.named()
        wrong = set(figures.versions) - wanted
        if not self._on or not wrong or None in wanted:
            return None
        return (
            f"the service answered as version {', '.join(sorted(wrong))}; "
            f"{', '.join(sorted(filter(None, wanted)))} was deployed"
        )

    def is_unheard(self, figures: ProbeMetrics) -> bool:
        """Return whether everything that answered says that it is another release.

        Nodes that were not told yet send requests to pods of the release before, which answer as
        long as they end: that is no judgement of this one.
        """
        wanted = self.named()
        known = self._on and None not in wanted
        return known and bool(figures.versions) and not wanted & set(figures.versions)

    def _difference(self, pod: str, wanted: Expected, said: Mapping[str, object]) -> str | None:
        for member, value in wanted.items():
            if member not in said:
                self._note(f"the version: {self._path} does not name {member}")
            elif said[member] != value:
                return (
                    f"pod {pod} answers {self._path} with {member} {said[member]}; "
                    f"{value} was deployed"
                )
        return None

    def _wanted(self, snapshot: Snapshot) -> Expected:
        """Return what a workload's pods must say of themselves."""
        if self._expected is not None:
            return self._expected
        if snapshot.live is None:
            return {}
        label = template_version(snapshot.live)
        # A release known by its digest alone has no version to compare.
        return {} if label is None or label.startswith("digest-") else {"version": label}
