"""What a stack's databases are now: asked of whoever knows, remembered for when nobody answers.

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
from aegis_deploy.model.database import dataset as datasets
from aegis_deploy.model.database import schema
from aegis_deploy.model.database.dataset import Databases
from aegis_deploy.model.workloads.rollout import container_statuses, http_port, is_going, is_ready

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.kubernetes.client import Cluster
    from aegis_deploy.model.database.schema import DatabaseSchema
    from aegis_deploy.model.release import Release
    from aegis_deploy.stack.session import Session

_ASK_SECONDS = 3.0
_MOST_ASKED = 3
"""How many pods are asked: the first that answers knows as much as any other."""


class SchemaReader:
    """Knows what one stack's databases are: its first one's, and those of its data sets.

    Args:
        session: The stack, open.
        out: Where it is told what could not be asked.
        clusters: The stack's clusters.
    """

    def __init__(self, session: Session, out: Output, clusters: Clusters) -> None:
        self._session, self._out, self._clusters = session, out, clusters
        self.known = Databases()
        self._looked = False

    def look(self, *, remembers: bool = True) -> DatabaseSchema | None:
        """Ask whoever knows; return what the database of what runs is, None where nobody says it.

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
        runs = datasets.of_manifests(it.get("inputs") or {} for it in resources)
        heard: dict[str, list[DatabaseSchema | None]] = {runs: []}
        for name, said in self._said(namespaces):
            heard.setdefault(name, []).append(said)
        declared = schema.irreversible_of(it.get("inputs") or {} for it in resources)
        self.known = before
        for name, every in heard.items():
            found = schema.latest((before.of(name), *every))
            found = schema.frozen(found, declared) if name == runs else found
            if found is None or (name and datasets.short(name) not in before.datasets):
                # A data set that was dropped is not there because of what somebody heard of it.
                continue
            if remembers and found != before.of(name):
                found = schema_store.remember(self._session, found, name)
            self.known = self.known.with_one(name, found)
        self._looked = True
        return self.known.of(runs)

    def misfit(self, release: Release) -> str:
        """Say why a release does not fit its database as `look` found it; empty when it does.

        Whoever asks before anybody looked is no reason to say that everything fits: it looks.

        Raises:
            AegisError: What the release deployed, or the stack's tags, cannot be read.
        """
        if not self._looked:
            self.look()
        if self.known == Databases():
            return ""
        found = stack_history.deployed(self._session, release)
        return self.known.misfit(found.schema, found.dataset)

    def _said(self, namespaces: Sequence[str]) -> Iterator[tuple[str, DatabaseSchema | None]]:
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


def _of_namespace(cluster: Cluster, namespace: str) -> Iterator[tuple[str, DatabaseSchema | None]]:
    pods = cluster.get(f"/api/v1/namespaces/{namespace}/pods").get("items") or ()
    asked = 0
    for pod in pods:
        said = pod["metadata"].get("annotations") or {}
        if schema.JOB in said:
            dataset = datasets.of_annotations(said)
            yield from ((dataset, schema.of_answer(it)) for it in _ends(pod))
        elif schema.HEAD in said and is_ready(pod) and not is_going(pod) and asked < _MOST_ASKED:
            asked += 1
            yield datasets.of_annotations(said), _answer(cluster, pod, said)


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
