"""A stack's releases, with what the ledger says of them, and what each one deployed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ops import ledger
from ops.release import Deployed, Release

if TYPE_CHECKING:
    from ops.stack import Session

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Rollout")
_STACK = "pulumi:pulumi:Stack"
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})$")
_VERSION_LABEL = "app.kubernetes.io/version"


def releases(session: Session, *, limit: int | None = None) -> list[Release]:
    """The stack's releases, newest first.

    Args:
        session: The stack.
        limit: How many; only these are read.
    """
    return marked(session.store.releases(limit), ledger.read(session))


def marked(found: Sequence[Release], book: ledger.Ledger) -> list[Release]:
    """Say of each release whether it is verified, refused, current.

    Current is the newest that could change what is deployed, failed ones too: that is what a
    rollback starts from.
    """
    verified, refused = frozenset(book.verified), book.refused
    current = next((release.key for release in found if release.deploys), None)
    return [
        replace(
            release,
            verified=release.key in verified,
            refused=release.key in refused,
            current=release.key == current,
        )
        if release.key in verified or release.key in refused or release.key == current
        else release
        for release in found
    ]


def newest(session: Session) -> Release | None:
    """The last operation recorded, such as the update that has just ended."""
    found = releases(session, limit=1)
    return found[0] if found else None


def deployed(session: Session, release: Release) -> Deployed:
    """What a release deployed; empty where its store cannot hand out its checkpoint."""
    deployment = session.store.checkpoint(release)
    return Deployed() if deployment is None else describe(deployment)


def describe(deployment: Mapping[str, Any]) -> Deployed:
    """Say what a checkpoint's deployment deployed: version, digest, images."""
    resources = [
        resource for resource in deployment.get("resources") or () if not resource.get("delete")
    ]
    outputs: Mapping[str, Any] = next(
        (item.get("outputs") or {} for item in resources if item["type"] == _STACK), {}
    )
    workloads = [item for item in resources if _is_workload(item)]
    images = tuple(dict.fromkeys(image for item in workloads for image in _images(item)))
    digests = [match[1] for image in images if (match := _DIGEST.search(image))]
    labels = (_version_label(item) for item in workloads)
    version = _text(outputs.get("version")) or next((text for text in labels if text), None)
    digest = _text(outputs.get("imageDigest")) or (digests[0] if digests else None)
    return Deployed(version=version, image_digest=digest, images=images)


def _is_workload(resource: Mapping[str, Any]) -> bool:
    return str(resource["type"]).rpartition(":")[2] in _WORKLOADS


def _images(resource: Mapping[str, Any]) -> Iterable[str]:
    template = _at(resource.get("inputs"), "spec", "template", "spec")
    containers = _at(template, "containers")
    for container in containers if isinstance(containers, list) else ():
        image = _text(_at(container, "image"))
        if image:
            yield image


def _version_label(resource: Mapping[str, Any]) -> str | None:
    inputs = resource.get("inputs")
    for path in (("spec", "template", "metadata", "labels"), ("metadata", "labels")):
        found = _text(_at(inputs, *path, _VERSION_LABEL))
        if found:
            return found
    return None


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401 - any JSON value
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str | None:  # noqa: ANN401 - any JSON value
    return value if isinstance(value, str) and value else None
