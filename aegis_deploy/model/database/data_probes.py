"""Whether a release works with its data: what is asked, and what an answer tells. Pure.

A service may say well which version it is and fail each request that needs its data. So where
somebody says by which paths that is seen, they are asked, too: the gate's own setting, or else
annotations of the pod template, which belong to the release and go back with it. Reads and writes
are judged by the rule that all probes are judged by, each alone: they are few, and among the many
that ask for the version alone even the failure of all of them could be let pass.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis_deploy.model.database.schema import annotations_of
from aegis_deploy.model.gate_settings import DataPaths, is_path
from aegis_deploy.model.probe_metrics import ProbeMetrics, allowed_failures

READ, WRITE = "read", "write"
ANNOTATIONS: Mapping[str, str] = {READ: "aegis.dev/data-read", WRITE: "aegis.dev/data-write"}
"""The annotations of a pod template that say by which paths its data is read and written."""
METHODS: Mapping[str, str] = {READ: "GET", WRITE: "POST"}

AWAY = "its database is away"
"""Why an answer says nothing of the release: the one before would have answered the same."""
FORBIDDEN = "the cluster does not let it through"
"""Likewise: the API server refused to pass it on."""
_AWAY_TYPE = "database-away"
_UNAVAILABLE, _FORBIDDEN = 503, 403

_MOST_READS, _LEAST_READS, _LEAST_WRITES = 2.0, 0.2, 0.1
_SHARE = 5


@dataclass(frozen=True, kw_only=True)
class DataFigures:
    """What the probes of a release's data saw.

    Attributes:
        of: Which ones: read or write.
        paths: What was asked for.
        figures: What came of it.
    """

    of: str
    paths: Sequence[str]
    figures: ProbeMetrics

    @property
    def what(self) -> str:
        """Which ones, for people."""
        return f"{self.of}s of {', '.join(self.paths)}"

    @property
    def away(self) -> int:
        """How many were answered that the database is away."""
        return self.figures.excused.get(AWAY, 0)

    @property
    def refused(self) -> int:
        """How many the API server did not pass on."""
        return self.figures.excused.get(FORBIDDEN, 0)

    @property
    def unheard(self) -> bool:
        """Whether none has come to anything yet."""
        return not self.figures.total and not self.figures.excused

    def untold(self, ratio: float) -> bool:
        """Return whether too many say nothing of the release to tell whether it is good."""
        return self.away > allowed_failures(self.figures.total + self.away, ratio)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "of": self.of,
            "paths": list(self.paths),
            "excused": dict(self.figures.excused),
            **self.figures.as_json(),
        }


def rate(of: str, probe_rate: float) -> float:
    """Return how many reads or writes a second there are.

    A share of all probes, bounded: a service that rations them must not have to refuse any, and
    some have to come in any bake time.

    Args:
        of: Which ones.
        probe_rate: How many probes a second there are beside them.
    """
    reads = min(_MOST_READS, max(_LEAST_READS, probe_rate / _SHARE))
    return reads if of == READ else max(_LEAST_WRITES, reads / _SHARE)


def of_template(manifest: Mapping[str, Any] | None) -> DataPaths:
    """Return what a workload's pod template says; what is no path in it is left out."""
    said = {} if manifest is None else annotations_of(manifest)
    found = {of: said.get(name) for of, name in ANNOTATIONS.items()}
    return DataPaths(**{of: str(path) for of, path in found.items() if is_path(path)})


def wrong_annotation(manifest: Mapping[str, Any] | None) -> str:
    """Say which annotation of a pod template is no path; empty when none is."""
    said = {} if manifest is None else annotations_of(manifest)
    for name in ANNOTATIONS.values():
        if name in said and not is_path(said[name]):
            return (
                f"the annotation {name} is {said[name]!r}; "
                "it is to be a path such as /v1/records?limit=1"
            )
    return ""


def excuse(status: int, body: bytes, *, proxied: bool) -> str:
    """Say why an answer says nothing of the release; empty when it does.

    Args:
        status: Its status.
        body: What it says.
        proxied: Whether it came by way of the API server, which may have answered itself.
    """
    if status not in (_UNAVAILABLE, _FORBIDDEN):
        return ""
    try:
        said = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    if status == _FORBIDDEN:
        own = said.get("kind") == "Status" and said.get("apiVersion") == "v1"
        return FORBIDDEN if proxied and own else ""
    kind = str(said.get("type"))
    for mark in (":", "/", "#"):
        kind = kind.rpartition(mark)[2]
    return AWAY if kind == _AWAY_TYPE else ""
