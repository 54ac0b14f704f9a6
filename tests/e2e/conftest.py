"""What the end-to-end tests share: one copy of the program, one backend, the lab; a GitHub."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.github_server import GitHubServer, serve
from tests.e2e.stand import Stand, require_free, stand


@pytest.fixture(scope="session")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The stand; whatever was deployed from it is destroyed at the end."""
    with stand(tmp_path_factory.mktemp("program")) as it:
        for namespace in ("aegis-staging", "aegis-production"):
            require_free(it, namespace)
        yield it


@pytest.fixture(scope="module")
def github() -> Iterator[GitHubServer]:
    """What the jobs take for GitHub."""
    with serve() as it:
        yield it
