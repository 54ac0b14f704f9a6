"""Secrets of a stack that has a passphrase, opened and closed in this very process.

The CLI makes the key anew in each of its runs, by a million rounds of PBKDF2: most of what such a
run costs. Here it is made once. The form is the CLI's first and only one, `v1`
(`sdk/go/common/resource/config/crypt.go` and `pkg/secrets/passphrase` of pulumi/pulumi):
AES-256-GCM, nonce and text in base64; a salt comes with a text by which the passphrase is known to
be the right one. Whatever is not of that form is the CLI's to read.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

_VARIABLE = "PULUMI_CONFIG_PASSPHRASE"
_FILE = f"{_VARIABLE}_FILE"
_VERSION = "v1"
_PROOF = "pulumi"
"""What a salt's own text says."""
_ROUNDS = 1_000_000
_KEY_BYTES = 32
_NONCE_BYTES = 12
_deriving = Lock()


class UnreadableError(Exception):
    """A ciphertext that this key does not open, or that has another form."""


@dataclass(frozen=True)
class PassphraseCipher:
    """Opens and closes what one passphrase and salt encrypt.

    Attributes:
        key: The key, 32 bytes.
    """

    key: bytes = field(repr=False)

    def decrypted(self, ciphertext: str) -> str:
        """Decrypt a text.

        Args:
            ciphertext: As the CLI writes it: ``v1:<nonce>:<text>``.

        Raises:
            UnreadableError: It has another form, was damaged, or has another key.
        """
        # Only whoever has something to open waits for OpenSSL to be loaded.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        version, _, rest = ciphertext.partition(":")
        nonce, _, text = rest.partition(":")
        if version != _VERSION:
            raise UnreadableError(version)
        try:
            opened = AESGCM(self.key).decrypt(b64decode(nonce), b64decode(text), None)
            return opened.decode()
        except (InvalidTag, ValueError) as error:
            raise UnreadableError(type(error).__name__) from error

    def encrypted(self, text: str) -> str:
        """Encrypt a text, each time to another ciphertext.

        Args:
            text: The text.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(_NONCE_BYTES)
        closed = AESGCM(self.key).encrypt(nonce, text.encode(), None)
        return f"{_VERSION}:{b64encode(nonce).decode()}:{b64encode(closed).decode()}"


def present_passphrase(environment: Mapping[str, str], directory: Path) -> str | None:
    """Return the passphrase that the CLI would use; None: it has none.

    Args:
        environment: Where it is given, or the file that it is in is named.
        directory: Where the CLI runs.
    """
    if _VARIABLE in environment:
        return environment[_VARIABLE]
    if named := environment.get(_FILE):
        with suppress(OSError, UnicodeError):
            return (directory / named).read_text().strip()
    return None


def cipher_of(salt: object, phrases: Iterable[str]) -> PassphraseCipher | None:
    """Return the cipher of a salt.

    Args:
        salt: What a stack's settings have as `encryptionsalt`, and a state as its salt.
        phrases: The passphrases to try, in order.

    Returns:
        None where the salt has another form or none of the passphrases is the one.
    """
    version, _, rest = str(salt).partition(":")
    given, _, proof = rest.partition(":")
    if version != _VERSION:
        return None
    for phrase in phrases:
        with suppress(ValueError, UnreadableError):
            with _deriving:  # Who needs the same key meanwhile finds it made.
                key = _key(phrase, b64decode(given))
            cipher = PassphraseCipher(key)
            if cipher.decrypted(proof) == _PROOF:
                return cipher
    return None


@lru_cache(maxsize=16)
def _key(phrase: str, salt: bytes) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    return PBKDF2HMAC(SHA256(), _KEY_BYTES, salt, _ROUNDS).derive(phrase.encode())
