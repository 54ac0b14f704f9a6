"""A recorded state: what a release deployed, resource by resource, its secrets decrypted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aegis_deploy.backend.history_files import FAULTS, are_legible, fault_of, unpack
from aegis_deploy.common.errors import AegisError
from aegis_deploy.model.signatures import SECRET, SIGNATURE, content, is_secret
from aegis_deploy.stack import decryption
from aegis_deploy.stack.renames import called_as_now
from aegis_deploy.stack.temp_config import encryption_of

if TYPE_CHECKING:
    from aegis_deploy.backend.protocol import Recorded
    from aegis_deploy.model.release import Release
    from aegis_deploy.stack.session import Session

STACK = "pulumi:pulumi:Stack"
UNMADE = "pendingReplacement"
"""The mark of a record whose object was deleted for a replacement that is yet to be made."""
RETAINED = "retainOnDelete"
"""The option that leaves an object where it is when its resource goes."""
_PROVIDERS = "pulumi:providers:"


@dataclass(frozen=True)
class Resource:
    """A resource as a checkpoint records it.

    Attributes:
        urn: Its URN.
        type: Its type token.
        custom: Whether a provider manages it; a component otherwise.
        id: What its provider calls it.
        inputs: Its inputs, secrets in the envelope: ``{SIGNATURE: SECRET, "value": ...}``.
        outputs: Its outputs, likewise.
        parent: Its parent's URN.
        provider: Its provider's reference, ``URN::ID``.
        dependencies: The URNs it depends on.
        delete: Whether it was replaced and only waits to be deleted.
        options: Everything else recorded about it, under its recorded name.
    """

    urn: str
    type: str
    custom: bool
    id: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    outputs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    parent: str = ""
    provider: str = ""
    dependencies: tuple[str, ...] = ()
    delete: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.split("::", 3)[3]

    @property
    def label(self) -> str:
        """What a person calls it: ``Deployment api``, by the object's own name where it has one."""
        return f"{self.type.rpartition(':')[2]} {self.object_name or self.name}"

    @property
    def object_name(self) -> str:
        """The object's name in the cluster, where it is an object with a name."""
        metadata = plain(self.inputs.get("metadata"))
        name = plain(metadata.get("name")) if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else ""

    @property
    def aliases(self) -> tuple[str, ...]:
        """The URNs it had before."""
        return tuple(self.options.get("aliases") or ())

    @property
    def protected(self) -> bool:
        """Whether it must not be deleted."""
        return bool(self.options.get("protect"))

    @property
    def retained(self) -> bool:
        """Whether its object is left where it is when the resource goes."""
        return bool(self.options.get(RETAINED))

    @property
    def is_provider(self) -> bool:
        """Whether it is a provider."""
        return self.type.startswith(_PROVIDERS)

    @property
    def is_default_provider(self) -> bool:
        """Whether it is a provider that the engine makes by itself; a program's has a parent."""
        return self.is_provider and self.name.startswith("default") and not self.parent

    @property
    def external(self) -> bool:
        """Whether it is only read, not managed."""
        return bool(self.options.get("external"))

    @property
    def alive(self) -> bool:
        """Whether it is part of what is deployed, rather than what is left to be cleaned up."""
        return not self.delete and not self.unmade

    @property
    def unmade(self) -> bool:
        """Whether its object was deleted for a replacement that is yet to be made."""
        return bool(self.options.get(UNMADE))

    @property
    def provider_urn(self) -> str:
        """The URN in its provider's reference."""
        return self.provider.rpartition("::")[0]


@dataclass(frozen=True)
class Checkpoint:
    """A state with its secrets decrypted: not to be printed or written.

    Attributes:
        resources: In the order of the state: what a resource depends on comes before it.
        pending: How many operations were begun and never recorded as ended.
        encryption: How its secrets were encrypted, as the state says it; empty where it does not.
    """

    resources: tuple[Resource, ...] = field(repr=False)
    pending: int = 0
    encryption: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def alive(self) -> Mapping[str, Resource]:
        """What is deployed, by URN."""
        return {item.urn: item for item in self.resources if item.alive}

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs."""
        root = [item for item in self.resources if item.type == STACK]
        return root[0].outputs if root else {}


def plain(value: Any) -> Any:  # noqa: ANN401 - any property value
    """What is inside a secret's envelope; anything else as it is."""
    return value["value"] if is_secret(value) else value


def parse(deployment: Mapping[str, Any]) -> Checkpoint:
    """Read a deployment as ``pulumi stack export --show-secrets`` prints it.

    Raises:
        AegisError: A secret in it is still encrypted.
    """
    return Checkpoint(
        resources=tuple(_resource(item) for item in deployment.get("resources") or ()),
        pending=len(deployment.get("pending_operations") or ()),
        encryption=deployment.get("secrets_providers") or {},
    )


def outline(raw: Mapping[str, Any]) -> Resource:
    """Read a resource of a state whose secrets are encrypted; what is encrypted is left out."""
    return _resource({key: _legible(value) for key, value in raw.items()})


def _legible(value: Any) -> Any:  # noqa: ANN401 - any property value
    if isinstance(value, Mapping):
        return {key: _legible(inner) for key, inner in value.items() if not is_secret(inner)}
    if isinstance(value, list):
        return [_legible(inner) for inner in value if not is_secret(inner)]
    return value


class _DamagedError(Exception):
    """A checkpoint's file that cannot be read; the text says why."""


def record(item: Resource) -> dict[str, Any]:
    """A resource as a state records it, its secrets in plain text: for `Session.import_state`."""
    raw: dict[str, Any] = {
        "urn": item.urn,
        "custom": item.custom,
        "id": item.id,
        "type": item.type,
        "inputs": _recorded(item.inputs),
        "outputs": _recorded(item.outputs),
        "parent": item.parent,
        "dependencies": list(item.dependencies),
        "provider": item.provider,
        **{key: _recorded(value) for key, value in item.options.items()},
    }
    return {key: value for key, value in raw.items() if value not in ("", [], {})}


def load(session: Session, release: Release) -> Checkpoint:
    """Load what a release deployed.

    Args:
        session: The stack.
        release: One of its releases.

    Raises:
        AegisError: The backend keeps no checkpoint of it, or it cannot be decrypted.
    """
    recorded = session.store.recorded(release)
    if recorded is None:
        return _exported(session, release)
    latest = _read(session, release, recorded)
    if latest is None:
        done = decryption.exported(session, recorded.ending, recorded.content)
        if done.code:
            from aegis_deploy.pulumi_cli.cli_errors import explain

            raise explain(done, _unread(recorded))
        return parse(_now(session, json.loads(done.stdout)["deployment"]))
    return parse(decryption.decrypted(session, latest, what=_unread(recorded))[0])


def fault(session: Session, release: Release) -> AegisError | None:
    """Say why what a release deployed could not be read when it had to be; None when it could.

    Quick where it is encrypted as the stack is, whose state is read in any case.

    Args:
        session: The stack.
        release: One of its releases.
    """
    try:
        kept = session.store.checkpoint(release)
        now = session.export()["deployment"].get(decryption.PROVIDER)
        if kept is None or kept.get(decryption.PROVIDER) != now:
            load(session, release)
    except AegisError as error:
        return error
    return None


def both(session: Session, release: Release) -> tuple[Checkpoint, Checkpoint]:
    """Load what a release deployed and the state as it is now.

    Raises:
        AegisError: As `load` and `current` do.
    """
    recorded, state = session.store.recorded(release), session.store.state()
    latest = None if recorded is None else _read(session, release, recorded)
    if recorded is not None and latest is not None and state is not None:
        now = state["deployment"]
        found = decryption.decrypted(session, latest, now, what=_unread(recorded))
        return parse(found[0]), parse(found[1])
    # What only the CLI can read takes a run of it each, on a core of its own.
    with ThreadPoolExecutor(max_workers=1) as other:
        coming = other.submit(current, session)
        return load(session, release), coming.result()


def current(session: Session) -> Checkpoint:
    """Load the stack's state as it is now.

    Raises:
        AegisError: It cannot be read or decrypted.
    """
    found = without_cli(session, session.export()["deployment"])
    return parse(session.export(show_secrets=True)["deployment"]) if found is None else found


def without_cli(session: Session, deployment: Mapping[str, Any]) -> Checkpoint | None:
    """Read the stack's state as it was exported; None where only the CLI can open its secrets.

    Args:
        session: The stack.
        deployment: What the state deploys, its secrets encrypted.

    Raises:
        AegisError: It cannot be decrypted.
    """
    if not _has_secrets(json.dumps(deployment)):
        return parse(deployment)
    encryption = encryption_of(deployment.get(decryption.PROVIDER) or {})
    if session.cipher(encryption, former=True) is None:
        return None
    what = f"the state of {session.name} cannot be read"
    return parse(decryption.decrypted(session, deployment, what=what)[0])


def _exported(session: Session, release: Release) -> Checkpoint:
    """A checkpoint that the backend keeps to itself, and the CLI may ask it for."""
    encrypted = session.store.checkpoint(release)
    if encrypted is None and not session.backend_url.startswith("http"):
        raise AegisError(
            what=f"there is no checkpoint of release {release.number} of {session.name}",
            why=f"its file is gone from {session.backend_url}, where its record still is",
            next="choose another release: aegis history, then aegis rollback --to N",
        )
    if encrypted is None:
        raise AegisError(
            what=f"there is no checkpoint of release {release.number} of {session.name}",
            why=f"{session.backend_url} does not hand out what it recorded",
            next="choose another release: aegis history, then aegis rollback --to N",
        )
    if not _has_secrets(json.dumps(encrypted)):
        return parse(_now(session, encrypted))
    version = [] if release.current else ["--version", str(release.number)]
    exported = session.engine.expect_json(
        "stack", "export", "--show-secrets", "--stack", session.reference, *version
    )
    return parse(_now(session, exported["deployment"]))


def _read(session: Session, release: Release, recorded: Recorded) -> Mapping[str, Any] | None:
    """A checkpoint as it is kept, its secrets encrypted; None where only the CLI can unpack it."""
    if not are_legible([recorded.ending]):
        return None
    try:
        return _now(session, _latest(recorded))
    except _DamagedError as damage:
        raise AegisError(
            what=f"the checkpoint of release {release.number} of {session.name} cannot be read",
            why=f"{recorded.place}: {damage}",
            next="choose another release: aegis history, then aegis rollback --to N",
        ) from damage


def _now(session: Session, deployment: Mapping[str, Any]) -> Mapping[str, Any]:
    return called_as_now(deployment, session.name, session.project)


def _unread(recorded: Recorded) -> str:
    return f"the checkpoint {recorded.place} cannot be read"


def _latest(recorded: Recorded) -> Mapping[str, Any]:
    try:
        latest = dict(unpack(recorded.content)["checkpoint"]["latest"] or {})
        for resource in latest.get("resources") or ():
            _ = resource["urn"], resource["type"]
    except FAULTS as error:
        raise _DamagedError(fault_of(error)) from error
    return latest


def _recorded(value: Any) -> Any:  # noqa: ANN401 - any property value
    """Turn the form that the engine is told secrets in into the state's."""
    if is_secret(value):
        return {SIGNATURE: SECRET, "plaintext": json.dumps(_recorded(value["value"]))}
    if isinstance(value, Mapping):
        return {key: _recorded(inner) for key, inner in value.items()}
    return [_recorded(inner) for inner in value] if isinstance(value, list) else value


def _has_secrets(text: str) -> bool:
    return f'"{SECRET}"' in text


def _resource(raw: Mapping[str, Any]) -> Resource:
    known = {"urn", "type", "custom", "id", "inputs", "outputs", "parent", "provider"}
    known |= {"dependencies", "delete"}
    return Resource(
        urn=raw["urn"],
        type=raw["type"],
        custom=bool(raw.get("custom")),
        id=raw.get("id") or "",
        inputs=_values(raw.get("inputs") or {}),
        outputs=_values(raw.get("outputs") or {}),
        parent=raw.get("parent") or "",
        provider=raw.get("provider") or "",
        dependencies=tuple(raw.get("dependencies") or ()),
        delete=bool(raw.get("delete")),
        options={
            key: _values(value)
            for key, value in raw.items()
            if key not in known and value is not None
        },
    )


def _values(raw: Any) -> Any:  # noqa: ANN401 - any property value
    """Turn the state's form of a secret into the one that the engine is told secrets in."""
    if isinstance(raw, dict):
        if is_secret(raw):
            if "plaintext" not in raw:
                raise AegisError(
                    what="a secret of the state is still encrypted",
                    why="it was exported without its secrets",
                )
            return {SIGNATURE: SECRET, "value": _values(content(raw))}
        return {key: _values(value) for key, value in raw.items()}
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        return [_values(item) for item in raw]
    return raw
