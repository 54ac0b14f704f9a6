"""States of before a stack or a project got its present name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_deploy.stack.renames import called_as_now

MAP = "kubernetes:core/v1:ConfigMap"
PROVIDER = "pulumi:providers:kubernetes"


def state(stack: str, project: str) -> dict[str, Any]:
    head = f"urn:pulumi:{stack}::{project}::"
    root = f"{head}pulumi:pulumi:Stack::{project}-{stack}"
    provider, first = f"{head}{PROVIDER}::cluster", f"{head}{MAP}::first"
    second = f"{head}team:it:Component${MAP}::second"
    return {
        "resources": [
            {"urn": root, "type": "pulumi:pulumi:Stack", "custom": False},
            {"urn": provider, "type": PROVIDER, "id": "1234", "parent": root},
            {"urn": first, "type": MAP, "parent": root, "provider": f"{provider}::1234"},
            {
                "urn": second,
                "type": MAP,
                "parent": root,
                "provider": f"{provider}::1234",
                "dependencies": [first],
                "propertyDependencies": {"data": [first], "metadata": None},
                "aliases": [f"{head}{MAP}::once", "urn:pulumi:another::one::a:b:C::d"],
                "deletedWith": first,
                "replaceWith": [first],
                "inputs": {"data": {"said": f"{head} is no reference"}},
            },
        ],
        "pending_operations": [{"resource": {"urn": first, "type": MAP}, "type": "creating"}],
        "secrets_providers": {"type": "passphrase"},
    }


@pytest.mark.parametrize(
    ("stack", "project"), [("staging", "shop"), ("dev", "store"), ("staging", "store")]
)
def test_every_reference_is_called_as_now(stack: str, project: str) -> None:
    found = called_as_now(state("dev", "shop"), stack, project)
    wanted = state(stack, project)
    # What a program said is not what the engine calls things.
    wanted["resources"][3]["inputs"] = state("dev", "shop")["resources"][3]["inputs"]
    assert found == wanted


def test_where_nothing_was_renamed_nothing_is_copied() -> None:
    made = state("dev", "shop")
    assert called_as_now(made, "dev", "shop") is made
    assert called_as_now({"resources": []}, "dev", "shop") == {"resources": []}
    assert called_as_now({}, "dev", "shop") == {}


def test_a_name_that_begins_like_another_is_another() -> None:
    made = state("dev", "shop")
    foreign = "urn:pulumi:dev::shopping::a:b:C::d"
    made["resources"][3]["dependencies"] = [foreign]
    found = called_as_now(made, "staging", "shop")
    assert found["resources"][3]["dependencies"] == [foreign]
    assert "urn:pulumi:dev::shop::a" not in json.dumps(found["resources"][3]["dependencies"])
