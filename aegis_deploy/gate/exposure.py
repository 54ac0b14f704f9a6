"""How many requests from outside came to a release that has a share of them.

Requests are sent as users send them, beside whatever judges the release, and told apart by the
version that their answers name.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self

from aegis_deploy.gate.external_way import NoWayError, way_in
from aegis_deploy.gate.prober import Prober
from aegis_deploy.kubernetes.client import ApiError

if TYPE_CHECKING:
    from aegis_deploy.gate.analysis import Progress
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.model.gate_settings import GateSettings
    from aegis_deploy.model.probe_metrics import ProbeMetrics
    from aegis_deploy.model.routes.external_routes import Route

_VERSION = "version"


def told(seen: ProbeMetrics, version: str, share: object) -> str:
    """Say how many requests came to a release.

    Args:
        seen: What they saw.
        version: What the release says of itself; empty where that is not known.
        share: The share that it was to have.
    """
    named = sum(seen.versions.values())
    if not named:
        return f"its share of requests: none of {seen.total} from outside named a version"
    if not version or set(seen.versions) == {version}:
        only = ", ".join(seen.versions)
        return f"its share of requests: every answer names {only}, which tells no releases apart"
    own = seen.versions.get(version, 0)
    failed = f", {seen.failed} of {seen.total} failed" if seen.failed else ""
    return (
        f"its share of requests: {own} of {named} from outside ({own / named:.1%}) came to it, "
        f"{share} was set{failed}"
    )


class Exposure:
    """Sends requests from outside from the beginning of a bake time on; a context manager.

    Args:
        cluster: The cluster.
        external: What leads in from outside.
        settings: The gate's: how often is asked, for what, and what share was set.
        expected: What the release says of itself.

    Attributes:
        notes: What was seen, once it has ended; or why nothing could be.
    """

    def __init__(
        self,
        cluster: Cluster,
        external: Sequence[Route],
        settings: GateSettings,
        expected: Mapping[str, str],
    ) -> None:
        self._cluster, self._external, self._settings = cluster, external, settings
        self._version = expected.get(_VERSION, "")
        self._prober: Prober | None = None
        self._began = 0.0
        self._stack = ExitStack()
        self.notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        if self._prober is not None:
            seen = self._prober.figures(since=self._began)
            self.notes = (told(seen, self._version, self._settings.canary_share),)

    def hear(self, progress: Progress) -> None:
        """Begin once the new pods are all there are of the share."""
        if progress.phase != "bake" or self._prober is not None or self.notes:
            return
        try:
            ways = [way_in(self._cluster, it, self._settings) for it in self._external]
        except (NoWayError, ApiError) as error:
            self.notes = (f"its share of requests: {error}",)
            return
        self._began = time.monotonic()
        self._prober = self._stack.enter_context(
            Prober(
                lambda: ways,
                self._settings.path,
                rate=self._settings.probe_rate,
                p99_ms=self._settings.p99_ms,
            )
        )
