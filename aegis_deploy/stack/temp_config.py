"""Settings as a file for one command of the CLI, secrets encrypted as the stack has them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import yaml

from aegis_deploy.common import temp_dir
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.release import SECURE, ConfigValue
from aegis_deploy.pulumi_cli.cli_errors import explain
from aegis_deploy.pulumi_cli.engine import Engine
from aegis_deploy.pulumi_cli.project import qualified, read_yaml
from aegis_deploy.stack.passphrase_cipher import PassphraseCipher


class Encrypting(Protocol):
    """What of an open stack (`stack.session.Session`) is needed to encrypt as it does."""

    name: str
    project: str
    reference: str
    engine: Engine

    @property
    def config_file(self) -> Path:
        """The stack's own settings."""

    def export(self) -> dict[str, Any]:
        """Its state."""

    def cipher(
        self, encryption: Mapping[str, Any], *, former: bool = False
    ) -> PassphraseCipher | None:
        """What opens and closes its secrets in this process; None: only the CLI can."""


@contextmanager
def temporary(
    session: Encrypting,
    config: Mapping[str, ConfigValue] | None,
    overrides: Mapping[str, str] | None = None,
    encryption: Mapping[str, Any] | None = None,
) -> Iterator[str | None]:
    """Write a config file with some settings and the stack's way to encrypt; it goes afterwards.

    Args:
        session: The stack.
        config: The settings; None means the stack's own file, for which nothing is written unless
            something is overridden.
        overrides: Settings in place of the ones in the stack's own file, by their full names.
        encryption: How the settings are encrypted; None means as the stack does now.

    Yields:
        The file's path; None for the stack's own.

    Raises:
        AegisError: A secret among them was never read, or cannot be encrypted.
    """
    if config is None and not overrides:
        yield None
        return
    with temp_dir.temporary() as directory:
        path = directory / f"Pulumi.{session.name}.yaml"
        if config is None:
            path.write_text(yaml.safe_dump(_overridden(session, overrides or {})))
            yield str(path)
            return
        content = encryption_now(session) if encryption is None else dict(encryption)
        content["config"] = {
            key: value.value for key, value in config.items() if value.encrypted or not value.secret
        }
        plain = {key: v for key, v in config.items() if v.secret and not v.encrypted}
        for key, value in plain.items():
            if value.value is None:
                raise AegisError(
                    what=f"the setting {key} is a secret that was not read",
                    why="a history read without its secrets cannot be deployed from",
                )
        cipher = session.cipher(content) if plain else None
        if cipher is not None:
            content["config"] |= {
                key: {SECURE: cipher.encrypted(_text(value))} for key, value in plain.items()
            }
        path.write_text(yaml.safe_dump(content))
        if cipher is None:
            for key, value in plain.items():
                _encrypt(session, path, key, value)
        yield str(path)


def _overridden(session: Encrypting, overrides: Mapping[str, str]) -> dict[str, Any]:
    """The content of the stack's own file, but for some settings."""
    content = {**encryption_now(session), **read_yaml(session.config_file)}
    own = {
        name: value
        for name, value in (content.get("config") or {}).items()
        if qualified(name, session.project) not in overrides
    }
    return {**content, "config": {**own, **overrides}}


def _encrypt(session: Encrypting, path: Path, key: str, value: ConfigValue) -> None:
    """Add one secret to a config file, encrypted. It is not put on a command line."""
    arguments = ["config", "set", "--secret", "--stack", session.reference]
    done = session.engine.run([*arguments, "--config-file", str(path), key], feed=_text(value))
    if done.code:
        raise explain(done, f"{key} could not be encrypted")


def _text(value: ConfigValue) -> str:
    return value.value if isinstance(value.value, str) else json.dumps(value.value)


def encryption_now(session: Encrypting) -> dict[str, Any]:
    """How the stack encrypts, from its config file or, failing that, from its state."""
    found = encryption_of_file(session.config_file)
    return found or encryption_of(session.export()["deployment"].get("secrets_providers") or {})


def encryption_of_file(path: Path) -> dict[str, Any]:
    """Return what a config file says of how it is encrypted; empty where it says nothing."""
    names = ("secretsprovider", "encryptedkey", "encryptionsalt", "environment")
    content = read_yaml(path) if path.exists() else {}
    return {name: content[name] for name in names if name in content}


def encryption_of(provider: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config file says of how it is encrypted, given what a state says."""
    state = provider.get("state") or {}
    if provider.get("type") == "passphrase":
        return {"encryptionsalt": state["salt"]}
    if provider.get("type") == "cloud":
        return {"secretsprovider": state["url"], "encryptedkey": state["encryptedkey"]}
    return {}
