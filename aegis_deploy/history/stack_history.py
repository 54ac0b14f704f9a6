"""A stack's releases, with what the ledger says of them, and what each one deployed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from aegis_deploy.backend.factory import DIY
from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import verification_store
from aegis_deploy.history.annotate import marked
from aegis_deploy.history.lazy_releases import Reading
from aegis_deploy.model.database import dataset as datasets
from aegis_deploy.model.database import schema as schemas
from aegis_deploy.model.release import Deployed, Release
from aegis_deploy.model.workloads.pod_images import images_of
from aegis_deploy.model.workloads.workload_kinds import names_images

if TYPE_CHECKING:
    from aegis_deploy.model.events import Outcome
    from aegis_deploy.stack.session import Session

PUT = "aegis:put"
"""The tag that has the digest of a state that was put in the place of what the history has."""
_STACK = "pulumi:pulumi:Stack"
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")
_VERSION_LABEL = "app.kubernetes.io/version"


def releases(session: Session, *, limit: int | None = None) -> list[Release]:
    """The stack's releases, newest first.

    Args:
        session: The stack.
        limit: How many; only these are read, and what they repeat.
    """
    return _marked(session, verification_store.read(session), limit)


def reading(session: Session, tags: Mapping[str, str] | None = None) -> Sequence[Release]:
    """The stack's releases, newest first, each read when it is looked at.

    Going back needs the last few of thousands. A store that cannot say how many there are is read
    as a whole.

    Args:
        session: The stack.
        tags: Its tags; None where nobody has read them yet.
    """
    return _reading(session, verification_store.parse(session.tags() if tags is None else tags))


def _reading(session: Session, book: verification_store.Verifications) -> Sequence[Release]:
    count = session.store.count()
    if count is None:
        return _marked(session, book, None)
    return Reading(
        count,
        lambda newest, limit: session.store.releases(limit, newest=newest),
        lambda found: marked(found, book),
    )


def legible(
    session: Session, *, limit: int | None = None
) -> tuple[Sequence[Release], AegisError | None]:
    """The releases, without their marks when those cannot be read, and why they cannot.

    To look at. What changes a stack needs `releases`: without marks nothing is verified.

    Args:
        session: The stack.
        limit: How many; None for all, each of which is then read when it is looked at.
    """
    tags, fault = legible_tags(session)
    return listed(session, tags, limit=limit), fault


def legible_tags(session: Session) -> tuple[Mapping[str, str], AegisError | None]:
    """The stack's tags, none of them when they cannot be read, and why they cannot."""
    try:
        return session.tags(), None
    except AegisError as error:
        return {}, error


def listed(
    session: Session, tags: Mapping[str, str], *, limit: int | None = None
) -> Sequence[Release]:
    """The releases with the marks that some tags say.

    Args:
        session: The stack.
        tags: The tags.
        limit: As `legible` takes it.
    """
    book = verification_store.parse(tags)
    return _reading(session, book) if limit is None else _marked(session, book, limit)


def _marked(
    session: Session, book: verification_store.Verifications, limit: int | None
) -> list[Release]:
    found, read = session.store.releases(limit), limit
    while read is not None and len(found) == read and _repeats_older(found):
        read *= 4
        found = session.store.releases(read)
    return marked(found, book)[:limit]


def _repeats_older(found: Sequence[Release]) -> bool:
    """Whether the oldest of some releases is one that is not among them, once more."""
    oldest = next((it for it in reversed(found) if it.deploys), None)
    return oldest is not None and oldest.unchanged


def unrecorded(session: Session, newest: Release | None) -> bool:
    """Whether the state has changed since the last operation that the history has.

    An update that could not be recorded, for the disk was full, leaves nothing else behind. One
    whose deployer died as soon as it was may stand before older ones, by a clock that is behind:
    then the record that passes for the last is of something else than what the state has.

    Args:
        session: The stack.
        newest: The history's last operation, of whatever kind.
    """
    if newest is None or not _is_compared(session):
        return False  # A service records before it says that it did, and counts by itself.
    recorded = session.store.checkpoint(newest)
    if recorded is None:
        # Recorded in half, which is what a disk had room for; or there is nothing to read it with.
        return newest.deploys and session.store.recorded(newest) is None
    now = session.export()["deployment"]
    return _declared(recorded) != _declared(now) and session.tags().get(PUT) != _digest(now)


def put(session: Session, state: Mapping[str, Any]) -> None:
    """Put a state in the place of the stack's which its history does not have, and note that.

    Else it would look like an update that could not be recorded; see `unrecorded`.

    Raises:
        AegisError: It could not be put, or noted.
    """
    session.import_state(state)
    if _is_compared(session):
        # As it is read again: what is secret is encrypted anew.
        session.change_tags({PUT: _digest(session.export()["deployment"])})


def _is_compared(session: Session) -> bool:
    """Whether the state and the history are the CLI's own, in a place of files."""
    return session.backend_url.partition("://")[0] in DIY


def _digest(deployment: Mapping[str, Any]) -> str:
    return sha256(json.dumps(_declared(deployment), sort_keys=True).encode()).hexdigest()


def _declared(deployment: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    found = deployment.get("resources") or ()
    return [(it["urn"], it.get("id"), bool(it.get("delete")), it.get("inputs")) for it in found]


def newest(session: Session) -> Release | None:
    """The last operation recorded, such as the update that has just ended."""
    found = releases(session, limit=1)
    return found[0] if found else None


def recorded(session: Session, outcome: Outcome) -> Release | None:
    """The release that an update of this process became; None when there is none.

    Not the newest one: another machine's clock may be ahead, and others may have updated the
    stack since, without a claim.
    """
    key = outcome.recorded
    return next((it for it in reading(session) if it.key == key), None) if key else None


def deployed(session: Session, release: Release) -> Deployed:
    """What a release deployed; empty where its store cannot hand out its checkpoint.

    Raises:
        AegisError: The checkpoint is damaged.
    """
    try:
        deployment = session.store.checkpoint(release)
    except AegisError as damage:
        if damage.next:
            raise
        raise replace(
            damage,
            what=f"the checkpoint of release {release.number} of {session.name} cannot be read",
            why=f"{damage.what}: {damage.why}",
            next="choose another release: aegis history, then aegis rollback --to N",
        ) from damage
    return Deployed() if deployment is None else describe(deployment, succeeded=release.succeeded)


def glance(session: Session, release: Release, *, schema: bool = False) -> Deployed:
    """Version and digest only, from the program's outputs where it has them: 20 times as quick.

    Args:
        session: The stack.
        release: The release.
        schema: Whether to say, too, with which databases it works.
    """
    outputs = session.store.outputs(release) if release.succeeded else None
    said = _said(outputs or {})
    whole = said.version and said.image_digest and (said.schema is not None or not schema)
    return said if whole else deployed(session, release)


def describe(deployment: Mapping[str, Any], *, succeeded: bool = True) -> Deployed:
    """Say what a checkpoint's deployment deployed: version, digest, images.

    Args:
        deployment: The deployment.
        succeeded: Whether the update that left it did. One that failed leaves the outputs and the
            inputs of before in the state; only the objects' own outputs say what it tried.
    """
    resources = [
        resource for resource in deployment.get("resources") or () if not resource.get("delete")
    ]
    outputs: Mapping[str, Any] = next(
        (item.get("outputs") or {} for item in resources if item["type"] == _STACK), {}
    )
    objects = [
        _object(item, succeeded=succeeded) for item in resources if names_images(item["type"])
    ]
    images = tuple(dict.fromkeys(image for item in objects for image in images_of(item) if image))
    digests = [match[1] for image in images if (match := _DIGEST.search(image))]
    labels = [text for item in objects if (text := _version_label(item))]
    said = Deployed() if images and not succeeded else _said(outputs)
    return Deployed(
        version=said.version or (labels[0] if labels else None),
        image_digest=said.image_digest or (digests[0] if digests else None),
        images=images,
        schema=schemas.of_templates(objects) or said.schema,
        dataset=datasets.of_manifests(objects) or said.dataset,
    )


def _said(outputs: Mapping[str, Any]) -> Deployed:
    """What a program's outputs say, by the names this project gives them."""
    return Deployed(
        _text(outputs.get("version")),
        _text(outputs.get("imageDigest")),
        schema=schemas.of_outputs(outputs),
        dataset=datasets.of_outputs(outputs),
    )


def _object(resource: Mapping[str, Any], *, succeeded: bool) -> Mapping[str, Any]:
    inputs, outputs = resource.get("inputs") or {}, resource.get("outputs") or {}
    live = isinstance(_at(outputs, "spec", "template"), dict)
    return outputs if live and not succeeded else inputs


def _version_label(manifest: Mapping[str, Any]) -> str | None:
    for path in (("spec", "template", "metadata", "labels"), ("metadata", "labels")):
        found = _text(_at(manifest, *path, _VERSION_LABEL))
        if found:
            return found
    return None


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401 - any JSON value
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, str) and value else None
