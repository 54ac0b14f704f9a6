"""aegis_deploy.model.signatures: what a secret's envelope holds, and what is shown instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis_deploy.model.signatures import SECRET, SIGNATURE, masked, opened


def envelope(**holds: Any) -> dict[str, Any]:
    return {SIGNATURE: SECRET, **holds}


INNER = envelope(plaintext=json.dumps("hunter2"))
SECRETS = [
    (INNER, "hunter2"),
    (envelope(value=["a", {"b": 1}]), ["a", {"b": 1}]),
    (envelope(plaintext=json.dumps({"in": INNER})), {"in": "hunter2"}),
    (envelope(value=envelope(value=None)), None),
]


@pytest.mark.parametrize(("secret", "holds"), SECRETS)
def test_a_secret_is_opened_wherever_it_stands(secret: Any, holds: Any) -> None:
    assert opened(secret) == holds
    assert opened({"a": [secret, 1], "b": {"c": secret}}) == {"a": [holds, 1], "b": {"c": holds}}


@pytest.mark.parametrize(("secret", "_"), SECRETS)
def test_a_secret_is_masked_wherever_it_stands(secret: Any, _: Any) -> None:
    assert masked({"a": [secret, 1], "b": secret}, "[secret]") == {
        "a": ["[secret]", 1],
        "b": "[secret]",
    }


def test_what_is_encrypted_is_not_taken_for_its_content() -> None:
    with pytest.raises(KeyError):
        opened({"a": envelope(ciphertext="v1:abc")})
