"""How much processor time each test takes, into the run's JUnit file: what is slow works, or waits.

What a test's process used counts, and what processes used that it started and waited for (`aegis`,
the CLI and whatever these waited for themselves). The cluster's own is not: it is nobody's child.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

PROPERTY = "processor"
"""The property of a test in the JUnit file; seconds."""
_begun = pytest.StashKey[float]()


def used() -> float:
    """Return the seconds of processor used so far, by this process and those it waited for."""
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None]:
    """Begin to count, before the first fixture is made."""
    item.stash[_begun] = used()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None]:
    """Note what was used, after the last fixture has ended."""
    try:
        return (yield)
    finally:
        if _begun in item.stash:
            item.user_properties.append((PROPERTY, f"{used() - item.stash[_begun]:.2f}"))
