"""Decrypting recorded states.

What a passphrase opens is opened here (:mod:`passphrase_cipher`). For all else the CLI does it,
asked once for all of their secrets: every ciphertext of the states is put into the outputs of one
stack in a scratch backend, and exported from there with the key that the states name. What lies on
the disk meanwhile is as encrypted as it was; what is decrypted goes through a pipe. A state of
before the passphrase was changed is opened by one of those of before, when they are given.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aegis_deploy.common import temp_dir
from aegis_deploy.model.signatures import SECRET, SIGNATURE, is_secret
from aegis_deploy.pulumi_cli.cli_errors import Finished, explain
from aegis_deploy.stack.passphrase_cipher import UnreadableError
from aegis_deploy.stack.passphrases import with_any_passphrase
from aegis_deploy.stack.temp_config import encryption_of

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session

_STACK = "pulumi:pulumi:Stack"
PROVIDER = "secrets_providers"
"""Where a state says how it is encrypted."""


def decrypted(
    session: Session, *deployments: Mapping[str, Any], what: str
) -> list[Mapping[str, Any]]:
    """Decrypt states, all that have the same key at once: making it takes most of the time.

    Args:
        session: The stack they are of.
        deployments: The states.
        what: What cannot be read when it fails, for causes that are not known.

    Raises:
        AegisError: The passphrase is another, or the key cannot be used.
    """
    closed: dict[str, dict[str, None]] = {}
    for deployment in deployments:
        found = closed.setdefault(_key(deployment), {})
        found.update(dict.fromkeys(_ciphertexts(deployment.get("resources"))))
    opened = {
        key: _ask(session, json.loads(key) or {}, list(found), what) if found else {}
        for key, found in closed.items()
    }
    return [
        {**it, "resources": _filled(it.get("resources") or [], opened[_key(it)].__getitem__)}
        for it in deployments
    ]


def exported(session: Session, ending: str, content: bytes) -> Finished:
    """Have the CLI export a state with its secrets decrypted, from a scratch backend.

    Args:
        session: The stack that it is of.
        ending: How its file's name ends: ``.json``, ``.json.gz`` or ``.json.zst``.
        content: The file's content.
    """
    # Made readable for its owner alone, and removed with all that is in it.
    with temp_dir.temporary() as root:
        stacks = root / "backend" / ".pulumi" / "stacks" / session.project
        stacks.mkdir(parents=True)
        (root / "backend" / ".pulumi" / "meta.yaml").write_text("version: 1\n")
        (stacks / f"{session.name}{ending}").write_bytes(content)
        arguments = [
            *("stack", "export", "--show-secrets"),
            *("--stack", f"organization/{session.project}/{session.name}"),
        ]
        environment = {
            "PULUMI_BACKEND_URL": f"file://{root / 'backend'}",
            # A checkpoint that was cut short is to be seen, not to be repaired.
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
            **_passphrase_file(session),
        }
        return with_any_passphrase(
            session.environment,
            lambda more: session.engine.run(
                arguments, environment={**environment, **more}, directory=root
            ),
        )


def _key(deployment: Mapping[str, Any]) -> str:
    return json.dumps(deployment.get(PROVIDER), sort_keys=True)


def _ciphertexts(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        if is_secret(value) and isinstance(value.get("ciphertext"), str):
            yield value["ciphertext"]
            return
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _ciphertexts(inner)


def _filled(value: Any, plain: Callable[[str], str]) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        if is_secret(value) and isinstance(value.get("ciphertext"), str):
            return {SIGNATURE: SECRET, "plaintext": plain(value["ciphertext"])}
        return {key: _filled(inner, plain) for key, inner in value.items()}
    return [_filled(inner, plain) for inner in value] if isinstance(value, list) else value


def _ask(
    session: Session, provider: Mapping[str, Any], ciphertexts: Sequence[str], what: str
) -> Mapping[str, str]:
    """Return plaintexts: where a passphrase opens them at once, else from the CLI.

    It is asked for them as the outputs of a stack.
    """
    cipher = session.cipher(encryption_of(provider), former=True)
    if cipher is not None:
        with suppress(UnreadableError):
            return {it: _told(cipher.decrypted(it)) for it in ciphertexts}
    root = {
        "urn": f"urn:pulumi:{session.name}::{session.project}::{_STACK}::"
        f"{session.project}-{session.name}",
        "custom": False,
        "type": _STACK,
        "outputs": {
            f"at{place}": {SIGNATURE: SECRET, "ciphertext": ciphertext}
            for place, ciphertext in enumerate(ciphertexts)
        },
    }
    latest = {"manifest": {}, PROVIDER: provider, "resources": [root]}
    state = {"version": 3, "checkpoint": {"latest": latest}}
    done = exported(session, ".json", json.dumps(state).encode())
    if done.code:
        raise explain(done, what)
    outputs = json.loads(done.stdout)["deployment"]["resources"][0]["outputs"]
    return {
        ciphertext: str(outputs[f"at{place}"]["plaintext"])
        for place, ciphertext in enumerate(ciphertexts)
    }


def _told(plain: str) -> str:
    """What is in a secret, secrets in it told as the CLI does.

    What they hold is encrypted with all that is around it, so that it is no more once that is open.
    """
    return json.dumps(_filled(json.loads(plain), _told)) if SIGNATURE in plain else plain


def _passphrase_file(session: Session) -> Mapping[str, str]:
    """The file with the passphrase, named so that it is found from everywhere."""
    named = session.environment.get("PULUMI_CONFIG_PASSPHRASE_FILE")
    return {"PULUMI_CONFIG_PASSPHRASE_FILE": str(session.directory / named)} if named else {}
