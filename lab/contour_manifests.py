"""The objects of Contour and Envoy, as the lab runs them.

Envoy answers, Contour tells it what Ingresses, routes, certificates and pods there are. Both are in
one pod, so that nobody else reaches what Contour says: private keys are part of it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import yaml

from lab import pki
from lab.ingress import CLASS, DOMAIN, GATEWAY, NAMESPACE
from lab.settings import LabSettings
from lab.toolchain import CONTOUR

NAME = CONTOUR.name
CERTIFICATE = "certificate"
"""The secret with what the Gateway shows to who comes in."""
GATEWAY_API = "gateway.networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_LABELS = {"app.kubernetes.io/name": NAME}
_PORTS = {"http": (80, 8080), "https": (443, 8443)}
"""Port of the Service and of the Gateway, and the one that Contour makes of it for Envoy."""
_DISCOVERY_PORT = 8001
_CONTOUR_PORT = 8000
_ENVOY_PORT = 8002
_ADMIN = "/admin/admin.sock"
_START_SECONDS = 60
_DRAIN_SECONDS = 60
"""How long a pod that goes may take to answer what it was asked."""
_UNLED_SECONDS = 5
"""How long it stays at least, until no connection is led to it any more."""
_LEFT_OUT = ("extensionservices", "tlsroutes", "grpcroutes", "tcproutes", "backendtlspolicies")

Object = dict[str, Any]


def namespace() -> Object:
    """Return the namespace of its own that it is in."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": labels},
    }


def certificate(settings: LabSettings) -> Object:
    """Return the secret with a new certificate for the Gateway, signed by the lab's authority."""
    names = [f"*.{DOMAIN}", str(settings.addresses.ingress)]
    issued = pki.issue_server(settings, f"aegis-lab-{NAME}", names)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CERTIFICATE, "namespace": NAMESPACE},
        "type": "kubernetes.io/tls",
        "data": {
            key: base64.b64encode(pem).decode()
            for key, pem in {
                "ca.crt": pki.authority_file(settings).read_bytes(),
                "tls.crt": issued.certificate_pem(),
                "tls.key": issued.key_pem(),
            }.items()
        },
    }


def manifests(settings: LabSettings, image: str, *, replicas: int) -> list[Object]:
    """Return the controller's objects but for its namespace and its certificate.

    Args:
        settings: The lab.
        image: The image with both programs.
        replicas: How many pods; one of several writes what is seen in the cluster.
    """
    meta = {"name": NAME, "namespace": NAMESPACE}
    configuration = yaml.safe_dump(
        {
            "gateway": {"gatewayRef": {"name": GATEWAY, "namespace": NAMESPACE}},
            # At every request that is answered, the log would be most of what it does.
            "accesslog-level": "error",
        }
    )
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": meta,
            "automountServiceAccountToken": False,
        },
        *_rights(meta),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": meta,
            "data": {"contour.yaml": configuration},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": meta,
            "spec": {
                "podSelector": {},
                "policyTypes": ["Ingress"],
                "ingress": [
                    {"ports": [{"port": port, "protocol": "TCP"} for _, port in _PORTS.values()]}
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {
                "clusterIP": str(settings.addresses.ingress),
                "selector": _LABELS,
                "ports": [
                    {"name": name, "port": port, "targetPort": name}
                    for name, (port, _) in _PORTS.items()
                ],
            },
        },
        _deployment(settings, meta, image, replicas=replicas),
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {
                "name": CLASS,
                "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
            },
            "spec": {"controller": "projectcontour.io/ingress-controller"},
        },
        {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {"controllerName": "projectcontour.io/gateway-controller"},
        },
        {
            "apiVersion": f"{GATEWAY_API}/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [_listener("http"), _listener("https", [{"name": CERTIFICATE}])],
            },
        },
    ]


def _listener(name: str, certificates: Sequence[Object] = ()) -> Object:
    return {
        "name": name,
        "protocol": name.upper(),
        "port": _PORTS[name][0],
        "allowedRoutes": {"namespaces": {"from": "All"}},
        **({"tls": {"certificateRefs": list(certificates)}} if certificates else {}),
    }


def _rights(meta: Object) -> list[Object]:
    """Return what Contour may do: read what it serves, and say what it made of it.

    Certificates are in the namespaces of those who use them, so it reads secrets everywhere.
    """

    def rule(group: str, *resources: str, verbs: Sequence[str] = ("list", "watch")) -> Object:
        return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}

    said = [f"{it}/status" for it in ("gatewayclasses", "gateways", "httproutes")]
    everywhere = [
        rule("", "namespaces", "secrets", "services"),
        rule("discovery.k8s.io", "endpointslices"),
        rule("networking.k8s.io", "ingresses"),
        rule("networking.k8s.io", "ingresses/status", verbs=["update"]),
        rule(GATEWAY_API, "gatewayclasses", "gateways", "httproutes", "referencegrants"),
        rule(GATEWAY_API, *said, verbs=["update"]),
        rule("projectcontour.io", "httpproxies", "tlscertificatedelegations"),
        rule("projectcontour.io", "httpproxies/status", verbs=["update"]),
    ]
    here = [
        rule("coordination.k8s.io", "leases", verbs=["create", "get", "update"]),
        rule("", "events", verbs=["create", "patch"]),
    ]
    cluster_wide = {"name": f"aegis-lab-{NAME}"}
    subjects = [{"kind": "ServiceAccount", **meta}]
    version = f"{_RBAC}/v1"
    return [
        {
            "apiVersion": version,
            "kind": "ClusterRole",
            "metadata": cluster_wide,
            "rules": everywhere,
        },
        {
            "apiVersion": version,
            "kind": "ClusterRoleBinding",
            "metadata": cluster_wide,
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", **cluster_wide},
            "subjects": subjects,
        },
        {"apiVersion": version, "kind": "Role", "metadata": meta, "rules": here},
        {
            "apiVersion": version,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": NAME},
            "subjects": subjects,
        },
    ]


def _deployment(settings: LabSettings, meta: Object, image: str, *, replicas: int) -> Object:
    spec = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": _DRAIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # In this order they start, and in the reverse one they end: Envoy answers what it was
        # asked while Contour still tells it which pods there are.
        "initContainers": [_bootstrap(image), _contour(settings, image)],
        "containers": [_envoy(image)],
        "volumes": [
            {"name": "configuration", "configMap": {"name": NAME}},
            {"name": "bootstrap", "emptyDir": {}},
            {"name": "admin", "emptyDir": {}},
            {"name": "account", "projected": {"sources": _ACCOUNT}},
        ],
        "topologySpreadConstraints": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "maxSkew": 1,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": _LABELS},
            }
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": _LABELS},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {"metadata": {"labels": _LABELS}, "spec": spec},
        },
    }


_ACCOUNT: list[Object] = [
    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
        }
    },
]
"""What a pod's account is mounted as, here for Contour's container alone: Envoy needs none."""


def _container(name: str, image: str, *command: str, **more: object) -> Object:
    return {
        "name": name,
        "image": image,
        "command": list(command),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "resources": {
            "requests": {"cpu": "20m", "memory": "64Mi"},
            "limits": {"memory": "256Mi"},
        },
        **more,
    }


def _mount(name: str, path: str, *, read_only: bool = True) -> Object:
    return {"name": name, "mountPath": path, "readOnly": read_only}


def _bootstrap(image: str) -> Object:
    return _container(
        "bootstrap",
        image,
        *("contour", "bootstrap", "/bootstrap/envoy.json"),
        *("--xds-address=127.0.0.1", f"--xds-port={_DISCOVERY_PORT}"),
        *(f"--admin-address={_ADMIN}", f"--namespace={NAMESPACE}"),
        volumeMounts=[_mount("bootstrap", "/bootstrap", read_only=False)],
    )


def _contour(settings: LabSettings, image: str) -> Object:
    healthy = {"path": "/healthz", "port": _CONTOUR_PORT}
    return _container(
        "contour",
        image,
        *("contour", "serve", "--incluster", "--config-path=/configuration/contour.yaml"),
        # Not encrypted, and heard in this pod alone.
        *("--insecure", "--xds-address=127.0.0.1", f"--xds-port={_DISCOVERY_PORT}"),
        *(
            f"--ingress-class-name={CLASS}",
            f"--ingress-status-address={settings.addresses.ingress}",
        ),
        *(f"--disable-feature={name}" for name in _LEFT_OUT),
        f"--leader-election-resource-namespace={NAMESPACE}",
        f"--leader-election-resource-name={NAME}",
        restartPolicy="Always",
        startupProbe={"httpGet": healthy, "periodSeconds": 1, "failureThreshold": _START_SECONDS},
        livenessProbe={"httpGet": healthy, "failureThreshold": 5},
        volumeMounts=[
            _mount("configuration", "/configuration"),
            _mount("account", "/var/run/secrets/kubernetes.io/serviceaccount"),
        ],
    )


def _envoy(image: str) -> Object:
    drain = ["contour", "envoy", "shutdown", f"--check-delay={_UNLED_SECONDS}s"]
    drain += ["--check-interval=1s", "--ready-file=/admin/drained"]
    return _container(
        "envoy",
        image,
        *("envoy", "--config-path", "/bootstrap/envoy.json", "--log-level", "warning"),
        *("--service-cluster", NAMESPACE, "--service-node", "$(POD)", "--disable-hot-restart"),
        env=[{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        ports=[{"name": name, "containerPort": port} for name, (_, port) in _PORTS.items()],
        readinessProbe={"httpGet": {"path": "/ready", "port": _ENVOY_PORT}, "periodSeconds": 1},
        lifecycle={"preStop": {"exec": {"command": drain}}},
        volumeMounts=[
            _mount("bootstrap", "/bootstrap"),
            _mount("admin", "/admin", read_only=False),
        ],
    )
