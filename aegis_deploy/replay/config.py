"""The settings a rollback records: the release's, but for what stays as it is now.

Those are the secrets that are kept, and how providers connect. Without that the history, and
`aegis config restore` after it, would bring back the very value that was to be kept out; and the
engine's own providers, which connect as the settings say, would connect as they did then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aegis_deploy.model.release import SECURE, Config, ConfigValue
from aegis_deploy.replay.providers import connects, package
from aegis_deploy.replay.secrets import swapped_setting
from aegis_deploy.stack import temp_config

if TYPE_CHECKING:
    from aegis_deploy.replay.model import Replay
    from aegis_deploy.stack.session import Session


def completed(planned: Replay, recorded: Config, session: Session) -> Replay:
    """Give a replay the settings that its update records.

    Args:
        planned: The replay.
        recorded: The release's settings, as its history has them.
        session: The stack, whose settings are those of now.

    Raises:
        AegisError: A secret of the release's cannot be decrypted.
    """
    config = recorded
    if planned.encryption:
        former = temp_config.encryption_of(planned.encryption)
        config = encrypted_anew(config, lambda it: session.decrypted(it, former), session.encrypted)
    config = kept_settings(config, planned.swaps, session.decrypted, session.encrypted)
    if planned.connections is None:
        return replace(planned, settings=config)
    packages = {package(it) for it in planned.providers.values()}
    made = connected_settings(config, session.settings(), packages, planned.connections.moves)
    names = sorted(key for key in {*made, *config} if made.get(key) != config.get(key))
    connections = replace(planned.connections, engines=tuple(names))
    return replace(planned, settings=made, connections=connections)


def connected_settings(
    recorded: Config,
    present: Config,
    packages: Collection[str],
    moves: Sequence[tuple[Any, Any]],
) -> Config:
    """Have a release's settings connect providers as the settings of now do.

    Args:
        recorded: The release's settings.
        present: The settings of now.
        packages: Those whose provider the engine makes by itself, of the settings of its name.
        moves: Values that say how a provider connects, no secrets: of the release, and of now.
    """
    made = {key: it for key, it in recorded.items() if not _of_engine(key, it, packages)}
    ours = {key: it for key, it in present.items() if _of_engine(key, it, packages)}
    for key, it in made.items():
        now = present.get(key)
        if now is not None and (it.value, now.value) in moves:
            made[key] = now
    return {**made, **ours}


def _of_engine(key: str, setting: ConfigValue, packages: Collection[str]) -> bool:
    of, _, name = key.partition(":")
    return of in packages and connects(of, name, secret=setting.secret)


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
