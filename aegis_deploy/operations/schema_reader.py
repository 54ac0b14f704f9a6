"""What a stack's database is now: asked of whoever knows, remembered for when nobody answers.

Those are the pods that run, the migrations that ended, and what was remembered of both before. None
of them has to be right by itself, for both numbers of a database only ever grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.console import Output
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import schema_store, stack_history
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model import schema
from aegis_deploy.model.rollout import container_statuses, http_port, is_going, is_ready

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.model.release import Release
    from aegis_deploy.model.schema import DatabaseSchema
    from aegis_deploy.stack.session import Session

_ASK_SECONDS = 3.0
_MOST_ASKED = 3
"""How many pods are asked: the first that answers knows as much as any other."""


class SchemaReader:
    """Knows what one stack's database is.

    Args:
        session: The stack, open.
        out: Where it is told what could not be asked.
        clusters: The stack's clusters.
    """

    def __init__(self, session: Session, out: Output, clusters: Clusters) -> None:
        self._session, self._out, self._clusters = session, out, clusters
        self._known: DatabaseSchema | None = None

    def look(self, *, remembers: bool = True) -> DatabaseSchema | None:
        """Ask whoever knows; return what the database is, None where nobody says anything.

        A cluster that does not answer is no reason to fail: what was remembered is then what is
        known.

        Args:
            remembers: Whether what is heard is remembered; whoever only looks changes nothing.

        Raises:
            AegisError: The stack's tags cannot be read or written.
        """
        before = schema_store.read(self._session)
        resources = self._session.resources()
        namespaces = _namespaces(resources)
        if namespaces:
            self._clusters.see(resources)
        found = schema.latest((before, *self._said(namespaces)))
        declared = schema.irreversible_of(it.get("inputs") or {} for it in resources)
        found = schema.frozen(found, declared)
        if remembers and found is not None and found != before:
            found = schema_store.remember(self._session, found)
        self._known = found
        return found

    def misfit(self, release: Release) -> str:
        """Say why a release does not fit the database as `look` found it; empty when it does.

        Raises:
            AegisError: What the release deployed cannot be read.
        """
        if self._known is None:
            return ""
        return schema.misfit(stack_history.deployed(self._session, release).schema, self._known)

    def _said(self, namespaces: Sequence[str]) -> Iterator[DatabaseSchema | None]:
        for part in self._clusters.all() if namespaces else ():
            try:
                cluster = part.connect()
                for namespace in namespaces:
                    yield from _of_namespace(cluster, namespace)
            except (ApiError, AegisError) as error:
                self._out.warn(f"what the database is was not asked: {part.told(error)}")


def _namespaces(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """The namespaces of whatever says something of a schema."""
    found = []
    for item in resources:
        inputs = item.get("inputs") or {}
        said = schema.annotations_of(inputs)
        if schema.HEAD in said or schema.JOB in said:
            live = item.get("outputs") or inputs
            found.append(str((live.get("metadata") or {}).get("namespace") or "default"))
    return list(dict.fromkeys(found))


def _of_namespace(cluster: Cluster, namespace: str) -> Iterator[DatabaseSchema | None]:
    pods = cluster.get(f"/api/v1/namespaces/{namespace}/pods").get("items") or ()
    asked = 0
    for pod in pods:
        said = pod["metadata"].get("annotations") or {}
        if schema.JOB in said:
            yield from map(schema.of_answer, _ends(pod))
        elif schema.HEAD in said and is_ready(pod) and not is_going(pod) and asked < _MOST_ASKED:
            asked += 1
            yield _answer(cluster, pod, said)


def _ends(pod: Mapping[str, Any]) -> Iterator[str]:
    """What the containers of a pod said at their end."""
    for status, _ in container_statuses(pod):
        for state in (status.get("state"), status.get("lastState")):
            message = ((state or {}).get("terminated") or {}).get("message")
            if message:
                yield str(message)


def _answer(
    cluster: Cluster, pod: Mapping[str, Any], said: Mapping[str, Any]
) -> DatabaseSchema | None:
    port, metadata = http_port(pod), pod["metadata"]
    if port is None:
        return None
    path = str(said.get(schema.PATH) or schema.USUAL_PATH).removeprefix("/")
    place = f"/api/v1/namespaces/{metadata['namespace']}/pods/http:{metadata['name']}:{port}/proxy"
    try:
        _, body = cluster.answer(f"{place}/{path}", seconds=_ASK_SECONDS)
    except ApiError:
        return None
    return schema.of_answer(body.decode(errors="replace"))
