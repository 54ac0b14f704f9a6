"""Which way a gate's probes go: to the Services of what it judges, and to its new pods."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aegis_deploy.gate.external_way import ExternalWay, NoWayError, leading_to, way_in
from aegis_deploy.gate.prober import (
    Asking,
    Route,
    Way,
    pod_port,
    pod_route,
    readiness_path,
    service_route,
    services_of,
    speaks_http,
)
from aegis_deploy.kubernetes import endpoint_slices
from aegis_deploy.kubernetes.client import NOT_FOUND, ApiError, Cluster, Object
from aegis_deploy.kubernetes.informer import Informer
from aegis_deploy.kubernetes.informers import Informers, Where, reach
from aegis_deploy.kubernetes.nudge import nudge
from aegis_deploy.model.database.data_probes import (
    METHODS,
    READ,
    WRITE,
    of_template,
    wrong_annotation,
)
from aegis_deploy.model.gate_settings import INGRESS, DataPaths, GateSettings
from aegis_deploy.model.routes import gateways
from aegis_deploy.model.routes.external_routes import HTTP_ROUTE
from aegis_deploy.model.routes.external_routes import Route as ExternalRoute
from aegis_deploy.model.workloads.rollout import Workload, could_serve, is_ready, wanted
from aegis_deploy.model.workloads.workload_kinds import DEPLOYMENT

_LOOK_SECONDS = 0.2
_SERVICE_SECONDS = 10.0
_ASK_SECONDS = 2.0


class NoServiceError(Exception):
    """A Service that is to be probed is not there."""


class Routes:
    """The ways to some workloads, found once each.

    Args:
        cluster: The cluster they are in, or what returns the one that each of them is in.
        informer: The live copy of what is there.
        workloads: What is judged.
        settings: The gate's: what is asked for, and which way.
        external: What leads in from outside.
        on_silence: Called when the cluster does not answer, before it is asked again; it may end
            the waiting by an exception of its own.

    Attributes:
        notes: What is not asked as the gate says, and why.
    """

    def __init__(
        self,
        cluster: Where,
        informer: Informer | Informers,
        workloads: Sequence[Workload],
        settings: GateSettings,
        *,
        external: Sequence[ExternalRoute] = (),
        on_silence: Callable[[], None],
    ) -> None:
        self._cluster_of, self._informer = reach(cluster), informer
        self._workloads = tuple(workloads)
        # An address that leads to a Service of one cluster may be another's in another.
        self._direct = len({it.cluster for it in self._workloads}) < 2  # noqa: PLR2004 - one
        self._path, self._data, self._on_silence = settings.path, settings.data, on_silence
        self._settings, self._external = settings, tuple(external)
        self._services: dict[Workload, Object | None] = {}
        self._found: dict[Workload, Asking] = {}
        self._pods: dict[str, Asking] = {}
        self._late: dict[tuple[str, str, str], Cluster] = {}
        self._paths: dict[Workload, str] = {}
        self.notes: list[str] = []

    def of_services(self) -> tuple[list[Route], str]:
        """Return the ways to the Services, and why there is none; empty when there is one.

        Raises:
            NoServiceError: One that a workload names is not there.
        """
        routes: list[Route] = []
        self._found.clear()
        why = "no Service selects the pods"
        for workload in self._workloads:
            snapshot = self._informer.snapshot(workload)
            if snapshot.live is not None and not wanted(snapshot):
                why = f"{workload.label} is to run no pods"
                continue
            service, data = self._service(workload), self._data_of(workload)
            if service is None:
                if data != DataPaths():
                    label = f"{workload.label}{workload.where}"
                    self.notes.append(
                        f"the data of {label} was not asked for: no Service leads to it"
                    )
                continue
            if not self._asks(workload, service):
                why = f"nothing says that Service {service['metadata']['name']} speaks HTTP"
                continue
            path = self._path_of(workload, service)
            if path or data != DataPaths():
                way = self._to_service(workload, service, path or data.read)
                self._found[workload] = Asking(way, path)
            if path:
                routes.append(self._found[workload])
            else:
                why = "no gate is set, and no readiness probe says what to ask for"
        return routes, "" if routes else why

    def of_data(self) -> dict[str, list[Asking]]:
        """Return the ways to the data behind the Services that were found last."""
        return self._asking(self._found.items())

    def of_data_of_new_pods(self) -> dict[str, list[Asking]]:
        """Return the ways to the data behind the new pods that were found last."""
        return self._asking(
            (workload, self._pods[uid])
            for workload in self._workloads
            for pod in self._informer.snapshot(workload).new_pods
            if (uid := pod["metadata"]["uid"]) in self._pods and is_ready(pod)
        )

    def wrong_data(self) -> str:
        """Say what of the workloads' own words for it is no path; empty when none is."""
        if self._data is not None:
            return ""
        for workload in self._workloads:
            why = wrong_annotation(self._informer.snapshot(workload).live)
            if why:
                return f"{workload.label}{workload.where}: {why}"
        return ""

    def _asking(self, found: Iterable[tuple[Workload, Asking]]) -> dict[str, list[Asking]]:
        ways: dict[str, list[Asking]] = {READ: [], WRITE: []}
        for workload, way in found:
            data = self._data_of(workload)
            for of, path in ((READ, data.read), (WRITE, data.write)):
                if path:
                    ways[of].append(way.beside(path, METHODS[of]))
        return ways

    def _data_of(self, workload: Workload) -> DataPaths:
        """Return what is asked for of a workload's data.

        The gate's setting is the project's, as its path is; what pods say is their release's own.
        """
        if self._data is None:
            return of_template(self._informer.snapshot(workload).live)
        own = workload.kind == DEPLOYMENT or workload.service is not None
        return self._data if own else DataPaths()

    def of_pod(self, workload: Workload, pod: Mapping[str, Any]) -> Asking | None:
        """Return the way to one pod; None when no Service says at which port it answers.

        Raises:
            NoServiceError: The one that the workload names is not there.
        """
        service = self._service(workload)
        if service is None or not self._asks(workload, service):
            return None
        port = pod_port(service, pod)
        if port is None:
            return None
        path = self._path_of(workload, service)
        cluster = self._cluster_of(workload)
        return Asking(pod_route(cluster, pod, port, path, direct=self._direct), path)

    def of_new_pods(self) -> list[Asking]:
        """Return the ways to the new pods that are ready now.

        Raises:
            NoServiceError: A Service that a workload names is not there.
        """
        ready = {
            pod["metadata"]["uid"]: (workload, pod)
            for workload in self._workloads
            for pod in self._informer.snapshot(workload).new_pods
            if is_ready(pod)
        }
        for uid, (workload, pod) in ready.items():
            if uid not in self._pods:
                route = self.of_pod(workload, pod)
                if route is not None:
                    self._pods[uid] = route
        return [self._pods[uid] for uid in ready if uid in self._pods]

    def _asks(self, workload: Workload, service: Object) -> bool:
        """Return whether a Service is one to probe.

        Those of Deployments are: a gate is set for them. What runs beside them as a set may be a
        database, which is judged by its rollout.
        """
        if workload.kind == DEPLOYMENT or workload.service is not None:
            return True
        if self._data_of(workload) != DataPaths():
            return True
        return speaks_http(service, self._informer.snapshot(workload).live)

    def _path_of(self, workload: Workload, service: Object) -> str:
        """Return what a Service is asked for; empty when nobody says it.

        The gate's path is the project's, and a set beside it need not know it. It is then asked for
        what its own readiness probe asks for.
        """
        own = readiness_path(service, self._informer.snapshot(workload).live)
        if not self._path or workload.kind == DEPLOYMENT or workload.service is not None:
            return self._path or own
        if own in ("", self._path):
            return self._path
        if workload not in self._paths:
            known = True
            with suppress(OSError, ApiError):
                route = self._to_service(workload, service, own)
                status, _ = route.send(self._path, fresh=True, seconds=_ASK_SECONDS)
                known = status != NOT_FOUND
            self._paths[workload] = self._path if known else own
            if not known:
                name = service["metadata"]["name"]
                self.notes.append(
                    f"Service {name}{workload.where} does not know {self._path}; "
                    f"{own} was asked for"
                )
        return self._paths[workload]

    def not_in_effect(self) -> str:
        """Say why a way in from outside is not in effect yet; empty when all are."""
        said = (self._not_in_effect(workload, it) for workload, it in self._placed())
        return "; ".join(filter(None, said))

    def _placed(self) -> Iterator[tuple[Workload, ExternalRoute]]:
        """The ways in, each with a workload that is in the same cluster."""
        for route in self._external:
            beside = (it for it in self._workloads if it.cluster == route.cluster)
            if (workload := next(beside, None)) is not None:
                yield workload, route

    def _not_in_effect(self, workload: Workload, route: ExternalRoute) -> str:
        cluster, label = self._cluster_of(workload), f"{route.label}{workload.where}"
        try:
            if route.kind == HTTP_ROUTE:
                why = gateways.route_fault(cluster.get(route.path))
                if why:
                    return f"{label} is not in effect: {why}"
            if self._settings.through == INGRESS:
                way_in(cluster, route, self._settings)
        except NoWayError as error:
            return str(error)
        except ApiError as error:
            if error.silence or error.code == NOT_FOUND:
                return f"{label}: {error}"
            # Who may not look cannot wait for it.
            self._note(f"whether {label} is in effect: {error}")
        return ""

    def _to_service(self, workload: Workload, service: Object, path: str) -> Way:
        if self._settings.through == INGRESS:
            name = service["metadata"]["name"]
            route = leading_to(self._external, workload, name)
            if route is not None:
                return self._from_outside(workload, route)
            self._note(
                f"Service {name}{workload.where} from outside: no Ingress or HTTPRoute leads to it"
            )
        return service_route(self._cluster_of(workload), service, path, direct=self._direct)

    def _from_outside(self, workload: Workload, route: ExternalRoute) -> ExternalWay:
        while True:
            try:
                return way_in(self._cluster_of(workload), route, self._settings)
            except NoWayError as error:
                raise NoServiceError(f"the way in cannot be probed: {error}") from error
            except ApiError as error:
                if not error.silence:
                    why = f"the way in cannot be looked at: {route.label}: {error}"
                    raise NoServiceError(why) from error
                self._on_silence()

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def behind(self) -> str:
        """Say which Service does not lead to the new pods that are ready; empty when all do.

        Raises:
            NoServiceError: A Service that a workload names is not there.
        """
        self._late.clear()
        said = (self._behind(workload) for workload in self._workloads)
        return "; ".join(filter(None, said))

    def nudge(self) -> None:
        """Have Kubernetes look again at the Services that were behind when last asked.

        Raises:
            ApiError: One may not be changed, or the cluster does not answer.
        """
        for (_, namespace, name), cluster in sorted(self._late.items(), key=lambda it: it[0]):
            nudge(cluster, namespace, name)

    def _behind(self, workload: Workload) -> str:
        service = self._service(workload)
        # A pod whose node was called dead is not ready, whatever its kubelet says of it.
        pods = [pod for pod in self._informer.snapshot(workload).new_pods if could_serve(pod)]
        if service is None:
            return ""
        # One that selects something else, or nothing, is what was deployed.
        ready = [
            pod["metadata"]["uid"]
            for pod in pods
            if services_of([service], pod["metadata"].get("labels") or {})
        ]
        if not ready:
            return ""
        name, namespace = service["metadata"]["name"], workload.namespace
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        try:
            query = {"labelSelector": f"{endpoint_slices.SERVICE_LABEL}={name}"}
            slices = self._cluster_of(workload).get(path, query).get("items") or ()
        except ApiError as error:
            # Who may not look cannot wait for it.
            return str(error) if error.silence else ""
        there = self._informer.pods(namespace)
        why = endpoint_slices.behind(name, slices, ready=ready, there=there)
        if not why:
            return ""
        self._late[workload.cluster, namespace, name] = self._cluster_of(workload)
        return f"{why}{workload.where}"

    def _service(self, workload: Workload) -> Object | None:
        """Find the Service that leads to a workload; it may be made at the same time."""
        if workload in self._services:
            return self._services[workload]
        path = f"/api/v1/namespaces/{workload.namespace}/services"
        begin, silent = time.monotonic(), self._informer.silent
        while True:
            live = self._informer.snapshot(workload).live
            template = {} if live is None else live["spec"]["template"].get("metadata") or {}
            end = begin + _SERVICE_SECONDS + self._informer.silent - silent
            try:
                found = self._cluster_of(workload).get(path).get("items") or []
            except ApiError as error:
                if error.silence and time.monotonic() < end:
                    self._on_silence()
                    continue
                found = []
            if workload.service is not None:
                fitting = [s for s in found if s["metadata"]["name"] == workload.service]
            else:
                fitting = services_of(found, template.get("labels") or {})
            fitting = [s for s in fitting if s["spec"].get("ports")]
            if fitting or workload.service is None or time.monotonic() > end:
                break
            time.sleep(_LOOK_SECONDS)
        if not fitting and workload.service is not None:
            raise NoServiceError(f"there is no Service {workload.service}{workload.where} to probe")
        self._services[workload] = fitting[0] if fitting else None
        return self._services[workload]
