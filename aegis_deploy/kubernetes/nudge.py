"""Having Kubernetes look once more at what leads to a Service's pods.

The controller that writes EndpointSlices puts off a Service whose slices, as far as it has heard,
are older than it wrote them: longer after each look, up to 1,000 s. That it has heard of its own
writing at last does not make it look again (Kubernetes 1.35, ``pkg/controller/endpointslice``:
``maxSyncBackOff``, ``EndpointSliceTracker.ShouldSync``). After an API server was away in the middle
of a rollout, a Service can so lead to the pods of before until these have ended, and then, for a
moment, to nobody. Any change of the Service makes it look: so an annotation comes, and goes again.
"""

from __future__ import annotations

from aegis_deploy.kubernetes.client import Cluster

ANNOTATION = "aegis.dev/look-again"
MANAGER = "aegis-gate"


def nudge(cluster: Cluster, namespace: str, service: str) -> None:
    """Have a Service looked at; it is afterwards what it was.

    Raises:
        ApiError: It may not be changed, or the cluster does not answer.
    """
    path = f"/api/v1/namespaces/{namespace}/services/{service}"
    for value in ("true", None):
        change = {"metadata": {"annotations": {ANNOTATION: value}}}
        cluster.merge(path, change, manager=MANAGER)
