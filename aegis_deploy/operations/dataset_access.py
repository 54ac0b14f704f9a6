"""The way to the server that a stack's data sets are on: through the cluster's API server alone.

Which one that is, and as whom one comes in, a workload of the stack says (docs/datasets.md). It is
opened to no network: a port of its pod is forwarded to this machine's loopback.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aegis_deploy.common.errors import AegisError
from aegis_deploy.data.connection import Address
from aegis_deploy.data.dataset_server import DatasetServer
from aegis_deploy.kubernetes.client import ApiError, whole_quantity
from aegis_deploy.kubernetes.port_forward import forwarded
from aegis_deploy.model.database.dataset import LOADER, LOADER_URL
from aegis_deploy.model.fingerprint import provider_of
from aegis_deploy.model.workloads.rollout import is_going, is_ready

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.kubernetes.client import Cluster

_USUAL_PORT = 5432


@dataclass(frozen=True, kw_only=True)
class Place:
    """A server that takes data sets, as a stack's state has it.

    Attributes:
        name: What its workload is called.
        namespace: Where it is.
        provider: The URN of its provider.
        secret: The Secret that says as whom it is loaded to.
        selector: The labels of its pods.
        claims: The claims of its volumes.
    """

    name: str
    namespace: str
    provider: str
    secret: str
    selector: Mapping[str, str]
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Opened:
    """A server that can be talked to.

    Attributes:
        server: It.
        capacity: How large its volume is, in bytes; None where nobody says.
    """

    server: DatasetServer
    capacity: int | None


def find(resources: Sequence[Mapping[str, Any]], stack: str) -> Place:
    """Return the server that takes a stack's data sets.

    Args:
        resources: The state's.
        stack: What the stack is called.

    Raises:
        AegisError: It has none.
    """
    for it in resources:
        inputs = it.get("inputs") or {}
        metadata = inputs.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        said = metadata.get("annotations") or {}
        if it.get("delete") or LOADER not in said:
            continue
        live = (it.get("outputs") or {}).get("metadata") or metadata
        spec = inputs["spec"]
        volumes = spec["template"]["spec"].get("volumes") or ()
        claims = (volume.get("persistentVolumeClaim") or {} for volume in volumes)
        return Place(
            name=str(live["name"]),
            namespace=str(live.get("namespace") or "default"),
            provider=provider_of(it),
            secret=str(said[LOADER]),
            selector=spec["selector"]["matchLabels"],
            claims=tuple(str(claim["claimName"]) for claim in claims if claim),
        )
    raise AegisError(
        what=f"{stack} has no server that data sets could be loaded to",
        why=f"nothing that is deployed there has the annotation {LOADER}; it comes with the "
        "setting aegis:postgres",
        next=f"set aegis:postgres and deploy that first: aegis deploy --stack {stack}",
    )


@contextmanager
def opened(place: Place, clusters: Clusters, out: Output) -> Iterator[Opened]:
    """Open the way to a server while the block runs.

    Args:
        place: The server.
        clusters: The stack's clusters.
        out: Where to tell how far it is.

    Raises:
        AegisError: There is none: this account may not, or the server is not ready.
    """
    cluster = clusters.at(place.provider)
    try:
        url = _url(cluster, place)
        pod = _pod(cluster, place)
        capacity = _capacity(cluster, place)
        remote = urlsplit(url)
        port = remote.port or _USUAL_PORT
        with forwarded(cluster, place.namespace, pod, port) as local:
            shown = f"the server {place.name} in {place.namespace}"
            address = Address(shown, url).with_parts(
                shown, host="127.0.0.1", port=local, sslmode="disable"
            )
            yield Opened(DatasetServer(address, out), capacity)
    except ApiError as error:
        raise AegisError(
            what=f"the server {place.name} in {place.namespace} cannot be reached",
            why=str(error),
            next="see whether this account may: kubectl auth can-i create pods/portforward "
            f"--namespace {place.namespace}, and: kubectl auth can-i get secret/{place.secret} "
            f"--namespace {place.namespace}",
        ) from error


def _url(cluster: Cluster, place: Place) -> str:
    found = cluster.get(f"/api/v1/namespaces/{place.namespace}/secrets/{place.secret}")
    encoded = (found.get("data") or {}).get(LOADER_URL)
    if not encoded:
        raise AegisError(
            what=f"nobody says as whom data sets are loaded to {place.name}",
            why=f"the Secret {place.secret} in {place.namespace} has no {LOADER_URL}",
            next="deploy what makes it",
        )
    return base64.b64decode(encoded).decode()


def _pod(cluster: Cluster, place: Place) -> str:
    query = {"labelSelector": ",".join(f"{key}={it}" for key, it in place.selector.items())}
    pods = cluster.get(f"/api/v1/namespaces/{place.namespace}/pods", query).get("items") or ()
    ready = (it for it in pods if is_ready(it) and not is_going(it))
    found = next(ready, None)
    if found is None:
        raise AegisError(
            what=f"the server {place.name} in {place.namespace} is not ready",
            why="none of its pods is",
            next=f"kubectl --namespace {place.namespace} describe pods says why",
        )
    return str(found["metadata"]["name"])


def _capacity(cluster: Cluster, place: Place) -> int | None:
    """How large the server's volume is; None where it has none, or this account may not see it."""
    sizes = []
    for claim in place.claims:
        path = f"/api/v1/namespaces/{place.namespace}/persistentvolumeclaims/{claim}"
        try:
            status = cluster.get(path).get("status") or {}
        except ApiError as error:
            if error.silence:
                raise
            continue
        sizes.append(whole_quantity(str((status.get("capacity") or {}).get("storage") or "")))
    known = [it for it in sizes if it]
    return min(known, default=None)
