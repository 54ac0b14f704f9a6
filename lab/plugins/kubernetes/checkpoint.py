"""The official layout of a resource's state: the live object plus what the provider remembers.

Outputs are the live object as the server returned it, ``__inputs`` (the inputs it came from),
``__initialApiVersion`` and ``__fieldManager``.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from lab.plugins.kubernetes import secrets
from lab.plugins.kubernetes.objects import (
    DEPLOYMENT_REVISION,
    Json,
    Object,
    remove_field,
    text,
)
from lab.plugins.properties import plain

INPUTS = "__inputs"
INITIAL_API_VERSION = "__initialApiVersion"
FIELD_MANAGER = "__fieldManager"

_UNDERSCORED = {
    f"x_kubernetes_{name}": f"x-kubernetes-{name.replace('_', '-')}"
    for name in (
        "embedded_resource",
        "int_or_string",
        "list_map_keys",
        "list_type",
        "map_type",
        "preserve_unknown_fields",
        "validations",
    )
}
_DASHED = {dashed: underscored for underscored, dashed in _UNDERSCORED.items()}


def to_object(properties: Mapping[str, Any]) -> Object:
    """Return properties as a Kubernetes object: no secret marks, keys with dashes."""
    result: Object = _renamed(plain(properties), _UNDERSCORED)
    return result


def to_properties(obj: Object, marks: Json) -> dict[str, Any]:
    """Return an object as properties, with the secrets that ``marks`` (its inputs) has."""
    result: dict[str, Any] = _renamed(obj, _DASHED)
    secrets.annotate(result, marks)
    return result


def build(
    inputs: Object, live: Object, marks: Json, *, initial_api_version: str, field_manager: str
) -> dict[str, Any]:
    """Return a resource's outputs.

    Args:
        inputs: The inputs to remember.
        live: The object the server has.
        marks: The inputs as the engine sent them, with their secret marks.
        initial_api_version: The version the object was created with.
        field_manager: The name this resource's apply patches go by.
    """
    outputs = to_properties(copy.deepcopy(live), marks)
    _mark_encoded(outputs, marks)
    outputs[INPUTS] = to_properties(copy.deepcopy(inputs), marks)
    outputs[INITIAL_API_VERSION] = initial_api_version
    outputs[FIELD_MANAGER] = field_manager
    return outputs


def parse(outputs: Mapping[str, Any]) -> tuple[Object, Object]:
    """Return the inputs and the live object in a resource's outputs."""
    whole = to_object(outputs)
    if isinstance(whole.get("inputs"), dict) and isinstance(whole.get("live"), dict):
        return whole["inputs"], whole["live"]
    inputs = whole.pop(INPUTS, None)
    return inputs if isinstance(inputs, dict) else {}, whole


def imported_inputs(live: Object) -> Object:
    """Return the inputs an imported object stands for: all but what the server made."""
    inputs = {key: copy.deepcopy(value) for key, value in live.items() if key != "status"}
    for field in ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid"):
        remove_field(inputs, "metadata", field)
    for key in (DEPLOYMENT_REVISION, "kubectl.kubernetes.io/last-applied-configuration"):
        remove_field(inputs, "metadata", "annotations", key)
    return inputs


def initial_api_version(outputs: Mapping[str, Any], inputs: Object) -> str:
    """Return the version an object was created with."""
    remembered = plain(outputs.get(INITIAL_API_VERSION))
    return remembered if isinstance(remembered, str) else text(inputs, "apiVersion")


def remembered_field_manager(outputs: Mapping[str, Any]) -> str:
    """Return the field manager in a resource's outputs, "" when there is none."""
    remembered = plain(outputs.get(FIELD_MANAGER))
    return remembered if isinstance(remembered, str) else ""


def _mark_encoded(outputs: dict[str, Any], marks: Json) -> None:
    """Mark a Secret's data that the server made of secret stringData."""
    given = marks.get("stringData") if isinstance(marks, Mapping) else None
    data = outputs.get("data")
    if outputs.get("kind") == "Secret" and given is not None and isinstance(data, dict):
        outputs["data"] = secrets.as_secret(data)


def _renamed(value: Json, names: Mapping[str, str]) -> Json:
    if isinstance(value, Mapping):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value
