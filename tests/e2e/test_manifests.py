"""Every manifest of every stack against the schema of the pinned Kubernetes: the API server's."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from lab.toolchain import KUBERNETES_VERSION
from tests.rendering import TOKEN, render

NAMESPACE = "aegis-manifests-under-test"
POSTGRES = f"registry.example.com/postgres@sha256:{'a' * 64}"


def kubectl(*words: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl on the lab; a failing one is no error here."""
    argv = ["kubectl", *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A namespace that admits what the program's do."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    done = kubectl("apply", "--filename", "-", text=json.dumps(manifest))
    assert done.returncode == 0, done.stderr
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def test_the_lab_runs_the_pinned_kubernetes() -> None:
    server = json.loads(kubectl("version", "--output", "json").stdout)["serverVersion"]
    assert server["gitVersion"] == f"v{KUBERNETES_VERSION}"


@pytest.mark.parametrize("stack", ["development", "staging", "production"])
def test_every_manifest_fits_the_schema_strictly(stack: str, namespace: str) -> None:
    # Production has no database of its own.
    own = {} if stack == "production" else {"postgres": json.dumps({"image": POSTGRES})}
    manifests = list(render(stack, token=TOKEN, host="api.example.com", **own).manifests())
    kinds = {manifest["kind"] for manifest in manifests}
    assert ({"StatefulSet", "CronJob", "PersistentVolumeClaim"} <= kinds) == bool(own)
    assert {"Namespace", "Deployment", "Service", "Ingress", "Secret", "ConfigMap"} <= kinds
    for manifest in manifests:
        if "namespace" in manifest["metadata"]:
            manifest["metadata"]["namespace"] = namespace
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests})
    flags = ("--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts")
    done = kubectl("apply", *flags, "--filename", "-", text=text)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr, done.stderr
    assert len(done.stdout.splitlines()) == len(manifests)


def test_an_unknown_field_would_be_found(namespace: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": namespace},
        "dataa": {},
    }
    flags = ("--dry-run=server", "--validate=strict", "--server-side")
    done = kubectl("apply", *flags, "--filename", "-", text=json.dumps(manifest))
    assert done.returncode != 0
    assert "dataa" in done.stderr
