"""What holds for every test of the flows."""

from __future__ import annotations

import pytest

from aegis_deploy.operations import warm_up


@pytest.fixture(autouse=True)
def _nothing_is_imported_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread of its own would import the engine's libraries beside the next tests."""
    monkeypatch.setattr(warm_up, "begin", lambda *_: None)
