"""Somebody else's program, which `aegis` rolls back without knowing it.

Autonames, an explicit and a default provider, nested components, aliases, protect, dependsOn,
deletedWith, retainOnDelete, ignoreChanges, timeouts, secrets nested in objects, a Job, a custom
resource. The setting ``version`` says which of its three versions it is; the third never starts.
"""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi import ResourceOptions

config = pulumi.Config()
NAMESPACE = config.require("namespace")
VERSION = config.require("version")
IMAGE = config.require("image")
PASSWORD = config.require_secret("password")
FIRST = VERSION == "v1"
PATIENCE = config.get_int("patience") or 8
"""Seconds after which the version that never starts is given up."""
NEVER = VERSION == "v3"
GROUP = f"{NAMESPACE}.example.com"
LABELS = {"app": "web"}


def meta(**more: object) -> dict[str, object]:
    """Metadata of an object in the namespace."""
    return {"namespace": namespace.metadata["name"], **more}


class Settings(pulumi.ComponentResource):
    """A component in a component: what the service reads."""

    def __init__(self, name: str, opts: ResourceOptions) -> None:
        super().__init__("foreign:app:Settings", name, None, opts)
        self.plain = kubernetes.core.v1.ConfigMap(
            f"{name}-settings",
            metadata=meta(),
            immutable=True,
            data={"VERSION": VERSION, "MODE": "simple" if FIRST else "elaborate"},
            opts=ResourceOptions(parent=self),
        )
        self.secret = kubernetes.core.v1.Secret(
            f"{name}-secret",
            metadata=meta(),
            string_data={
                "PASSWORD": PASSWORD,
                "URL": pulumi.Output.concat("postgres://web:", PASSWORD, "@db/web"),
            },
            opts=ResourceOptions(parent=self),
        )
        self.register_outputs({"settings": self.plain.metadata["name"], "password": PASSWORD})


class Web(pulumi.ComponentResource):
    """The service."""

    def __init__(self, name: str, opts: ResourceOptions) -> None:
        super().__init__("foreign:app:Web", name, {"version": VERSION}, opts)
        settings = Settings(name, ResourceOptions(parent=self))
        limit = f"{2 * PATIENCE if NEVER else 900}s"
        never = ["python3", "-c", "raise SystemExit('this version never starts')"]
        self.deployment = kubernetes.apps.v1.Deployment(
            name,
            metadata=meta(labels=LABELS),
            spec={
                "replicas": 1,
                "progressDeadlineSeconds": PATIENCE if NEVER else 600,
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {"labels": LABELS},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [
                            {
                                "name": "web",
                                "image": IMAGE,
                                "command": never
                                if NEVER
                                else ["python3", "-m", "http.server", "8000"],
                                # Without it a container that ends at once counts as ready first.
                                "readinessProbe": {
                                    "httpGet": {"path": "/", "port": 8000},
                                    "periodSeconds": 1,
                                },
                                "envFrom": [
                                    {"configMapRef": {"name": settings.plain.metadata["name"]}},
                                    {"secretRef": {"name": settings.secret.metadata["name"]}},
                                ],
                            }
                        ],
                    },
                },
            },
            opts=ResourceOptions(
                parent=self,
                custom_timeouts=pulumi.CustomTimeouts(create=limit, update=limit),
                additional_secret_outputs=["status"],
            ),
        )
        kubernetes.core.v1.Service(
            name,
            metadata=meta(annotations={"pulumi.com/skipAwait": "true"}),
            spec={"selector": LABELS, "ports": [{"port": 80, "targetPort": 8000}]},
            opts=ResourceOptions(parent=self, deleted_with=namespace),
        )
        self.register_outputs({"deployment": self.deployment.metadata["name"]})


namespace = kubernetes.core.v1.Namespace("home", metadata={"name": NAMESPACE})
cluster = kubernetes.Provider("cluster", enable_server_side_apply=True, namespace=NAMESPACE)

# By the default provider, with the engine's own name.
kubernetes.core.v1.ConfigMap(
    "guarded", metadata=meta(), data={"kept": "always"}, opts=ResourceOptions(protect=True)
)
kubernetes.core.v1.ConfigMap(
    "left",
    metadata=meta(),
    data={"since": "v1"},
    opts=ResourceOptions(retain_on_delete=True, ignore_changes=["data"]),
)
# Renamed twice: in a version before the first, and in the second.
kubernetes.core.v1.ConfigMap(
    "flags" if FIRST else "features",
    metadata=meta(name="features"),
    data={"fast": "yes" if FIRST else "no"},
    opts=ResourceOptions(aliases=[pulumi.Alias(name="switches" if FIRST else "flags")]),
)
if FIRST:
    kubernetes.core.v1.ConfigMap("legacy", metadata=meta(name="legacy"), data={"old": "yes"})
else:
    kubernetes.core.v1.ConfigMap("novelty", metadata=meta(), data={"new": VERSION})

definition = kubernetes.apiextensions.v1.CustomResourceDefinition(
    "widgets",
    metadata={"name": f"widgets.{GROUP}"},
    spec={
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
)
kubernetes.apiextensions.CustomResource(
    "widget",
    api_version=f"{GROUP}/v1",
    kind="Widget",
    metadata=meta(name="widget"),
    spec={
        "size": 1 if FIRST else 2,
        "login": {"user": "web", "token": PASSWORD.apply(lambda value: f"token-{value}")},
    },
    opts=ResourceOptions(depends_on=[definition]),
)

web = Web("web", ResourceOptions(providers=[cluster]))
kubernetes.batch.v1.Job(
    "migrate",
    metadata=meta(),
    spec={
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {"name": "migrate", "image": IMAGE, "command": ["python3", "-c", VERSION[1:]]}
                ],
            }
        },
        "backoffLimit": 1 if FIRST else 2,
    },
    opts=ResourceOptions(depends_on=[web], delete_before_replace=True),
)

pulumi.export("version", VERSION)
pulumi.export("login", {"user": "web", "password": PASSWORD})
pulumi.export("deployment", web.deployment.metadata["name"])
