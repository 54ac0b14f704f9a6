"""Replacing the pods that keep a workload from going back, or on, beside the update that takes it.

What is in the way is decided by :mod:`pods.stuck_pods`. Exactly that pod is deleted, and only
while it is the very one that was looked at; its controller makes it anew at the release that comes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self
from urllib.parse import quote

from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes.client import CONFLICT, NOT_FOUND, ApiError
from aegis_deploy.kubernetes.informers import Where, informer_of, reach
from aegis_deploy.model.events import Event
from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.workloads.rollout import Workload
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT
from aegis_deploy.pods.onward import Onward
from aegis_deploy.pods.stuck_pods import Lookout, Stuck
from aegis_deploy.stack.checkpoint import Resource

_LOOK_SECONDS = 0.25


def concerned(declared: Mapping[Workload, Resource]) -> dict[Workload, str]:
    """Return what of a replay could be held back by its own pods: what is no Deployment.

    Args:
        declared: What is restored, with what declares it.

    Returns:
        Such workloads, with their URNs.
    """
    return {workload: it.urn for workload, it in declared.items() if workload.kind != DEPLOYMENT}


class Replacement:
    """Replaces pods in a thread while an update changes workloads; a context manager.

    Args:
        cluster: The cluster, or what returns the one that each workload is in.
        workloads: What is changed, with its URNs.
        settings: What is evidence that a pod never becomes ready.
        onward: What may be replaced where the update goes forward; None where it goes back.
        require: Called before each deletion; raises when the stack is somebody else's by now.
        on_replaced: Told of each pod that was replaced.
        tell: Told what was done, and what could not be.

    Attributes:
        replaced: The pods that were replaced, a line each.
    """

    def __init__(
        self,
        cluster: Where,
        workloads: Mapping[Workload, str],
        settings: GateSettings,
        onward: Onward | None = None,
        *,
        require: Callable[[], None],
        on_replaced: Callable[[Stuck], None],
        tell: Callable[[str], None],
    ) -> None:
        self.replaced: list[str] = []
        self._cluster_of, self._require = reach(cluster), require
        self._on_replaced, self._tell = on_replaced, tell
        self._keeps = f"it from going {'back' if onward is None else 'on'}"
        self._lookouts = {it: Lookout(it, settings, onward) for it in workloads}
        self._by_urn = {urn: it for it, urn in workloads.items()}
        self._informer = informer_of(cluster, workloads)
        self._done: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="replace", daemon=True)

    def __enter__(self) -> Self:
        self._informer.__enter__()
        self._informer.first()
        self._look()  # What there is before the update changes it.
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._informer.__exit__(None, None, None)
        self._thread.join(timeout=5)

    def hear(self, event: Event) -> None:
        """Take note of what the update comes to."""
        workload = self._by_urn.get(event.urn)
        if event.kind == "begins" and event.step is not None and workload is not None:
            self._lookouts[workload].begins(event.step)

    def _run(self) -> None:
        seen = 0
        while not self._stop.is_set():
            try:
                self._look()
            except AegisError:
                return  # Whoever took the stack over does this, too; the update ends by itself.
            except Exception as error:
                # It only helps: what it cannot do is told, and the update says how it ends.
                self._tell(f"pods in the way are not replaced: {type(error).__name__}: {error}")
                return
            seen = self._informer.wait(seen, _LOOK_SECONDS)

    def _look(self) -> None:
        if not self._informer.complete or self._informer.lost_for > 0:
            return
        for workload, lookout in self._lookouts.items():
            stuck = lookout.find(self._informer.snapshot(workload), self._informer.heard)
            if stuck is None or stuck.uid in self._done:
                continue
            if stuck.spared:
                self._done.add(stuck.uid)
                self._leave(stuck, "is left, for it may be of a release that is verified")
            else:
                self._replace(stuck)

    def _leave(self, stuck: Stuck, why: str) -> None:
        self._tell(
            f"{stuck} keeps {self._keeps}, and {why}\n{stuck.why}\n"
            f"kubectl delete pod {stuck.pod} --namespace {stuck.workload.namespace}"
        )

    def _replace(self, stuck: Stuck) -> None:
        self._require()
        namespace = stuck.workload.namespace
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(stuck.pod)}"
        try:
            self._cluster_of(stuck.workload).delete(path, uid=stuck.uid)
        except ApiError as error:
            if error.silence:
                return  # It is tried again.
            self._done.add(stuck.uid)
            if error.code not in (NOT_FOUND, CONFLICT):
                self._leave(stuck, f"may not be deleted: {error}")
            return
        self._done.add(stuck.uid)
        line = f"{stuck}, which kept {self._keeps}: {stuck.why}"
        self.replaced.append(line)
        self._on_replaced(stuck)
        self._tell(f"replaced {line}")
