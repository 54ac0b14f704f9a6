"""Has Contour and Envoy in the cluster, which let requests in by Ingresses and by Gateway API."""

from __future__ import annotations

import base64
import json

import yaml

from lab import files, images, ingress, nodes, objects, pki
from lab.command import wait_until
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
    wait_until(
        lambda: _is_rolled_out(settings),
        what=f"the ingress controller {NAME} to be ready",
        timeout=SECONDS,
        detail=lambda: _own(settings, "get", "pods,events", what="list its pods and events"),
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
    words = ("get", "deployment", NAME, "--ignore-not-found")
    path = "jsonpath={.status.readyReplicas}"
    return int(_own(settings, *words, "-o", path, what="look at it") or 0)


def _is_rolled_out(settings: LabSettings) -> bool:
    words = ("rollout", "status", "deployment", NAME, "--watch=false")
    return "successfully rolled out" in _own(settings, *words, what="look at its pods")


def _wait(settings: LabSettings, kind: str, *names: str, condition: str) -> None:
    words = ("wait", kind, *names, f"--for=condition={condition}", f"--timeout={SECONDS}s")
    what = f"wait until {', '.join(names)} is {condition.lower()}"
    _own(settings, *words, what=what, timeout=SECONDS + 10)


def _own(settings: LabSettings, *words: str, what: str, timeout: float = 120) -> str:
    """Run kubectl in its namespace."""
    return objects.kubectl(settings, "--namespace", NAMESPACE, *words, what=what, timeout=timeout)


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
    words = ("get", "secret", CERTIFICATE, "--ignore-not-found")
    path = r"jsonpath={.data.ca\.crt}"
    found = _own(settings, *words, "-o", path, what="look for the certificate")
    return base64.b64decode(found) == pki.authority_file(settings).read_bytes()
