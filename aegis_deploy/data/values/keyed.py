"""What a mask rests on: digests and permutations that only the key tells. Pure.

Each use has a key of its own, derived by HMAC-SHA256; digests are keyed BLAKE2b (RFC 7693). A
permutation is a Feistel network over two unequal halves whose product is hardly more than the
domain, walked until it is back inside (Black and Rogaway, "Ciphers with Arbitrary Finite Domains",
2002): a bijection whatever the key, so what was unique stays unique by construction.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b32encode
from collections.abc import Callable
from math import isqrt

from aegis_deploy.common.errors import AegisError

LEAST_KEY = 32
"""The bytes that a key has to have."""
UNIQUE_LETTERS = 16
"""The letters of a digest that tell values apart: 80 bits. Of 100 million values two become the
same with a probability of 4 in a billion."""
BITS_OF_LETTER = 5
_ROUNDS = 8
"""NIST SP 800-38G has 8 for FF3, over halves like these."""
_MORE_BITS = 64
"""So many bits more than a half needs are taken, or small results would come more often."""


def require_key(key: bytes) -> bytes:
    """Return a key that is long enough.

    Args:
        key: The key.

    Raises:
        AegisError: It is shorter than 32 bytes: it could be found by trying.
    """
    if len(key) < LEAST_KEY:
        raise AegisError(
            what="the key is too short",
            why=f"it has {len(key)} bytes; masks need at least {LEAST_KEY}, or values could be "
            "found by trying",
            next="make one, keep it secret, and keep it: openssl rand -hex 32",
        )
    return key


def key_id(key: bytes) -> str:
    """Return what tells one key from another and nothing else of it.

    Args:
        key: The key.
    """
    return derived(key, "id").hex()[:16]


def derived(key: bytes, *uses: str) -> bytes:
    """Return the key of one use.

    Args:
        key: The key of all.
        uses: What it is for; the parts are told apart.
    """
    told = b"".join(len(it := use.encode()).to_bytes(4, "big") + it for use in uses)
    return hmac.digest(key, b"aegis data 1" + told, "sha256")


class Digest:
    """A keyed digest of texts."""

    def __init__(self, key: bytes) -> None:
        self._made = hashlib.blake2b(key=key, digest_size=32)

    def of(self, value: str) -> bytes:
        """Return a text's digest, 32 bytes.

        Args:
            value: The text.
        """
        made = self._made.copy()
        made.update(value.encode())
        return made.digest()

    def letters(self, value: str, count: int) -> str:
        """Return a text's digest in small letters and digits, five bits each.

        Args:
            value: The text.
            count: How many of them, at most 48.
        """
        return (
            b32encode(self.of(value)[: (count * BITS_OF_LETTER + 7) // 8 + 1])
            .decode()[:count]
            .lower()
        )

    def below(self, value: str, limit: int) -> int:
        """Return a number from 0 below a limit that follows from a text.

        Args:
            value: The text.
            limit: The limit, below 2**64.
        """
        return int.from_bytes(self.of(value)[:16], "big") % limit


class Permutation:
    """A keyed bijection of the numbers below a size.

    Attributes:
        size: How many numbers.
    """

    def __init__(self, key: bytes, size: int) -> None:
        self.size = size
        self._left = isqrt(size - 1) + 1 if size > 1 else 1
        self._right = -(-size // self._left)
        bits = max(self._left, self._right).bit_length()
        self._bytes = (bits + _MORE_BITS + 7) // 8
        self._width = (bits + 7) // 8
        keys = [derived(key, "round", str(size), str(it)) for it in range(_ROUNDS)]
        # BLAKE2b is many times faster, and gives 64 bytes at most.
        self._rounds: list[Callable[[bytes], int]] = [
            self._short(it) if self._bytes <= hashlib.blake2b.MAX_DIGEST_SIZE else self._long(it)
            for it in keys
        ]

    def _short(self, key: bytes) -> Callable[[bytes], int]:
        keyed = hashlib.blake2b(key=key, digest_size=self._bytes)

        def mix(half: bytes) -> int:
            made = keyed.copy()
            made.update(half)
            return int.from_bytes(made.digest(), "big")

        return mix

    def _long(self, key: bytes) -> Callable[[bytes], int]:
        count = self._bytes
        return lambda half: int.from_bytes(hashlib.shake_256(key + half).digest(count), "big")

    def of(self, number: int) -> int:
        """Return what a number becomes.

        Args:
            number: The number, from 0 below the size.
        """
        if self.size == 1:
            return number
        while True:
            number = self._once(number)
            if number < self.size:
                return number

    def _once(self, number: int) -> int:
        right, left = divmod(number, self._left)
        for index, mix in enumerate(self._rounds):
            if index % 2:
                right = (right + mix(left.to_bytes(self._width, "big"))) % self._right
            else:
                left = (left + mix(right.to_bytes(self._width, "big"))) % self._left
        return right * self._left + left
