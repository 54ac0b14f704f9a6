"""The stacks, rendered under Pulumi's mocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.rendering import Rendering, render
from tests.unit.components.authority import certificate

STACKS = ("development", "staging", "production")


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    """Each stack's name in turn."""
    return str(request.param)


@pytest.fixture
def rendering(stack: str) -> Rendering:
    """Each stack in turn, as it is committed."""
    return render(stack)


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of an authority's certificate, which is in the checkout meanwhile."""
    read = Path.read_text

    def read_text(path: Path, *args: Any, **more: Any) -> str:
        return certificate() if path.name == "of-a-test.pem" else read(path, *args, **more)

    monkeypatch.setattr(Path, "read_text", read_text)
    return "of-a-test.pem"
