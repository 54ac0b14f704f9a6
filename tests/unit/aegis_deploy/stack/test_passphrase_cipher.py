"""Secrets under a passphrase: what the CLI wrote is read, and what is no such thing is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_deploy.stack.passphrase_cipher import (
    PassphraseCipher,
    UnreadableError,
    cipher_of,
    present_passphrase,
)

# Written by `pulumi config set --secret a b` of 3.259.0 with the passphrase `x`.
SALT = "v1:kG/Jo1zQ06I=:v1:XK+JRtYxVP+fZH+O:0YSK2kY4pzsMp7U93BDyAPgmGyYM8g=="
CLOSED = "v1:bcg8EzRl0mBv5Uo7:Q9qHaLNg+ST0iPN6QUhKWzg="


@pytest.fixture(scope="module")
def cipher() -> PassphraseCipher:
    found = cipher_of(SALT, ["x"])
    assert found is not None
    return found


def test_what_the_cli_wrote_is_read(cipher: PassphraseCipher) -> None:
    assert cipher.decrypted(CLOSED) == "b"


def test_one_of_several_passphrases_may_be_the_one(cipher: PassphraseCipher) -> None:
    assert cipher_of(SALT, ["", "wrong", "x"]) == cipher


@pytest.mark.parametrize("text", ["", "b", "비밀 \N{KEY}", "{" * 10_000])
def test_what_is_closed_opens_again_and_looks_different_each_time(
    cipher: PassphraseCipher, text: str
) -> None:
    closed, again = cipher.encrypted(text), cipher.encrypted(text)
    assert closed != again
    assert (cipher.decrypted(closed), cipher.decrypted(again)) == (text, text)


@pytest.mark.parametrize(
    "salt", ["", None, 1, "v2:kG/Jo1zQ06I=:v1:XK:0Y", "v1:", SALT[:-9], "v1:?:v1:a:b"]
)
def test_a_salt_of_another_form_has_no_cipher(salt: object) -> None:
    assert cipher_of(salt, ["x"]) is None


@pytest.mark.parametrize("phrases", [[], ["wrong"], [""]])
def test_nor_has_one_whose_passphrase_is_not_there(phrases: list[str]) -> None:
    assert cipher_of(SALT, phrases) is None


@pytest.mark.parametrize(
    "closed",
    [
        "",
        "v1",
        "v1:",
        "v2" + CLOSED[2:],
        CLOSED[:-4] + "AAA=",
        "v1:bcg8:Q9qH",
        "v1:a:b:c",
        "secret",
    ],
)
def test_what_was_damaged_is_not_read(cipher: PassphraseCipher, closed: str) -> None:
    with pytest.raises(UnreadableError):
        cipher.decrypted(closed)


def test_the_key_is_in_no_repr(cipher: PassphraseCipher) -> None:
    assert repr(cipher) == "PassphraseCipher()"


class TestThePresentOne:
    """Found as the CLI finds it."""

    def test_is_the_variables_also_when_empty(self, tmp_path: Path) -> None:
        (tmp_path / "phrase").write_text("y")
        given = {"PULUMI_CONFIG_PASSPHRASE_FILE": "phrase"}
        for phrase in ("", " x "):
            both = {**given, "PULUMI_CONFIG_PASSPHRASE": phrase}
            assert present_passphrase(both, tmp_path) == phrase

    def test_else_its_file_s_without_space_around_it(self, tmp_path: Path) -> None:
        (tmp_path / "phrase").write_text(" x y\n")
        for named in ("phrase", str(tmp_path / "phrase")):
            given = {"PULUMI_CONFIG_PASSPHRASE_FILE": named}
            assert present_passphrase(given, tmp_path) == "x y"

    @pytest.mark.parametrize("named", ["", "none", "."])
    def test_is_none_without_either(self, tmp_path: Path, named: str) -> None:
        assert present_passphrase({"PULUMI_CONFIG_PASSPHRASE_FILE": named}, tmp_path) is None
        assert present_passphrase({}, tmp_path) is None
