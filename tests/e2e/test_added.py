"""A broken release that adds what holds data, or what blocks every way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_deploy.history.verification_store import VERIFIED
from aegis_deploy.stack.session import Session
from tests.e2e.live_cluster import live_cluster
from tests.e2e.small_program import STACK, SmallProgram
from tests.series import every

PROGRAM = '''
import pulumi
import pulumi_kubernetes as kubernetes

config = pulumi.Config()
namespace, adds = config.require("namespace"), config.get("adds") or ""
broken = config.get_bool("broken") or False
run = """
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
if os.environ["BROKEN"] == "True":
    sys.exit("boom: cannot open the store")
http.server.ThreadingHTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
before = []


def pods(name, **more):
    labels = {"app": name}
    container = {
        "name": "web",
        "image": config.require("image"),
        "command": ["python3", "-c", run],
        "env": [{"name": "BROKEN", "value": str(broken)}],
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}},
    }
    return {
        "replicas": 1,
        "selector": {"matchLabels": labels},
        "template": {
            "metadata": {"labels": labels},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]},
        },
        **more,
    }


def claim(name, where, **options):
    return kubernetes.core.v1.PersistentVolumeClaim(
        name,
        metadata={
            "name": name,
            "namespace": where,
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        opts=pulumi.ResourceOptions(**options),
    )


if adds == "data":
    settings = kubernetes.core.v1.ConfigMap(
        "settings", metadata={"name": "settings", "namespace": namespace}, data={"a": "b"}
    )
    cluster = kubernetes.Provider("other")
    group = pulumi.ComponentResource("shop:one:Group", "group")
    more = kubernetes.core.v1.Namespace(
        "more",
        metadata={"name": f"{namespace}-more"},
        opts=pulumi.ResourceOptions(provider=cluster),
    )
    claim("data", namespace, depends_on=[settings])
    claim("in-it", f"{namespace}-more", depends_on=[more], provider=cluster, parent=group)
    kubernetes.core.v1.ConfigMap(
        "kept",
        metadata={"name": "kept", "namespace": namespace},
        opts=pulumi.ResourceOptions(protect=True, depends_on=[settings]),
    )
    before = [
        settings,
        kubernetes.apps.v1.StatefulSet(
            "db",
            metadata={
                "name": "db",
                "namespace": namespace,
                "annotations": {"pulumi.com/skipAwait": "true"},
            },
            spec=pods(
                "db",
                serviceName="db",
                persistentVolumeClaimRetentionPolicy={"whenDeleted": "Delete"},
            ),
            opts=pulumi.ResourceOptions(depends_on=[settings]),
        ),
    ]
if config.get_bool("grows"):
    grown = adds == "more"
    classed = kubernetes.storage.v1.StorageClass(
        "grows",
        metadata={"name": f"grows-{namespace}"},
        provisioner="kubernetes.io/no-provisioner",
        allow_volume_expansion=True,
    )
    disk = kubernetes.core.v1.PersistentVolume(
        "disk",
        metadata={"name": f"disk-{namespace}"},
        spec={
            "capacity": {"storage": "10Mi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": f"grows-{namespace}",
            "hostPath": {"path": f"/tmp/{namespace}"},
        },
        opts=pulumi.ResourceOptions(depends_on=[classed]),
    )
    versions = [
        {
            "name": name,
            "served": True,
            "storage": (name == "v2") is grown,
            "schema": {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            },
        }
        for name in ("v1", "v2")[: 1 + grown]
    ]
    before = [
        kubernetes.core.v1.PersistentVolumeClaim(
            "data",
            metadata={"name": "data", "namespace": namespace},
            spec={
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": f"grows-{namespace}",
                "resources": {"requests": {"storage": "20Mi" if grown else "10Mi"}},
            },
            opts=pulumi.ResourceOptions(depends_on=[disk]),
        ),
        kubernetes.apiextensions.v1.CustomResourceDefinition(
            "things",
            metadata={"name": f"things.{namespace}.example.com"},
            spec={
                "group": f"{namespace}.example.com",
                "scope": "Namespaced",
                "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
                "versions": versions,
            },
        ),
    ]
if adds == "guards":
    webhook = {
        "name": f"guard.{namespace}.example.com",
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": 2,
        "clientConfig": {"service": {"name": "nobody", "namespace": namespace, "port": 443}},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "rules": [
            {
                "apiGroups": ["", "apps"],
                "apiVersions": ["v1"],
                "operations": ["CREATE", "UPDATE", "DELETE"],
                "resources": ["deployments", "resourcequotas"],
            }
        ],
    }
    quota = kubernetes.core.v1.ResourceQuota(
        "quota",
        metadata={"name": "quota", "namespace": namespace},
        spec={"hard": {"pods": "0"}},
    )
    before = [
        quota,
        kubernetes.admissionregistration.v1.ValidatingWebhookConfiguration(
            "guard",
            metadata={"name": f"guard.{namespace}.example.com"},
            webhooks=[webhook],
            opts=pulumi.ResourceOptions(depends_on=[quota]),
        ),
    ]
kubernetes.apps.v1.Deployment(
    "web",
    metadata={"name": "web", "namespace": namespace, "labels": {"adds": adds or "nothing"}},
    spec=pods("web", strategy={"type": "Recreate"}, progressDeadlineSeconds=45),
    opts=pulumi.ResourceOptions(
        depends_on=before, custom_timeouts=pulumi.CustomTimeouts(update="90s")
    ),
)
'''


class Shop(SmallProgram):
    """The program, its stack and its namespace."""

    def forget_the_last_mark(self) -> None:
        """Take the verified mark from the newest release that has one."""
        session = Session.open("far", self.directory, self.environment)
        tags = session.tags()
        name = max(it for it in tags if it.startswith(f"{VERIFIED}."))
        session.change_tags({name: tags[name].rpartition(",")[0] or None})

    def names(self, kind: str, namespace: str | None = None) -> list[str]:
        """The names of the live objects of a kind."""
        found = live_cluster(self.environment).objects(kind, namespace or self.namespace)
        return [it["metadata"]["name"] for it in found]

    def served_by(self) -> str:
        """What the release that the Deployment is of had added."""
        web = self.live("deployment", "web")
        return f"{web['metadata']['labels']['adds']} {web['status'].get('readyReplicas')}"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A stack with one verified release."""
    it = Shop.written(tmp_path, PROGRAM, {})
    it.run("kubectl", "create", "namespace", it.namespace)
    try:
        it.aegis("deploy", "--yes")
        yield it
    finally:
        it.leave(
            f"validatingwebhookconfiguration/guard.{it.namespace}.example.com",
            f"persistentvolume/disk-{it.namespace}",
            f"storageclass/grows-{it.namespace}",
            f"customresourcedefinition/things.{it.namespace}.example.com",
            f"namespace/{it.namespace}-more",
        )


def test_everything_else_is_restored_and_data_stays_in_the_state(shop: Shop) -> None:
    shop.configure({"adds": "data", "broken": "true"})
    error = shop.told("deploy", "--yes", expect=4)["error"]
    assert error["state"].startswith("rolled back to release 1, verified; not deleted: ")
    for name in (
        f"Namespace {shop.namespace}-more",
        "PersistentVolumeClaim data",
        "ConfigMap kept",
    ):
        assert name in error["state"]
    assert shop.served_by() == "nothing 1"
    assert shop.names("persistentvolumeclaim") == ["data"]
    assert shop.names("persistentvolumeclaim", f"{shop.namespace}-more") == ["in-it"]
    assert shop.names("pods") == [it for it in shop.names("pods") if it.startswith("web-")]
    assert "settings" not in shop.names("configmap")
    assert shop.told("status")["drift"]["drifted"] is False
    # The program that declared it knows it.
    preview = json.loads(
        shop.run("pulumi", "preview", "--json", "--non-interactive", *STACK).standard_output
    )
    changed = {
        it["urn"].rpartition("::")[2]: it["op"] for it in preview["steps"] if it["op"] != "same"
    }
    assert changed == {"settings": "create", "db": "update", "web": "update"}

    # As one whose rollback died before its mark; what stays and went since is no matter.
    shop.forget_the_last_mark()
    shop.kubectl("delete", "persistentvolumeclaim", "data", "--wait")
    recovered = shop.told("recover")
    assert (recovered["action"], recovered["rollback"]) == ("judge", None)
    assert any(it.startswith("PersistentVolumeClaim data") for it in recovered["stays"])
    assert shop.told("history")["releases"][0]["verified"]

    shown = shop.told("rollback", "--to", "1", "--preview")
    assert any(it.startswith("PersistentVolumeClaim data") for it in shown["stays"])
    shop.aegis("rollback", "--to", "1", "--yes", "--allow-data-loss")
    assert shop.names("persistentvolumeclaim") == []
    assert shop.names("statefulset") == []
    assert "kept" in shop.names("configmap"), "what is protected stays"


@every
def test_a_volume_that_grew_and_a_stored_version_stay_and_all_else_is_restored(shop: Shop) -> None:
    shop.configure({"grows": "true"})
    shop.aegis("deploy", "--yes")
    assert shop.told("drift")["drift"] is False, "a definition is as it was declared"
    shop.configure({"adds": "more", "broken": "true"})
    error = shop.told("deploy", "--yes", expect=4)["error"]
    things = f"things.{shop.namespace}.example.com"
    assert error["state"].startswith("rolled back to release 2, verified; not as it was: ")
    for name in ("PersistentVolumeClaim data", f"CustomResourceDefinition {things}"):
        assert name in error["state"]
    assert shop.served_by() == "nothing 1"
    shown = ("--output", "jsonpath={.spec.versions[*].name} {.status.storedVersions}")
    kept = shop.run("kubectl", "get", "customresourcedefinition", things, *shown)
    assert kept.standard_output == 'v1 v2 ["v1","v2"]'
    assert shop.told("drift")["drift"] is False
    again = shop.told("rollback", "--to", "2", "--preview")
    assert len(again["stays"]) == 2, "it would be left so again"


@every
def test_what_refuses_every_change_goes_first(shop: Shop) -> None:
    guard = f"guard.{shop.namespace}.example.com"
    shop.configure({"adds": "guards"})
    error = shop.told("deploy", "--yes", expect=4)["error"]
    assert error["state"] == "rolled back to release 1, verified"
    assert guard not in shop.names("validatingwebhookconfigurations")
    assert shop.names("resourcequota") == []
    assert shop.served_by() == "nothing 1"
    newest, *steps = shop.told("history")["releases"]
    assert (newest["restores"], newest["result"], newest["verified"]) == (1, "succeeded", True)
    assert [it["result"] for it in steps] == ["begun", "begun", "failed", "succeeded"]


@every
def test_by_hand_the_preview_shows_the_order_though_the_cluster_refuses_to_be_asked(
    shop: Shop,
) -> None:
    shop.configure({"adds": "guards"})
    shop.aegis("deploy", "--yes", "--no-rollback", expect=1)
    shown = shop.told("rollback", "--to", "1", "--preview")
    assert shown["first"] == [
        f"ValidatingWebhookConfiguration guard.{shop.namespace}.example.com",
        "ResourceQuota quota",
    ]
    assert [it.strip().partition(" ")[0] for it in shown["changes"][:2]] == ["delete", "delete"]
    shop.aegis("recover")
    assert shop.names("resourcequota") == []
    assert shop.served_by() == "nothing 1"
