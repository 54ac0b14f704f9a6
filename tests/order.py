"""In which order the tests run, and which of them stay together on one worker of `pytest-xdist`.

End-to-end tests wait for pods most of their time, so they begin first, several groups at once, the
longest before the others. Those that need the lab for themselves follow, while the other workers
do the integration and unit tests, which need no lab. Alone on one worker the order is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALONE = "alone"
"""The marker of tests that end the lab's daemons or bring the lab up anew."""
LONGEST_FIRST = (
    "test_pipeline",
    "test_rollback",
    "test_deploy",
    "test_recover",
    "test_gate",
    "test_faults_by_hand",
    "test_guard",
    "test_rollback_report",
    "test_replay",
    "test_pipeline_faults",
    "test_languages",
    "test_replay_order",
)
"""The end-to-end files, by how long they take (docs/testing.md); others come after them."""


def kind_of(path: Path) -> str:
    """Return the kind of a test by its directory: ``unit``, ``integration``, ``e2e``."""
    return path.relative_to(ROOT / "tests").parts[0]


def group_of(path: Path, *, alone: bool) -> str:
    """Return the group that a test is in; empty when it may run anywhere.

    Args:
        path: Its file.
        alone: Whether it needs the lab for itself; all that do are one group, for while one of
            them runs the next could only wait.
    """
    if alone:
        return ALONE
    return path.stem if kind_of(path) == "e2e" else ""


def rank(path: Path, *, alone: bool) -> tuple[int, int]:
    """Return what a test is sorted by.

    Args:
        path: Its file.
        alone: Whether it needs the lab for itself.
    """
    kind = kind_of(path)
    if kind != "e2e":
        return (3 if kind == "unit" else 2, 0)
    place = LONGEST_FIRST.index(path.stem) if path.stem in LONGEST_FIRST else len(LONGEST_FIRST)
    return (1 if alone else 0, place)


def is_alone(item: pytest.Item) -> bool:
    """Whether a test needs the lab for itself."""
    return item.get_closest_marker(ALONE) is not None


def group(item: pytest.Item) -> str:
    """Return the group of a test."""
    return group_of(item.path, alone=is_alone(item))


def arrange(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return tests in the order in which they are to run; those of one file keep theirs."""
    return sorted(items, key=lambda item: rank(item.path, alone=is_alone(item)))


# Before pytest-xdist, which writes the groups into the tests' names.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in order and say which belong together."""
    for item in items:
        if name := group(item):
            item.add_marker(pytest.mark.xdist_group(name))
    items[:] = arrange(items)
