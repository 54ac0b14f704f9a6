"""In which order the tests run, and which of them stay together on one worker of `pytest-xdist`.

End-to-end tests wait for pods most of their time, so they begin first, several files at once, the
longest before the others. Those that need the lab for themselves follow, while the other workers
do the integration and unit tests, which need no lab. Alone on one worker the order is the same.

Which tests stay together is told by their files: `--dist loadgroup` of pytest-xdist 3.8 writes it
into the tests' ids, which pytest 9.2 no longer lets it do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from xdist.remote import Producer

ROOT = Path(__file__).resolve().parents[1]
ALONE = ("test_lab", "test_faults_cluster")
"""The end-to-end files that end the lab's daemons or bring the lab up anew."""
TOGETHER = (
    "test_coverage_of_processes",
    "test_backends_in_engine",
    "test_bad_databases",
    "test_data_load",
    "test_data_interrupted",
    "test_data_odds",
    "test_data_rules",
    "test_data_s3",
    "test_data_sample",
    "test_datasets",
    "test_migrations",
    "test_rehearsal",
    "test_service_on_database",
)
"""The integration files whose tests would disturb each other, or would start servers twice."""
LONGEST_FIRST = (
    "test_database",
    "test_way_in",
    "test_rollback",
    "test_recover",
    "test_postgres_inside",
    "test_gate",
    "test_pipeline",
    "test_nodes",
    "test_autoscaled",
    "test_schema_fit",
    "test_deploy",
    "test_faults_by_hand",
    "test_added",
    "test_network_policies",
    "test_sets",
    "test_replay",
    "test_autoscale",
    "test_external_route",
    "test_guard",
    "test_sampling",
    "test_pipeline_faults",
    "test_replay_order",
    "test_unhealthy_rollback",
    "test_replay_image",
    "test_two_clusters",
    "test_languages",
)
"""The end-to-end files, by how long they take (docs/testing.md); others come after them."""


def kind_of(path: Path) -> str:
    """Return the kind of a test by its directory: ``unit``, ``integration``, ``e2e``."""
    return path.relative_to(ROOT / "tests").parts[0]


def is_alone(path: Path) -> bool:
    """Return whether a file's tests need the lab for themselves."""
    return kind_of(path) == "e2e" and path.stem in ALONE


def group_of(path: Path) -> str:
    """Return the group that a file's tests are in; empty when they may run anywhere.

    All that need the lab for themselves are one group: while one of them runs the next could only
    wait. Unit tests of a file stay together for its fixtures' sake.
    """
    if is_alone(path):
        return "the lab alone"
    anywhere = kind_of(path) == "integration" and path.stem not in TOGETHER
    return "" if anywhere else str(path.relative_to(ROOT))


def rank(path: Path) -> tuple[int, int]:
    """Return what a file's tests are sorted by."""
    kind = kind_of(path)
    if kind != "e2e":
        return (3 if kind == "unit" else 2, 0)
    place = LONGEST_FIRST.index(path.stem) if path.stem in LONGEST_FIRST else len(LONGEST_FIRST)
    return (1 if is_alone(path) else 0, place)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in order; those of one file keep theirs."""
    items.sort(key=lambda item: rank(item.path))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # pytest-xdist has no types
    """Hands the tests out group by group, in their order."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return group_of(ROOT / nodeid.partition("::")[0]) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    """Hand the tests of a parallel run out as this module says."""
    return Scheduling(config, log)
