"""The settings a rollback records: the release's, but for the secrets that are kept.

Without that the history, and `aegis config restore` after it, would bring back the very value that
`--keep` was to keep out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ops.release import SECURE, ConfigValue
from ops.replay_secrets import swapped_setting

Config = Mapping[str, ConfigValue]


def kept_settings(
    recorded: Config,
    swaps: Sequence[tuple[Any, Any]],
    decrypted: Callable[[Config], Mapping[str, Any]],
    encrypted: Callable[[str], str],
) -> Config:
    """Put the values that are kept into a release's settings.

    Args:
        recorded: The release's settings, as its history has them.
        swaps: The values: what the release had, and what is current.
        decrypted: Decrypts the secret ones among some settings.
        encrypted: Encrypts a text as the stack does.
    """
    if not swaps:
        return recorded

    def kept(raw: Any, said: Any) -> Any:  # noqa: ANN401 - any JSON value
        now = swapped_setting(said, swaps)
        return raw if now == said else {SECURE: encrypted(str(now))}

    return _secrets_changed(recorded, decrypted, kept)


def encrypted_anew(
    recorded: Config,
    decrypted: Callable[[Config], Mapping[str, Any]],
    encrypted: Callable[[str], str],
) -> Config:
    """Encrypt a release's settings as the stack does now: its key was another one then.

    Args:
        recorded: The release's settings, as its history has them.
        decrypted: Decrypts the secret ones among some settings, with the key of then.
        encrypted: Encrypts a text as the stack does.
    """
    return _secrets_changed(recorded, decrypted, lambda _, said: {SECURE: encrypted(str(said))})


def _secrets_changed(
    recorded: Config,
    decrypted: Callable[[Config], Mapping[str, Any]],
    change: Callable[[Any, Any], Any],
) -> Config:
    """Change each ciphertext, given it and what is in it."""
    hidden = {key: value for key, value in recorded.items() if value.encrypted}
    if not hidden:
        return recorded
    plain = decrypted(hidden)

    def changed(raw: Any, said: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(raw, dict) and list(raw) == [SECURE]:
            return change(raw, said)
        if isinstance(raw, dict) and isinstance(said, Mapping):
            return {key: changed(inner, said.get(key)) for key, inner in raw.items()}
        if isinstance(raw, list) and isinstance(said, list) and len(raw) == len(said):
            return [changed(inner, it) for inner, it in zip(raw, said, strict=True)]
        return raw

    return {
        **recorded,
        **{key: replace(it, value=changed(it.value, plain.get(key))) for key, it in hidden.items()},
    }
