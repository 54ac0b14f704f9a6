"""States as `pulumi stack export --show-secrets` prints them, in a line a resource."""

from __future__ import annotations

import json
from typing import Any

from aegis_deploy.model.signatures import SECRET, SIGNATURE
from aegis_deploy.stack.checkpoint import Checkpoint, parse

STACK = "urn:pulumi:staging::shop::pulumi:pulumi:Stack::shop-staging"
DEFAULT = "urn:pulumi:staging::shop::pulumi:providers:kubernetes::default_4_32_0"
SECRET_KIND = "kubernetes:core/v1:Secret"
CONFIG_KIND = "kubernetes:core/v1:ConfigMap"


def urn(kind: str, name: str) -> str:
    """A resource's URN."""
    return f"urn:pulumi:staging::shop::{kind}::{name}"


def secret(value: Any) -> dict[str, Any]:
    """A secret as an export with its secrets has it."""
    return {SIGNATURE: SECRET, "plaintext": json.dumps(value)}


def thing(kind: str, name: str, inputs: dict[str, Any] | None = None, **more: Any) -> Any:
    """A resource of a state: an object of the cluster, named in its inputs or by the name."""
    inputs = {"metadata": {"name": name, "namespace": "shop"}, **(inputs or {})}
    called = inputs["metadata"]
    return {
        "urn": urn(kind, name),
        "type": kind,
        "custom": True,
        "id": f"{called.get('namespace')}/{called['name']}",
        "inputs": inputs,
        "parent": STACK,
        "provider": f"{DEFAULT}::1",
        **more,
    }


def state(*resources: Any, outputs: dict[str, Any] | None = None) -> dict[str, Any]:
    """A deployment with a stack and a default provider in front."""
    root = {"urn": STACK, "type": "pulumi:pulumi:Stack", "custom": False, "outputs": outputs or {}}
    provider = {
        "urn": DEFAULT,
        "type": "pulumi:providers:kubernetes",
        "custom": True,
        "id": "1",
        "inputs": {"version": "4.32.0", "__internal": {}},
    }
    return {"resources": [root, provider, *resources]}


def made(*resources: Any, outputs: dict[str, Any] | None = None) -> Checkpoint:
    """The same, parsed."""
    return parse(state(*resources, outputs=outputs))
