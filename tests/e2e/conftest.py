"""What the end-to-end tests share: the program on the lab, a stand a file; a GitHub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.github_server import GitHubServer, serve
from tests.e2e.stand import Stand, stand


@pytest.fixture(scope="module")
def at(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The stand of a file, by the project's name that the file gives as ``PROJECT``.

    Whatever was deployed from it is destroyed at the end.
    """
    with stand(tmp_path_factory.mktemp("program"), request.module.PROJECT) as it:
        yield it


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubServer]:
    """What the jobs take for GitHub."""
    with serve() as it:
        yield it
