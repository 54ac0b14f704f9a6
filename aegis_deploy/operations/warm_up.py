"""Importing what an update and its watching need while something else is waited for."""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis_deploy.drift.clusters import Clusters
    from aegis_deploy.stack.session import Session


def begin(session: Session, clusters: Clusters) -> None:
    """Begin to import, and to connect to the stack's own cluster; reading goes on meanwhile.

    Args:
        session: The stack, open.
        clusters: Its clusters.
    """
    session.warm()
    threading.Thread(target=_load, args=(clusters,), name="warm", daemon=True).start()


def _load(clusters: Clusters) -> None:
    # What is wrong is said when it is wanted, not here.
    with suppress(Exception):
        clusters.own()
        import_module("aegis_deploy.gate.analysis")
        import_module("aegis_deploy.replay.program")
