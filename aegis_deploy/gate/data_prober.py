"""Probes of a release's data, beside those of the service itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Self

from aegis_deploy.gate.prober import Asking, Prober
from aegis_deploy.model.database.data_probes import READ, WRITE, DataFigures, excuse, rate
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import ProbeMetrics

Ways = Callable[[], Mapping[str, Sequence[Asking]]]
"""Gives the ways to read and to write, anew for every probe."""
PATIENCE = 15.0
"""So long at least an answer is waited for: a service waits some seconds for a database that does
not answer before it can say so, and that must not be taken for the service's own silence."""


class DataProber:
    """Reads and writes in the background from its start to its end; a context manager."""

    def __init__(
        self, ways: Ways, settings: GateSettings, *, was_heard: Callable[[float, float], bool]
    ) -> None:
        """Prepare it.

        Args:
            ways: The ways to take.
            settings: How closely the release is looked at.
            was_heard: Whether the API server was there during a time.
        """
        self._ways = ways
        self._paths: dict[str, set[str]] = {READ: set(), WRITE: set()}
        self._probers = {
            of: Prober(
                partial(self._to, of),
                "",
                rate=rate(of, settings.probe_rate),
                p99_ms=settings.p99_ms,
                was_heard=was_heard,
                excuse=excuse,
                patience=PATIENCE,
            )
            for of in (READ, WRITE)
        }
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for prober in self._probers.values():
            self._stack.enter_context(prober)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[Prober]:
        """What sends them."""
        return iter(self._probers.values())

    def figures(self, judged: Callable[[Prober], ProbeMetrics]) -> tuple[DataFigures, ...]:
        """Sum up what came of those that are sent.

        Args:
            judged: Sums up the answers of one kind that count.
        """
        return tuple(
            DataFigures(of=of, paths=tuple(sorted(self._paths[of])), figures=judged(prober))
            for of, prober in self._probers.items()
            if self._paths[of]
        )

    def _to(self, of: str) -> Sequence[Asking]:
        ways = self._ways()[of]
        # Replaced and not changed: it is read by another thread.
        self._paths[of] = self._paths[of] | {it.path for it in ways}
        return ways
