"""How a stack's own settings say that its cluster is reached."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from aegis_deploy.drift.clusters import Way

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

_CONTEXT, _KUBECONFIG, _CLUSTER = (
    f"kubernetes:{name}" for name in ("context", "kubeconfig", "cluster")
)
"""The provider's own settings that say which cluster is meant."""


class ClusterSettings:
    """What the settings of one stack say of its cluster; they are read once.

    Args:
        session: The stack, open.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._way: Way | None = None
        self._reading = threading.Lock()

    def way(self) -> Way:
        """Return how the cluster is reached, from any thread.

        Raises:
            AegisError: It is a secret that cannot be decrypted.
        """
        with self._reading:
            if self._way is None:
                self._way = self._read()
            return self._way

    def _read(self) -> Way:
        names = (_CONTEXT, f"{self._session.project}:kubeContext", _KUBECONFIG, _CLUSTER)
        given = self._session.settings()
        found = {name: given[name] for name in names if name in given}
        # A kubeconfig holds a key, so it is a secret as a rule; without it another cluster would be
        # looked at than the one that is deployed to.
        hidden = {name: it for name, it in found.items() if it.encrypted}
        opened = self._session.decrypted(hidden) if hidden else {}
        context, own, kubeconfig, cluster = (
            _text(opened.get(name, found[name].value) if name in found else None) for name in names
        )
        return Way(context or own, kubeconfig, cluster)


def _text(value: object) -> str | None:
    return str(value) if value else None
