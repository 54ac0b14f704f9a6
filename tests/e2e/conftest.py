"""The stand that the end-to-end tests share: one copy of the program, one backend, the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.stand import Stand, require_free, stand


@pytest.fixture(scope="session")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The stand; whatever was deployed from it is destroyed at the end."""
    with stand(tmp_path_factory.mktemp("program")) as it:
        for namespace in ("aegis-staging", "aegis-production"):
            require_free(it, namespace)
        yield it
