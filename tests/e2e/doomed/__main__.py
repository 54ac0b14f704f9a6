"""Two Deployments, one awaited by the provider, one by the gate inside the update.

Every version brings a ConfigMap of a name that says which and one with an autoname, a Secret, and
new pods. Nothing here knows of `aegis` but the gate.
"""

from __future__ import annotations

import os
from pathlib import Path

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi import ResourceOptions

from aegis_deploy.model.gate_settings import gate_settings
from aegis_deploy.program.hooks import GateHook

config = pulumi.Config()
NAMESPACE, VERSION = config.require("namespace"), config.require("version")
IMAGE: pulumi.Input[str] = config.get("image") or os.environ["AEGIS_RUNTIME_IMAGE"]
if config.get("build"):
    import pulumi_docker as docker

    Path("context").mkdir(exist_ok=True)
    (Path("context") / "Dockerfile").write_text(f"FROM {IMAGE}\nLABEL version={VERSION}\n")
    IMAGE = docker.Image(
        "web",
        image_name=f"{os.environ['AEGIS_REGISTRY']}/doomed:{VERSION}",
        build={"context": "context", "builder_version": "BuilderV1"},
    ).repo_digest
# `tests/e2e/server.py`. It ends once nobody asks it any more, as `aegis-api` does: a control plane
# that was away may take a minute until it tells anybody that a pod goes.
SERVER, GRACE = Path("server.txt").read_text(), config.require_int("grace")


def meta(**more: object) -> dict[str, object]:
    """Metadata of an object in the namespace."""
    return {"namespace": NAMESPACE, **more}


space = kubernetes.core.v1.Namespace("space", metadata={"name": NAMESPACE})
inside = ResourceOptions(parent=space, depends_on=[space])
settings = {
    "web": kubernetes.core.v1.ConfigMap(
        f"web-{VERSION}",
        metadata=meta(name=f"web-{VERSION}"),
        immutable=True,
        data={"SAYS": VERSION},
        opts=inside,
    ),
    # Autonamed: a new version replaces it under the same URN.
    "plain": kubernetes.core.v1.ConfigMap(
        "plain", metadata=meta(), immutable=True, data={"SAYS": VERSION}, opts=inside
    ),
}
secret = kubernetes.core.v1.Secret(
    f"token-{VERSION}",
    metadata=meta(name=f"token-{VERSION}"),
    string_data={"TOKEN": pulumi.Output.secret(f"the token of {VERSION}")},
    opts=inside,
)


def deployment(name: str, opts: ResourceOptions, **annotations: str) -> None:
    """A Deployment of two, and its Service."""
    labels = {"app": name}
    container = {
        "name": "web",
        "image": IMAGE,
        "command": ["python3", "-u", "-c", SERVER],
        "envFrom": [
            {"configMapRef": {"name": settings[name].metadata["name"]}},
            {"secretRef": {"name": secret.metadata["name"]}},
        ],
        "ports": [{"name": "http", "containerPort": 8000}],
        # Without a request a busy machine leaves a pod next to nothing; with more, the pods of
        # several tests do not find room on one node.
        "resources": {"requests": {"cpu": "20m"}},
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 1,
            "timeoutSeconds": 10,
        },
        # Longer than a busy machine takes to send nothing more here.
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    }
    kubernetes.core.v1.Service(
        name,
        metadata=meta(name=name, annotations={"pulumi.com/skipAwait": "true"}),
        spec={"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]},
        opts=inside,
    )
    kubernetes.apps.v1.Deployment(
        name,
        metadata=meta(name=name, annotations=annotations),
        spec={
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": {**labels, "app.kubernetes.io/version": VERSION}},
                "spec": {
                    "containers": [container],
                    "terminationGracePeriodSeconds": config.require_int("grace"),
                },
            },
        },
        opts=ResourceOptions.merge(inside, opts),
    )


judged, _ = GateHook(
    stack=pulumi.get_stack(),
    namespace=NAMESPACE,
    name="web",
    service="web",
    settings=gate_settings(config.require_object("gate")),
    expected={"version": VERSION},
).bound()
waits = {"pulumi.com/waitFor": "jsonpath={.metadata.uid}"}
deployment("web", ResourceOptions(hooks=judged), **waits)
deployment("plain", ResourceOptions())
pulumi.export("version", VERSION)
