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
    hidden = {key: value for key, value in recorded.items() if value.encrypted}
    if not swaps or not hidden:
        return recorded
    plain = decrypted(hidden)

    def swapped(raw: Any, said: Any) -> Any:  # noqa: ANN401 - any JSON value
        if isinstance(raw, dict) and list(raw) == [SECURE]:
            kept = swapped_setting(said, swaps)
            return raw if kept == said else {SECURE: encrypted(str(kept))}
        if isinstance(raw, dict) and isinstance(said, Mapping):
            return {key: swapped(inner, said.get(key)) for key, inner in raw.items()}
        if isinstance(raw, list) and isinstance(said, list) and len(raw) == len(said):
            return [swapped(inner, it) for inner, it in zip(raw, said, strict=True)]
        return raw

    return {
        **recorded,
        **{key: replace(it, value=swapped(it.value, plain.get(key))) for key, it in hidden.items()},
    }
