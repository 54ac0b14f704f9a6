"""Reading recorded states."""

from __future__ import annotations

import pytest

from ops.checkpoint import SECRET, SIGNATURE, is_secret, parse, plain
from ops.errors import AegisError
from tests.unit.ops.states import CONFIG_KIND, made, secret, state, thing


def test_a_secret_is_in_the_envelope_that_the_engine_is_told_secrets_in() -> None:
    item = made(thing(CONFIG_KIND, "a", {"data": {"key": secret({"deep": ["x"]})}})).resources[-1]
    assert item.inputs["data"]["key"] == {SIGNATURE: SECRET, "value": {"deep": ["x"]}}
    assert is_secret(item.inputs["data"]["key"])
    assert plain(item.inputs["data"]["key"]) == {"deep": ["x"]}


def test_a_secret_that_is_still_encrypted_is_refused() -> None:
    encrypted = {SIGNATURE: SECRET, "ciphertext": "v1:abc"}
    with pytest.raises(AegisError, match="still encrypted"):
        parse(state(thing(CONFIG_KIND, "a", {"data": encrypted})))


def test_what_waits_to_be_deleted_is_not_alive() -> None:
    loaded = made(
        thing(CONFIG_KIND, "a"),
        thing(CONFIG_KIND, "b", delete=True),
        thing(CONFIG_KIND, "c", pendingReplacement=True),
    )
    assert [item.name for item in loaded.alive.values() if item.type == CONFIG_KIND] == ["a"]


def test_no_secret_is_in_a_representation() -> None:
    loaded = made(
        thing(CONFIG_KIND, "a", {"data": secret("hidden")}, replacementTrigger=secret("hidden")),
        outputs={"word": secret("hidden")},
    )
    assert "hidden" not in repr(loaded) + repr(loaded.resources)
    assert plain(loaded.outputs["word"]) == "hidden"


def test_a_name_may_hold_what_parts_a_urn() -> None:
    item = made(thing(CONFIG_KIND, "a::b")).resources[-1]
    assert item.name == "a::b"
    assert item.provider_urn.endswith("::default_4_32_0")


def test_an_empty_stack_has_nothing() -> None:
    assert parse({}).alive == {}
    assert parse({}).outputs == {}
