"""CoreDNS in the cluster, as other clusters have it: a Deployment behind `kube-dns`."""

from __future__ import annotations

from lab.cluster import DOMAIN
from lab.images import coredns_image
from lab.settings import LabSettings

COREFILE = f"""\
.:53 {{
    errors
    health :8080
    ready :8181
    kubernetes {DOMAIN} in-addr.arpa {{
        ttl 5
    }}
    prometheus :9153
    cache 5
    loop
    reload
}}
"""
"""The port is that of most clusters' DNS, since network policies name the port of the pods.

No `forward`: nothing outside the lab can be reached, so other names do not exist."""

LABELS = {"k8s-app": "kube-dns"}
_APART = {
    "topologyKey": "kubernetes.io/hostname",
    "maxSkew": 1,
    "whenUnsatisfiable": "ScheduleAnyway",
    "labelSelector": {"matchLabels": LABELS},
}


def manifests(settings: LabSettings, *, nodes: int = 1) -> list[dict[str, object]]:
    """Return CoreDNS' objects.

    Args:
        settings: The lab.
        nodes: How many nodes it has; on several there are two of it.
    """
    meta = {"name": "coredns", "namespace": "kube-system"}
    rules = [
        {
            "apiGroups": [""],
            "resources": ["endpoints", "services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["list", "watch"],
        },
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "coredns"}
    account = {"kind": "ServiceAccount", **meta}
    rbac = "rbac.authorization.k8s.io/v1"
    named = {"name": "coredns"}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": rbac, "kind": "ClusterRole", "metadata": named, "rules": rules},
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": named,
            "roleRef": role,
            "subjects": [account],
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {"Corefile": COREFILE},
        },
        _deployment(meta, coredns_image(settings), replicas=min(2, nodes)),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {
                "clusterIP": str(settings.addresses.dns),
                "selector": LABELS,
                "ports": [
                    {"name": "dns", "port": 53, "targetPort": "dns", "protocol": "UDP"},
                    {
                        "name": "dns-tcp",
                        "port": 53,
                        "targetPort": "dns-tcp",
                        "protocol": "TCP",
                    },
                ],
            },
        },
    ]


def _deployment(meta: dict[str, str], image: str, *, replicas: int) -> dict[str, object]:
    container = {
        "name": "coredns",
        "image": image,
        "imagePullPolicy": "Never",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "ports": [
            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
        ],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "failureThreshold": 5},
        "resources": {
            "requests": {"cpu": "20m", "memory": "40Mi"},
            "limits": {"memory": "128Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
    }
    spec = {
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        # For a port below 1024 without being root.
        "securityContext": {
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "53"}]
        },
        "containers": [container],
        "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
        **({"topologySpreadConstraints": [_APART]} if replicas > 1 else {}),
    }
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template},
    }
