"""A stack at the stand-in of Pulumi Cloud, one service a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.service_store import ServiceStore
from tests.integration.cloud_service import Cloud
from tests.integration.cloud_shop import Shop, made_shop, made_store, running_service


@pytest.fixture(scope="module")
def service() -> Iterator[Cloud]:
    """The service."""
    with running_service() as cloud:
        yield cloud


@pytest.fixture
def shop(
    service: Cloud,
    tmp_path: Path,
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    """A project and its stack at the service."""
    with made_shop(service, tmp_path, programs, monkeypatch, capsys) as made:
        yield made


@pytest.fixture
def store(
    service: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ServiceStore]:
    """A stack that no CLI is needed for."""
    with made_store(service, tmp_path, monkeypatch) as made:
        yield made
