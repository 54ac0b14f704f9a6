"""Functions a program may call: YAML text to objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc

from lab.plugins.kubernetes.kinds import known_scope
from lab.plugins.kubernetes.objects import Object, namespace_of, set_field, text
from lab.plugins.protocol import RpcError


def decode_yaml(arguments: Mapping[str, Any]) -> list[Object]:
    """Return the objects in a YAML text, lists unfolded, namespaces filled in.

    Args:
        arguments: ``text``, and ``defaultNamespace`` for objects that name none.

    Raises:
        RpcError: The text is missing or no YAML.
    """
    import yaml

    if not isinstance(arguments.get("text"), str):
        raise RpcError(
            grpc.StatusCode.INVALID_ARGUMENT, "missing required field 'text' of type string"
        )
    try:
        documents = list(yaml.safe_load_all(arguments["text"]))
    except yaml.YAMLError as error:
        raise RpcError(grpc.StatusCode.INVALID_ARGUMENT, f"cannot read YAML: {error}") from None
    found: list[Object] = []
    for document in documents:
        if isinstance(document, dict):
            listed = text(document, "kind").endswith("List") and isinstance(
                document.get("items"), list
            )
            found += document["items"] if listed else [document]
    namespace = arguments.get("defaultNamespace")
    for obj in found:
        scope = known_scope(text(obj, "apiVersion"), text(obj, "kind"))
        if namespace and scope is not False and not namespace_of(obj):
            set_field(obj, namespace, "metadata", "namespace")
    return found
