"""A stack at the stand-in of Pulumi Cloud, one service a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_deploy.backend.cloud_store import ServiceStore
from tests.integration.cloud_service import Cloud
from tests.integration.cloud_shop import (
    Prepared,
    Shop,
    copied_shop,
    made_store,
    prepare,
    running_service,
)


@pytest.fixture(scope="module")
def service() -> Iterator[Cloud]:
    """The service."""
    with running_service() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Prepared:
    """A project and its stack, made once."""
    return prepare(tmp_path_factory.mktemp("prepared"), programs)


@pytest.fixture
def shop(
    service: Cloud,
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Shop]:
    """A project and its stack at the service."""
    with copied_shop(service, prepared, tmp_path, monkeypatch, capsys) as made:
        yield made


@pytest.fixture
def store(service: Cloud, tmp_path: Path) -> Iterator[ServiceStore]:
    """A stack that no CLI is needed for."""
    with made_store(service, tmp_path) as made:
        yield made
