"""Whether nodes are heard of: each kubelet renews a lease of its own every ten seconds.

Kubernetes itself takes the pods of a node that is gone out of their Services only some 40 to 50 s
later, and says until then that all of them are ready. A lease says it sooner. Its time is the
node's own, so it is only held against itself.

https://kubernetes.io/docs/concepts/architecture/leases/#node-heart-beats
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote

from aegis_deploy.kubernetes.client import ApiError, Cluster

RENEWED_SECONDS = 15.0
"""How long a node that lives may take to renew its lease: a quarter of the 40 s that it lasts, and
some more on a busy machine."""
_PATH = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}"


class NodeLeases:
    """The leases of some nodes, against what they were at first.

    Args:
        cluster: The cluster that the nodes are of.
        nodes: Their names.
    """

    def __init__(self, cluster: Cluster, nodes: Iterable[str]) -> None:
        self._cluster = cluster
        seen = {node: self._renewed(node) for node in sorted(set(nodes))}
        self._before = {node: time for node, time in seen.items() if time is not None}

    def look(self) -> tuple[str, ...]:
        """Look again.

        Returns:
            The nodes whose lease is still as it was at first. One whose lease this account may not
            read, or of which the server does not tell now, is none of them.
        """
        now = {node: self._renewed(node) for node in self._before}
        self._before = {
            node: before for node, before in self._before.items() if now[node] in {before, None}
        }
        return tuple(node for node, before in self._before.items() if now[node] == before)

    def _renewed(self, node: str) -> str | None:
        try:
            time = self._cluster.get(_PATH.format(quote(node)))["spec"]["renewTime"]
        except (ApiError, KeyError, TypeError):
            return None
        return str(time)
