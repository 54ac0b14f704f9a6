"""Fixtures of the service's tests: an environment that holds nothing of the machine's."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes every AEGIS_ variable away and sets the two that are required."""
    for name in list(os.environ):
        if name.upper().startswith("AEGIS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AEGIS_ENVIRONMENT", "development")
    monkeypatch.setenv("AEGIS_DATA_PROFILE", "mock")


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Puts the process's logging back as it was."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers, root.level, logging.raiseExceptions
    yield
    root.handlers, logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.captureWarnings(False)


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Runs asynchronous tests on the loop the service runs on."""
    return "asyncio", {"use_uvloop": True}
