"""Which condition an object waits for, by its kind and its annotations."""

from __future__ import annotations

from collections.abc import Callable

from lab.plugins.kubernetes.await_deployment import DeploymentRolledOut
from lab.plugins.kubernetes.await_network import IngressReady, ServiceReady
from lab.plugins.kubernetes.await_pod import PodReady
from lab.plugins.kubernetes.await_sets import DaemonSetRolledOut, StatefulSetRolledOut
from lab.plugins.kubernetes.await_simple import FieldReady, JobComplete, waited_for
from lab.plugins.kubernetes.awaiting import DEFAULT_SECONDS, Condition
from lab.plugins.kubernetes.objects import (
    SKIP_AWAIT,
    TIMEOUT_SECONDS,
    WAIT_FOR,
    Object,
    annotation,
    nested,
    number,
    text,
)

BindMode = Callable[[str], str]
_QUOTA_SECONDS, _TOKEN_SECONDS, _VOLUME_SECONDS = 60.0, 5.0, 300.0
_SKIPS_DELETION_WAIT = frozenset(
    ("Namespace", "Pod", "ReplicationController", "DaemonSet", "Deployment", "StatefulSet", "Job")
)


def skips_await(inputs: Object) -> bool:
    """Say whether the inputs ask not to wait."""
    return annotation(inputs, SKIP_AWAIT) == "true"


def skips_deletion_wait(inputs: Object) -> bool:
    """Say whether the inputs ask not to wait for deletion, which some kinds honour."""
    return skips_await(inputs) and text(inputs, "kind") in _SKIPS_DELETION_WAIT


def timeout(inputs: Object, custom_seconds: float) -> float:
    """Return the longest wait: the resource's custom timeout, its annotation, ten minutes."""
    given = annotation(inputs, TIMEOUT_SECONDS)
    if custom_seconds > 0:
        return custom_seconds
    return float(given) if given.lstrip("-").isdigit() else DEFAULT_SECONDS


def condition_for(
    inputs: Object, live: Object, previous: Object | None, bind_mode: BindMode
) -> Condition | None:
    """Return what a created or updated object waits for, None for nothing.

    Args:
        inputs: Their annotations decide.
        live: What the server answered to the write.
        previous: The object before an update, None for a creation.
        bind_mode: Returns the binding mode of a StorageClass.

    Raises:
        ValueError: The ``pulumi.com/waitFor`` annotation is malformed.
    """
    if skips_await(inputs):
        return None
    expression = annotation(live, WAIT_FOR)
    if expression:
        return FieldReady(live, *waited_for(expression))
    return _builtin(live, previous, bind_mode)


def refresh_condition(inputs: Object, live: Object) -> Condition | None:
    """Return what a refresh checks, which is less than a creation waits for."""
    watched = {"Deployment", "Ingress", "Job", "Pod", "Service", "StatefulSet", "DaemonSet"}
    if skips_await(inputs) or text(live, "kind") not in watched:
        return None
    return _builtin(live, live, lambda _name: "")


def longest_wait(live: Object, seconds: float) -> float:
    """Return the wait for kinds that have a limit of their own."""
    limits = {
        "ResourceQuota": _QUOTA_SECONDS,
        "Secret": _TOKEN_SECONDS,
        "PersistentVolume": _VOLUME_SECONDS,
        "PersistentVolumeClaim": _VOLUME_SECONDS,
    }
    return min(seconds, limits.get(text(live, "kind"), seconds))


def _builtin(live: Object, previous: Object | None, bind_mode: BindMode) -> Condition | None:
    kind = (text(live, "apiVersion"), text(live, "kind"))
    conditions: dict[tuple[str, str], Callable[[], Condition | None]] = {
        ("apps/v1", "Deployment"): lambda: DeploymentRolledOut(live),
        ("apps/v1", "StatefulSet"): lambda: StatefulSetRolledOut(live),
        ("apps/v1", "DaemonSet"): lambda: DaemonSetRolledOut(live),
        ("batch/v1", "Job"): lambda: JobComplete(live),
        ("networking.k8s.io/v1", "Ingress"): lambda: IngressReady(live),
        ("v1", "Pod"): lambda: PodReady(live),
        ("v1", "Service"): lambda: ServiceReady(live),
        ("v1", "PersistentVolume"): lambda: FieldReady(
            live,
            lambda obj: nested(obj, "status", "phase") in ("Available", "Bound"),
            "the volume to be available",
        ),
        ("v1", "PersistentVolumeClaim"): lambda: _claim(live, previous, bind_mode),
        ("v1", "ReplicationController"): lambda: FieldReady(
            live,
            lambda obj: (
                number(obj, "spec", "replicas") == number(obj, "status", "availableReplicas")
            ),
            "all replicas to be available",
        ),
        ("v1", "ResourceQuota"): lambda: FieldReady(
            live,
            _quota_in_effect,
            "the quota to take effect",
        ),
        ("v1", "Secret"): lambda: _token(live),
    }
    make = conditions.get(kind)
    return make() if make is not None else None


def _claim(live: Object, previous: Object | None, bind_mode: BindMode) -> Condition:
    """A claim is bound, or waits for its first pod when its storage class works that way."""

    def ready(claim: Object) -> bool:
        phase = nested(claim, "status", "phase")
        if phase == "Bound" and previous is not None:
            return True
        name = text(claim, "spec", "storageClassName")
        late = bool(name) and bind_mode(name) == "WaitForFirstConsumer"
        return bool(phase == ("Pending" if late else "Bound"))

    return FieldReady(live, ready, "the claim to be bound")


def _quota_in_effect(quota: Object) -> bool:
    hard = nested(quota, "spec", "hard")
    return hard is not None and bool(hard == nested(quota, "status", "hard"))


def _token(live: Object) -> Condition | None:
    """Only a service account's token is filled in by a controller."""
    if text(live, "type") != "kubernetes.io/service-account-token":
        return None
    return FieldReady(live, lambda obj: bool(nested(obj, "data")), "the token to be issued")
