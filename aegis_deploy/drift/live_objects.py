"""The live objects that a state's resources stand for, read from the API server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.detection import deleted_at, is_object, leaves, named
from aegis_deploy.kubernetes import informer, informers
from aegis_deploy.kubernetes.client import FORBIDDEN, NOT_FOUND, ApiError, Cluster, Object
from aegis_deploy.model.workloads.rollout import Workload, within
from aegis_deploy.stack.checkpoint import Resource, plain

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Part

_AT_ONCE = 8


@dataclass(frozen=True)
class LiveObject:
    """What a resource stands for.

    Attributes:
        path: Where the API server has it; None when it does not know the kind.
        object: The object; None when it is not there, or may not be read.
        refused: Why it may not be read; empty when it may.
    """

    path: str | None
    object: Object | None
    refused: str = ""


def read(cluster: Cluster, resources: Iterable[Resource]) -> Mapping[str, LiveObject]:
    """Read what resources stand for.

    Args:
        cluster: Where they are.
        resources: Resources that declare one object each.

    Returns:
        What is there, by the resource's URN.

    Raises:
        ApiError: Nobody may read anything, or the server does not answer.
    """
    wanted = list(resources)
    kinds = _Kinds(cluster)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        # One after the other, so that each group is asked for once.
        paths = {item.urn: kinds.path(item) for item in wanted}
        found = pool.map(lambda item: _get(cluster, paths[item.urn]), wanted)
        return {item.urn: live for item, live in zip(wanted, found, strict=True)}


def of_workloads(
    cluster: informers.Where, workloads: Iterable[Workload]
) -> Mapping[Workload, Object]:
    """Read workloads; one that is not there, or may not be read, is left out.

    Args:
        cluster: Where they are, or what returns the cluster that each is in.
        workloads: The workloads.

    Raises:
        ApiError: The server does not answer.
    """
    cluster_of = informers.reach(cluster)
    found = {
        it: _get(cluster_of(it), f"{informer.path_of(it)}/{quote(it.name)}").object
        for it in workloads
    }
    return {workload: live for workload, live in found.items() if live is not None}


@dataclass(frozen=True)
class Standing:
    """What of a stack's objects does not stand.

    Attributes:
        going: What is being deleted, with since when and what holds it, a line each.
        gone: What is not there.
        unknown: Why it is not known of some, a line each.
    """

    going: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()


def standing(cluster: Cluster, resources: Iterable[Resource]) -> Standing:
    """Say what of some objects is being deleted, or is not there.

    One that may not be read, whose kind nobody knows, or that leaves by itself counts as standing.

    Raises:
        ApiError: The server does not answer.
    """
    wanted = [item for item in resources if is_object(item)]
    live = read(cluster, wanted)
    going, absent = [], []
    for item in wanted:
        found = live[item.urn]
        label = named(item).label
        if found.object is not None and (since := deleted_at(found.object)):
            going.append(f"{label} {held(found.object, since)}")
        elif found.object is None and found.path and not found.refused and not leaves(item):
            absent.append(label)
    return Standing(tuple(going), tuple(absent))


def standing_in(parts: Sequence[Part[Resource]]) -> Standing:
    """Say what of objects in several clusters is being deleted, or is not there.

    Raises:
        ApiError: No server answers.
        AegisError: There is no way to any.
    """
    found: list[tuple[str, Standing]] = []
    unknown: list[str] = []
    for part in parts:
        try:
            found.append((within(part.name), standing(part.connect(), part.items)))
        except (ApiError, AegisError) as error:
            if len(parts) == len(unknown) + 1:
                raise
            unknown.append(part.told(error))
    # In one order, whichever of them the engine had made first.
    return Standing(
        tuple(sorted(f"{it}{where}" for where, them in found for it in them.going)),
        tuple(sorted(f"{it}{where}" for where, them in found for it in them.gone)),
        tuple(unknown),
    )


def held(live: Mapping[str, Any], since: str) -> str:
    """Say since when an object is being deleted, and what holds it."""
    by = ", ".join(live["metadata"].get("finalizers") or ())
    return f"is being deleted since {since}" + (f", held by {by}" if by else "")


def gone(cluster: Cluster, wanted: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Say which ConfigMaps and Secrets are not there; one that may not be read counts as there.

    Args:
        cluster: Where they are to be.
        wanted: Kind, namespace and name of each.

    Raises:
        ApiError: The server does not answer.
    """
    found = [
        (it, _get(cluster, f"/api/v1/namespaces/{it[1]}/{it[0].lower()}s/{quote(it[2])}"))
        for it in wanted
    ]
    return [it for it, live in found if live.object is None and not live.refused]


def _get(cluster: Cluster, path: str | None) -> LiveObject:
    if path is None:
        return LiveObject(path, None)
    try:
        return LiveObject(path, cluster.get(path))
    except ApiError as error:
        if error.code == NOT_FOUND:
            return LiveObject(path, None)
        if error.code == FORBIDDEN:
            return LiveObject(path, None, refused=str(error))
        raise


class _Kinds:
    """What the API server calls a kind in its paths."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[str, dict[str, tuple[str, bool]]] = {}

    def path(self, resource: Resource) -> str | None:
        """Return where an object is; None when its kind is no longer known."""
        version, kind, namespace, name = identity(resource)
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if root not in self._known:
            self._known[root] = self._ask(root)
        found = self._known[root].get(kind)
        if found is None:
            return None
        plural, namespaced = found
        within = f"/namespaces/{quote(namespace)}" if namespaced else ""
        return f"{root}{within}/{plural}/{quote(name)}"

    def _ask(self, root: str) -> dict[str, tuple[str, bool]]:
        try:
            listed = self._cluster.get(root).get("resources", [])
        except ApiError as error:
            if error.code == NOT_FOUND:
                return {}
            raise
        return {
            item["kind"]: (item["name"], bool(item["namespaced"]))
            for item in listed
            if "/" not in item["name"]
        }


def identity(resource: Resource) -> tuple[str, str, str, str]:
    """Return an object's API version, kind, namespace and name, as its state has them."""
    namespace, _, name = resource.id.rpartition("/")
    # The inputs may leave out what the type token and the id say.
    _, _, token = resource.type.partition(":")
    token_version, _, token_kind = token.rpartition(":")
    declared: Any = resource.inputs
    return (
        str(plain(declared.get("apiVersion")) or token_version.removeprefix("core/")),
        str(plain(declared.get("kind")) or token_kind),
        namespace or "default",
        name,
    )
