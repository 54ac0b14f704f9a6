"""Reading recorded states."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.signatures import SECRET, SIGNATURE, is_secret, opened
from aegis_deploy.pulumi_cli.cli_errors import Finished
from aegis_deploy.stack.checkpoint import parse, plain
from aegis_deploy.stack.decryption import decrypted
from aegis_deploy.stack.passphrase_cipher import PassphraseCipher
from tests.unit.aegis_deploy.states import CONFIG_KIND, made, secret, state, thing


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


class TestDecrypting:
    """What the CLI is asked for, with a stand-in for it that makes upper case of a ciphertext."""

    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """The states that were exported."""
        states: list[dict[str, Any]] = []

        def export(_: object, ending: str, content: bytes) -> Finished:
            assert ending == ".json"
            latest = json.loads(content)["checkpoint"]["latest"]
            states.append(json.loads(json.dumps(latest)))
            outputs = latest["resources"][0]["outputs"]
            for value in outputs.values():
                value["plaintext"] = json.dumps(value.pop("ciphertext").upper())
            return Finished(0, json.dumps({"deployment": latest}), "")

        monkeypatch.setattr("aegis_deploy.stack.decryption.exported", export)
        return states

    def test_asks_once_for_all_that_have_one_key(self, asked: list[dict[str, Any]]) -> None:
        first = _encrypted("salt", {"a": "one", "b": ["two", {"c": "one"}]})
        second = _encrypted("salt", {"a": "two", "d": "three"})
        found = decrypted(_SESSION, first, second, what="it")
        assert [parse(it).resources[0].inputs for it in found] == [
            {"a": _shown("ONE"), "b": [_shown("TWO"), {"c": _shown("ONE")}]},
            {"a": _shown("TWO"), "d": _shown("THREE")},
        ]
        [state] = asked
        assert state["secrets_providers"] == first["secrets_providers"]
        assert len(state["resources"][0]["outputs"]) == 3

    def test_asks_for_each_key_by_itself(self, asked: list[dict[str, Any]]) -> None:
        states = [_encrypted(salt, {"a": "one"}) for salt in ("salt", "pepper")]
        found = decrypted(_SESSION, *states, what="it")
        assert [it["secrets_providers"] for it in asked] == [
            it["secrets_providers"] for it in states
        ]
        assert all(parse(it).resources[0].inputs == {"a": _shown("ONE")} for it in found)

    def test_asks_nothing_where_there_are_no_secrets(self, asked: list[dict[str, Any]]) -> None:
        bare = state(thing(CONFIG_KIND, "a", {"data": {"key": "value"}}))
        assert parse(decrypted(_SESSION, bare, {}, what="it")[0]) == parse(bare)
        assert asked == []

    def test_knows_the_passphrases_and_what_secrets_hold_further_ones(
        self, asked: list[dict[str, Any]]
    ) -> None:
        cipher = PassphraseCipher(bytes(32))
        inner = {SIGNATURE: SECRET, "ciphertext": '"deep"'}
        texts = ['"flat"', json.dumps({"in": [inner]}), json.dumps([inner, f"{SIGNATURE}?"])]
        closed = _encrypted("salt", {str(at): cipher.encrypted(it) for at, it in enumerate(texts)})
        session: Any = SimpleNamespace(cipher=lambda *_, **__: cipher)
        read = parse(decrypted(session, closed, what="it")[0])
        assert [opened(it) for it in read.resources[0].inputs.values()] == [
            "flat",
            {"in": ["deep"]},
            ["deep", f"{SIGNATURE}?"],
        ]
        assert read.resources[0].inputs["1"]["value"] == {"in": [_shown("deep")]}
        assert asked == []

    def test_asks_where_the_key_is_another(self, asked: list[dict[str, Any]]) -> None:
        session: Any = SimpleNamespace(
            name="s", project="p", cipher=lambda *_, **__: PassphraseCipher(bytes(32))
        )
        decrypted(session, _encrypted("salt", {"a": "one"}), what="it")
        assert len(asked) == 1

    def test_says_what_could_not_be_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        wrong = Finished(255, "", "error: incorrect passphrase")
        monkeypatch.setattr("aegis_deploy.stack.decryption.exported", lambda *_: wrong)
        with pytest.raises(AegisError, match="cannot be decrypted with this passphrase"):
            decrypted(_SESSION, _encrypted("salt", {"a": "one"}), what="it")


_SESSION: Any = SimpleNamespace(name="s", project="p", cipher=lambda *_, **__: None)


def _encrypted(salt: str, inputs: Any) -> dict[str, Any]:
    """A state whose texts are ciphertexts."""

    def closed(value: Any) -> Any:
        if isinstance(value, str):
            return {SIGNATURE: SECRET, "ciphertext": value}
        if isinstance(value, list):
            return [closed(inner) for inner in value]
        return {key: closed(inner) for key, inner in value.items()}

    provider = {"type": "passphrase", "state": {"salt": salt}}
    resource = {"urn": "urn:pulumi:s::p::k::n", "type": "k", "inputs": closed(inputs)}
    return {"secrets_providers": provider, "resources": [resource]}


def _shown(text: str) -> dict[str, str]:
    return {SIGNATURE: SECRET, "value": text}
