"""The way to the server of a stack's data sets: who may not, and what is not ready, is told."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.database.dataset import LOADER_URL
from aegis_deploy.operations import dataset_access
from aegis_deploy.operations.dataset_access import Place, opened

PLACE = Place(
    name="db", namespace="n", provider="", secret="db-loader", selector={"app": "db"},
    claims=("data",),
)  # fmt: skip
URL = "postgresql://loader:hunter@db:5433/shop"


class Api:
    """A cluster with the server, or with something of it missing."""

    def __init__(self, **changes: Any) -> None:
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        self.found: dict[str, Any] = {
            "secrets/db-loader": {"data": {LOADER_URL: base64.b64encode(URL.encode()).decode()}},
            "pods": {"items": [{"metadata": {"name": "db-0"}, "status": ready}]},
            "persistentvolumeclaims/data": {"status": {"capacity": {"storage": "1Gi"}}},
            **changes,
        }

    def get(self, path: str, query: dict[str, str] | None = None) -> Any:
        name = path.removeprefix("/api/v1/namespaces/n/")
        assert (query or {}).get("labelSelector", "app=db") == "app=db"
        found = self.found[name]
        if isinstance(found, Exception):
            raise found
        return found


class Clusters:
    """The one that it is in."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def at(self, provider: str) -> Api:
        assert provider == ""
        return self._api


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the server is opened with; it is not there."""
    seen: list[Any] = []

    @contextmanager
    def way(_: object, namespace: str, pod: str, port: int) -> Iterator[int]:
        assert (namespace, pod, port) == ("n", "db-0", 5433)
        yield 7

    def server(address: Any, out: object) -> Any:
        assert out
        seen.append(address)
        return "the server"

    monkeypatch.setattr(dataset_access, "forwarded", way)
    monkeypatch.setattr(dataset_access, "DatasetServer", server)
    return seen


def refused(api: Api) -> AegisError:
    out = Output(results=io.StringIO(), messages=io.StringIO())
    with pytest.raises(AegisError) as error, opened(PLACE, cast("Any", Clusters(api)), out):
        pass
    return error.value


def test_it_is_reached_on_the_loopback_as_the_loader(addresses: list[Any]) -> None:
    out = Output(results=io.StringIO(), messages=io.StringIO())
    with opened(PLACE, cast("Any", Clusters(Api())), out) as way:
        assert str(way.server) == "the server"
        assert way.capacity == 1 << 30
    (address,) = addresses
    parts = address.environment()
    assert (parts["PGHOST"], parts["PGPORT"]) == ("127.0.0.1", "7")
    assert (parts["PGUSER"], parts["PGDATABASE"]) == ("loader", "shop")
    assert "hunter" not in address.shown + repr(address)


def test_a_volume_that_may_not_be_seen_is_no_reason_to_fail(addresses: list[Any]) -> None:
    api = Api(**{"persistentvolumeclaims/data": ApiError(403, "no")})
    out = Output(results=io.StringIO(), messages=io.StringIO())
    with opened(PLACE, cast("Any", Clusters(api)), out) as way:
        assert way.capacity is None
    assert addresses


def test_who_may_not_read_the_secret_is_told_what_to_ask_for(addresses: list[Any]) -> None:
    error = refused(Api(**{"secrets/db-loader": ApiError(403, "Forbidden")}))
    assert error.why == "Forbidden"
    assert "kubectl auth can-i create pods/portforward --namespace n" in error.next
    assert not addresses


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"secrets/db-loader": {"data": {}}}, "nobody says as whom data sets are loaded to db"),
        ({"pods": {"items": []}}, "the server db in n is not ready"),
    ],
)
def test_what_is_not_there_is_told(
    addresses: list[Any], changes: dict[str, Any], what: str
) -> None:
    assert refused(Api(**changes)).what == what
    assert not addresses
