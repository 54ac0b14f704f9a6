"""Which changes force a replacement: the official provider's table of immutable fields.

A path is written with dots; ``*`` stands for every item of a list.
"""

from __future__ import annotations

from lab.plugins.kubernetes.objects import Json, Object, is_kind, is_secret, text
from lab.plugins.kubernetes.settings import Settings

IDENTITY = ("metadata.name", "metadata.namespace")
_SELECTOR = ("spec.selector",)
_STATEFUL_SET = (
    "spec.podManagementPolicy",
    "spec.revisionHistoryLimit",
    "spec.selector",
    "spec.serviceName",
    "spec.volumeClaimTemplates",
)
_JOB = ("spec.completions", "spec.parallelism", "spec.selector", "spec.template")
_CLAIM = ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName")


def _under(prefix: str, names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}.{name}" for name in names.split())


_VOLUME = _under(
    "spec",
    "awsElasticBlockStore azureDisk azureFile cephfs cinder csi fc flexVolume flocker "
    "gcePersistentDisk glusterfs hostPath iscsi local nfs photonPersistentDisk portworxVolume "
    "quobyte rbd scaleIO storageos vsphereVolume",
)
_CONTAINER = (
    "args command env image imagePullPolicy lifecycle livenessProbe ports readinessProbe "
    "resources securityContext stdin stdinOnce terminationMessagePath terminationMessagePolicy "
    "tty volumeDevices volumeMounts workingDir"
)
_POD = (
    *_under(
        "spec",
        "affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases "
        "hostIPC hostNetwork hostPID hostname imagePullSecrets nodeName nodeSelector overhead "
        "preemptionPolicy priority priorityClassName readinessGates restartPolicy "
        "runtimeClassName schedulerName securityContext serviceAccount serviceAccountName "
        "shareProcessNamespace subdomain terminationGracePeriodSeconds volumes",
    ),
    *_under("spec.containers.*", _CONTAINER),
    *_under("spec.initContainers.*", _CONTAINER),
)
_CORE = {
    "PersistentVolume": _VOLUME,
    "PersistentVolumeClaim": _CLAIM,
    "Pod": _POD,
    "ResourceQuota": ("spec.scopes",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP",),
}
_WORKLOADS = {
    "DaemonSet": _SELECTOR,
    "Deployment": _SELECTOR,
    "StatefulSet": _STATEFUL_SET,
}
_BINDINGS: dict[str, tuple[str, ...]] = {
    "ClusterRoleBinding": ("roleRef",),
    "RoleBinding": ("roleRef",),
}
_TABLE: dict[str, dict[str, tuple[str, ...]]] = {
    "v1": _CORE,
    "core/v1": _CORE,
    "apps/v1": _WORKLOADS,
    "apps/v1beta2": _WORKLOADS,
    "apps/v1beta1": {"StatefulSet": _STATEFUL_SET},
    "policy/v1beta1": {"PodDisruptionBudget": ("spec",)},
    "rbac.authorization.k8s.io/v1": _BINDINGS,
    "rbac.authorization.k8s.io/v1beta1": _BINDINGS,
    "rbac.authorization.k8s.io/v1alpha1": _BINDINGS,
    "storage.k8s.io/v1": {"StorageClass": ("parameters", "provisioner")},
    "batch/v1": {"Job": _JOB},
    "batch/v1beta1": {"Job": _JOB},
    "batch/v2alpha1": {"Job": _JOB},
}


def force_new(obj: Object, settings: Settings) -> tuple[str, ...]:
    """Return the paths whose change replaces an object.

    Args:
        obj: The new inputs.
        settings: They say whether the data of ConfigMaps and Secrets may change in place; an
            object marked immutable is replaced in any case.
    """
    immutable = obj.get("immutable") is True
    if is_secret(obj) and (not settings.secret_mutable or immutable):
        return (*IDENTITY, "type", "stringData", "data")
    if is_kind(obj, "", "ConfigMap") and (not settings.configmap_mutable or immutable):
        return (*IDENTITY, "binaryData", "data")
    kinds = _TABLE.get(text(obj, "apiVersion"), {})
    return (*IDENTITY, *kinds.get(text(obj, "kind"), ()))


def touches(path: tuple[str | int, ...], value: Json, forcing: str) -> bool:
    """Say whether a change at a path reaches a forcing path.

    Args:
        path: Where the change is.
        value: What stands there now; a change of a whole map reaches the paths below it that the
            map has.
        forcing: A path of ``force_new``.
    """
    wanted = forcing.split(".")
    for key, want in zip(path, wanted, strict=False):
        if (want == "*") != isinstance(key, int) or (want not in ("*", key)):
            return False
    return _reaches(value, wanted[len(path) :])


def _reaches(value: Json, wanted: list[str]) -> bool:
    if not wanted:
        return True
    if wanted[0] == "*":
        return isinstance(value, list) and any(_reaches(item, wanted[1:]) for item in value)
    return isinstance(value, dict) and wanted[0] in value and _reaches(value[wanted[0]], wanted[1:])
