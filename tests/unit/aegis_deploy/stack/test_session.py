"""A session gets ready what takes a while, beside what comes first."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from aegis_deploy.stack import passphrase_cipher, temp_config
from aegis_deploy.stack.passphrase_cipher import PassphraseCipher, cipher_of
from aegis_deploy.stack.session import Session

KEY = b"k" * 32
SALT = f"v1:c2FsdA==:{PassphraseCipher(KEY).encrypted('pulumi')}"


class _Opened:
    """As much of a session as makes a key."""

    name = "s"

    def __init__(self, config_file: Path) -> None:
        self.config_file = config_file
        self.asked = threading.Event()

    def cipher(self, encryption: dict[str, Any]) -> PassphraseCipher | None:
        try:
            return cipher_of(encryption["encryptionsalt"], ["right"])
        finally:
            self.asked.set()


def test_a_key_is_made_once_beside_what_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[threading.Thread] = []

    def make(phrase: str, salt: bytes) -> bytes:
        assert (phrase, salt) == ("right", b"salt")
        made.append(threading.current_thread())
        return KEY

    monkeypatch.setattr(passphrase_cipher, "_key", make)
    config = tmp_path / "Pulumi.s.yaml"
    config.write_text(f"encryptionsalt: {SALT}\n")
    it = _Opened(config)
    Session.prepare_key(cast("Session", it))
    assert it.asked.wait(60)
    assert made[0] is not threading.current_thread()


def test_one_that_cannot_be_made_is_nobody_s_error_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = threading.Event()

    def fail(_: object) -> dict[str, Any]:
        looked.set()
        raise OSError("no such file")

    told: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    monkeypatch.setattr(temp_config, "encryption_of_file", fail)
    Session.prepare_key(cast("Session", _Opened(tmp_path)))
    assert looked.wait(60)
    for thread in threading.enumerate():
        if thread.name == "key":
            thread.join(60)
    assert told == []
