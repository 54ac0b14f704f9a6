"""The JSON schema of ``Pulumi.<stack>.yaml``, with which editors complete and check it.

``make schema`` writes it to ``settings.schema.json``, out of the table that the program reads its
settings with. Of one file alone it can be told that a value is wrong by itself. That one is missing
or does not go with another is the program's to say: the other may stand in ``Pulumi.yaml``, or in
the environment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aegis_deploy.model.setting_forms import Schema
from components.setting_keys import KEYS, PROJECT, PROVIDER_KEYS, Key

FILE = Path(__file__).with_name("settings.schema.json")

_SECRET = {"$ref": "#/definitions/secret"}
_DEFINITIONS = {
    "secret": {
        "description": "a secret, as pulumi config set --secret writes it",
        "type": "object",
        "properties": {"secure": {"type": "string"}},
        "required": ["secure"],
        "additionalProperties": False,
    }
}
_OF_PULUMI = {
    "encryptionsalt": {"type": "string", "description": "Pulumi's; belongs into the commit"},
    "encryptedkey": {"type": "string", "description": "Pulumi's; belongs into the commit"},
    "secretsprovider": {"type": "string", "description": "what encrypts the stack's secrets"},
    "environment": {"description": "Pulumi ESC environments whose settings come before these"},
}


def schema() -> dict[str, Any]:
    """Make the schema of a stack's file."""
    settings = {key.full_name: _setting(key) for key in KEYS}
    settings |= {name: {"description": "leads to the cluster"} for name in PROVIDER_KEYS}
    config = {
        "type": "object",
        "properties": settings,
        "patternProperties": {
            **dict(_spelt_otherwise(name) for name in settings),
            # What another package of Pulumi's is set with.
            f"^(?!(?:{PROJECT}|kubernetes):)[^:]+:": {},
        },
        "additionalProperties": False,
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Settings of a stack of {PROJECT}",
        "type": "object",
        "properties": {"config": config, **_OF_PULUMI},
        "additionalProperties": False,
        "definitions": _DEFINITIONS,
    }


def _setting(key: Key[Any]) -> Schema:
    described: dict[str, Any] = {"description": f"{key.what}; {key.allowed}"}
    if key.default is not None:
        described["default"] = key.default
    if key.variable is not None:
        described["description"] += f"; without it {key.variable} of the environment"
    if key.secret:
        return {**described, "allOf": [_SECRET]}
    return {**described, **_or_secret(key.form.schema)}


def _or_secret(value: Schema) -> dict[str, Any]:
    """Let a value be a secret, and each value of a group.

    The program reads a secret of any setting; what is encrypted no schema can see.
    """
    described = {name: value[name] for name in ("description", "default") if name in value}
    rest = {name: it for name, it in value.items() if name not in described}
    ways = rest["anyOf"] if rest.keys() == {"anyOf"} else [rest]
    return {**described, "anyOf": [*map(_group_or_secret, ways), _SECRET]}


def _group_or_secret(value: Schema) -> Schema:
    if "properties" not in value:
        return value
    members = {name: _or_secret(member) for name, member in value["properties"].items()}
    return {**value, "properties": members}


def _spelt_otherwise(name: str) -> tuple[str, Schema]:
    """Return the two other ways to write a setting's name, and that it is this setting."""
    namespace, _, short = name.partition(":")
    bare = "?" if namespace == PROJECT else ""
    return (
        f"^(?:{namespace}:config:){bare}{short}$",
        {"$ref": f"#/properties/config/properties/{name}"},
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")
