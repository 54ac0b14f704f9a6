"""The stacks, rendered under Pulumi's mocks."""

from __future__ import annotations

import pytest

from tests.rendering import Rendering, render

STACKS = ("development", "staging", "production")


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    """Each stack's name in turn."""
    return str(request.param)


@pytest.fixture
def rendering(stack: str) -> Rendering:
    """Each stack in turn, as it is committed."""
    return render(stack)
