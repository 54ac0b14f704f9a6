"""Has Contour and Envoy in the cluster, which let requests in by Ingresses and by Gateway API."""

from __future__ import annotations

import base64
import json

import yaml

from lab import files, images, ingress, nodes, objects, pki
from lab.contour_manifests import CERTIFICATE, GATEWAY_API, NAME, certificate, manifests, namespace
from lab.ingress import CLASS, GATEWAY, NAMESPACE
from lab.settings import LabSettings
from lab.toolchain import CONTOUR, Toolchain

SECONDS = 180
"""How long its pods may take to be ready, or to go."""
_DEFINITIONS = (
    ("sigs.k8s.io/gateway-api", "config/crd/standard/gateway.networking.k8s.io_*.yaml"),
    ("github.com/projectcontour/contour", "examples/contour/01-crds.yaml"),
)
"""Go modules, at the versions that Contour is built with, and where resources are defined there."""
_DEFINED = (
    f"gatewayclasses.{GATEWAY_API}",
    f"gateways.{GATEWAY_API}",
    f"httproutes.{GATEWAY_API}",
    f"referencegrants.{GATEWAY_API}",
    "httpproxies.projectcontour.io",
    "tlscertificatedelegations.projectcontour.io",
)
"""What Contour does not start without, and no more."""


def start(settings: LabSettings) -> None:
    """Have the cluster's ingress controller run as it is to, and wait until it answers.

    Args:
        settings: The lab, which runs and has its registry.

    Raises:
        LabError: Its image cannot be made, or its pods do not become ready.
    """
    image = images.push_contour_image(settings)
    objects.apply(settings, _definitions(settings), what="the definitions of Gateway API")
    _wait(settings, "crd", *_DEFINED, condition="Established")
    ingress.note(settings, there=True)
    objects.apply(settings, [namespace()], what=f"the namespace {NAMESPACE}")
    if not _has_certificate(settings):
        objects.apply(settings, [certificate(settings)], what="the Gateway's certificate")
    own = manifests(settings, image, replicas=min(2, nodes.count(settings)))
    objects.apply(settings, own, what="the ingress controller")
    objects.kubectl(
        settings,
        *("--namespace", NAMESPACE, "rollout", "status", "deployment", NAME),
        f"--timeout={SECONDS}s",
        what="wait for the ingress controller",
        timeout=SECONDS + 10,
    )
    _wait(settings, "gateway", GATEWAY, condition="Programmed")


def remove(settings: LabSettings) -> None:
    """Take the ingress controller out of the cluster; what Gateway API defines stays.

    With the definitions the routes of every stack would go.
    """
    for kind, name in (
        ("namespace", NAMESPACE),
        ("ingressclass", CLASS),
        ("gatewayclass", CLASS),
        ("clusterrolebinding", f"aegis-lab-{NAME}"),
        ("clusterrole", f"aegis-lab-{NAME}"),
    ):
        words = ("delete", kind, name, "--ignore-not-found", f"--timeout={SECONDS}s")
        objects.kubectl(settings, *words, what=f"delete {kind} {name}", timeout=SECONDS + 10)
    ingress.note(settings, there=False)


def ready(settings: LabSettings) -> int:
    """Return how many of its pods are ready."""
    words = ("--namespace", NAMESPACE, "get", "deployment", NAME, "--ignore-not-found")
    path = "jsonpath={.status.readyReplicas}"
    return int(objects.kubectl(settings, *words, "-o", path, what="look at it") or 0)


def _wait(settings: LabSettings, kind: str, *names: str, condition: str) -> None:
    words = ("--namespace", NAMESPACE, "wait", kind, *names, f"--for=condition={condition}")
    what = f"wait until {', '.join(names)} is {condition.lower()}"
    timeout = f"--timeout={SECONDS}s"
    objects.kubectl(settings, *words, timeout, what=what, timeout=SECONDS + 10)


def _definitions(settings: LabSettings) -> list[objects.Object]:
    toolchain = Toolchain(settings)
    kept = toolchain.directory(CONTOUR) / "definitions.json"
    if not kept.exists():
        texts = [
            path.read_text()
            for module, pattern in _DEFINITIONS
            for path in sorted(toolchain.module(CONTOUR, module).glob(pattern))
        ]
        found = [it for text in texts for it in yaml.safe_load_all(text) if it]
        files.write(kept, json.dumps(found))
    found = json.loads(kept.read_text())
    return [it for it in found if it["metadata"]["name"] in _DEFINED]


def _has_certificate(settings: LabSettings) -> bool:
    """Return whether the Gateway has one of the authority that the lab has now."""
    words = ("--namespace", NAMESPACE, "get", "secret", CERTIFICATE, "--ignore-not-found")
    path = r"jsonpath={.data.ca\.crt}"
    found = objects.kubectl(settings, *words, "-o", path, what="look for the certificate")
    return base64.b64decode(found) == pki.authority_file(settings).read_bytes()
