"""What is sent to an API server to change something."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from aegis_deploy.kubernetes.client import CONFLICT, FORBIDDEN, ApiError, Cluster
from aegis_deploy.kubernetes.connection import Connection


@dataclass
class Pool:
    """Connections that answer everything with one status."""

    status: int = 200
    sent: list[tuple[str, str, Any]] = field(default_factory=list)

    def request(self, method: str, url: str, *, body: bytes | None, **_: Any) -> SimpleNamespace:
        self.sent.append((method, url, None if body is None else json.loads(body)))
        return SimpleNamespace(status=self.status, data=b'{"message": "the UID is another"}')


def cluster(pool: Pool) -> Cluster:
    return Cluster(Connection("https://api", pool, dict, SimpleNamespace))


def test_a_deletion_names_the_very_object_that_is_to_go() -> None:
    pool = Pool()
    cluster(pool).delete("/api/v1/namespaces/n/pods/a", uid="u")
    assert pool.sent == [
        (
            "DELETE",
            "https://api/api/v1/namespaces/n/pods/a",
            {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "u"}},
        )
    ]


def test_of_another_object_of_that_name_it_is_refused() -> None:
    with pytest.raises(ApiError, match="the UID is another") as refused:
        cluster(Pool(status=CONFLICT)).delete("/api/v1/namespaces/n/pods/a", uid="u")
    assert refused.value.code == CONFLICT


def test_what_is_read_is_read_and_what_is_changed_is_a_patch() -> None:
    pool = Pool()
    cluster(pool).get("/version")
    cluster(pool).patch("/a", [])
    cluster(pool).merge("/b", {}, manager="m")
    assert [method for method, *_ in pool.sent] == ["GET", "PATCH", "PATCH"]


def test_what_is_made_is_sent_whole_to_where_its_kind_is_listed() -> None:
    pool = Pool(status=201)
    cluster(pool).create("/apis/batch/v1/namespaces/n/jobs", {"kind": "Job"})
    assert pool.sent == [("POST", "https://api/apis/batch/v1/namespaces/n/jobs", {"kind": "Job"})]
    with pytest.raises(ApiError, match="the UID is another"):
        cluster(Pool(status=FORBIDDEN)).create("/a", {})
