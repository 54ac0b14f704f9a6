"""Which environment variables a container gets, as far as they stand in the stack."""

from __future__ import annotations

from typing import Any

from .pods import Container
from .resources import Resource, Stack, listed, look, mapped


def variables(resource: Resource, container: Container, stack: Stack) -> dict[str, Any]:
    """The variables of a container: from the stack's ConfigMaps, and its own over them."""
    found: dict[str, Any] = {}
    for source in listed(container.spec, "envFrom"):
        name = look(source, "configMapRef", "name")
        config = stack.find("ConfigMap", resource.namespace, name)
        if config is not None:
            prefix = look(source, "prefix") or ""
            data = mapped(config.inputs, "data")
            found.update({f"{prefix}{key}": look(data, key) for key in data})
    for item in listed(container.spec, "env"):
        if look(item, "value") is not None:
            found[str(look(item, "name"))] = look(item, "value")
    return found
