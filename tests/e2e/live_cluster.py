"""What a cluster has, asked for in this process: a test that looks or waits needs no `kubectl`.

Only reading, and the applying of whole objects. What a person types in a test stays `kubectl`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from aegis_deploy.kubernetes import connection

SECONDS = 300
"""How long an answer may take: the API server is stopped under some who ask."""
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_FIRST_ERROR, _NOT_FOUND = 400, 404
_WHO = "tests"


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind as its API server has it.

    Attributes:
        version: Its API version.
        kind: Its name in objects.
        root: Where its API version is.
        plural: Its name in paths.
        namespaced: Whether its objects are in namespaces.
    """

    version: str
    kind: str
    root: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "") -> str:
        """Where its objects are listed, or one of them is."""
        within = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.root}{within}/{self.plural}" + (f"/{quote(name)}" if name else "")


class LiveCluster:
    """A cluster by its kubeconfig; may be used from several threads.

    A kind is named as `kubectl` has it: by its singular or plural, or as ``Kind.version.group``.
    """

    def __init__(self, way: connection.Connection) -> None:
        self._way = way
        self._known: dict[str, _Kind] = {}

    def find(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """Return an object; None when there is none of that name."""
        status, body = self._ask(self._kind(kind).path(namespace, name))
        if status == _NOT_FOUND:
            return None
        found: dict[str, Any] = _answered(status, body)
        return found

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Return an object, which must be there."""
        found = self.find(kind, name, namespace)
        assert found is not None, f"there is no {kind} {name} in {namespace or 'the cluster'}"
        return found

    def objects(
        self, kind: str, namespace: str | None = None, selector: str = ""
    ) -> list[dict[str, Any]]:
        """Return the objects of a kind, of all namespaces or of one.

        Args:
            kind: The kind.
            namespace: The namespace; None means all of them.
            selector: Which labels they must have.
        """
        it = self._kind(kind)
        query = {"labelSelector": selector} if selector else {}
        items = _answered(*self._ask(it.path(namespace), query))["items"]
        # A list says so once, for all of them.
        return [{"apiVersion": it.version, "kind": it.kind, **item} for item in items]

    def log(self, pod: str, namespace: str) -> str:
        """Return what a pod of one container has logged; empty before that has started."""
        status, body = self._ask(self._kind("pod").path(namespace, pod) + "/log")
        return body.decode() if status < _FIRST_ERROR else ""

    def apply(self, thing: Mapping[str, Any]) -> None:
        """Have an object be as it is given, whoever else has a say in its fields."""
        metadata = thing["metadata"]
        version = str(thing["apiVersion"])
        group, _, number = version.rpartition("/")
        it = self._kind(f"{thing['kind']}.{number}.{group}")
        query = {"fieldManager": _WHO, "force": "true"}
        path = it.path(metadata.get("namespace"), metadata["name"])
        _answered(*self._ask(path, query, body=json.dumps(thing).encode()))

    def _kind(self, called: str) -> _Kind:
        if called.lower() not in self._known:
            for root in ("/api", "/apis"):
                self._learn(root)
        found = self._known.get(called.lower())
        assert found is not None, f"{self._way.host} knows no {called}"
        return found

    def _learn(self, root: str) -> None:
        """Read what kinds there are; a definition may have come since the last time."""
        for group in _answered(*self._ask(root, accept=_DISCOVERY))["items"]:
            name = group.get("metadata", {}).get("name", "")
            for version in group["versions"]:
                number = version["version"]
                full = f"{name}/{number}" if name else number
                for it in version.get("resources", ()):
                    kind = it["responseKind"]["kind"]
                    found = _Kind(
                        version=full,
                        kind=kind,
                        root=f"{root}/{full}",
                        plural=it["resource"],
                        namespaced=it["scope"] == "Namespaced",
                    )
                    whole = f"{it['resource']}.{name}" if name else it["resource"]
                    self._known[f"{kind}.{number}.{name}".lower()] = found
                    # The server has the version first that it prefers, and the groups in order.
                    for word in (it["resource"], it["singularResource"], whole):
                        self._known.setdefault(word.lower(), found)

    def _ask(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        body: bytes | None = None,
    ) -> tuple[int, bytes]:
        asked = f"?{urlencode(query)}" if query else ""
        answer = self._way.pool.request(
            "GET" if body is None else "PATCH",
            self._way.host + path + asked,
            body=body,
            headers={
                "Accept": accept,
                **({} if body is None else {"Content-Type": "application/apply-patch+yaml"}),
                **self._way.authorization(),
            },
            timeout=SECONDS,
            retries=False,
        )
        return int(answer.status), bytes(answer.data)


def live_cluster(environment: Mapping[str, str]) -> LiveCluster:
    """Return the cluster to which an environment's `KUBECONFIG` leads; connected to once."""
    kubeconfig = environment["KUBECONFIG"]
    # A lab that is brought up anew may have other certificates.
    return _connected(kubeconfig, Path(kubeconfig).stat().st_mtime_ns)


@cache
def _connected(kubeconfig: str, _written: int) -> LiveCluster:
    return LiveCluster(connection.connected(None, kubeconfig, None))


def _answered(status: int, body: bytes) -> Any:
    assert status < _FIRST_ERROR, f"{status}: {body.decode(errors='replace')}"
    return json.loads(body)
