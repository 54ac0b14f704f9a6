"""Comparing two releases of a stack, as its store has them. Secrets are masked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import stack_history
from aegis_deploy.history.diff import (
    Difference,
    ResourceDifference,
    compare_images,
    compare_resources,
    compare_settings,
    holds_secrets,
)
from aegis_deploy.history.listing import find
from aegis_deploy.stack import checkpoint
from aegis_deploy.stack.renames import called_as_now

if TYPE_CHECKING:
    from aegis_deploy.model.database.schema import CodeSchema
    from aegis_deploy.model.release import Release
    from aegis_deploy.stack.session import Session


@dataclass(frozen=True)
class Compared:
    """Two releases, compared.

    Attributes:
        stack: The stack's name.
        before: The number of the one.
        after: The number of the other.
        settings: The settings that differ.
        images: The images that only one of them ran.
        resources: The resources that differ.
        schema: Which revisions of the database each works with, where that differs.
        partial: What of the resources could not be compared, and why; empty when all were.
    """

    stack: str
    before: int
    after: int
    settings: tuple[Difference, ...] = ()
    images: tuple[Difference, ...] = ()
    resources: tuple[ResourceDifference, ...] = ()
    schema: tuple[Difference, ...] = ()
    partial: str = ""

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.settings or self.images or self.resources or self.schema)

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "stack": self.stack,
            "before": self.before,
            "after": self.after,
            "settings": [item.as_json() for item in self.settings],
            "images": [item.as_json() for item in self.images],
            "resources": [item.as_json() for item in self.resources],
            "schema": [item.as_json() for item in self.schema],
            "partial": self.partial,
        }


def compare(session: Session, before: int, after: int) -> Compared:
    """Compare two releases.

    Raises:
        AegisError: One of them does not exist, or its checkpoint is damaged.
    """
    releases = stack_history.reading(session)
    old, new = find(releases, before), find(releases, after)
    settings = compare_settings(old.config, new.config)
    first, second = session.store.checkpoint(old), session.store.checkpoint(new)
    first, second = (
        None if it is None else dict(called_as_now(it, session.name, session.project))
        for it in (first, second)
    )
    if first is None or second is None:
        number = before if first is None else after
        partial = f"this backend cannot hand out the checkpoint of release {number}"
        return Compared(session.name, before, after, settings, partial=partial)
    was = stack_history.describe(first, succeeded=old.succeeded)
    now = stack_history.describe(second, succeeded=new.succeeded)
    failed = [release.number for release in (old, new) if not release.succeeded]
    remarks = [
        f"release {number} failed: of what it did not finish, the checkpoint holds "
        "what was declared before"
        for number in failed[:1]
    ]
    (first, second), unread = _decrypted(session, (old, first), (new, second))
    if unread is not None:
        remarks.append(f"which secrets differ is not known: {unread.what}\n{unread.next}")
    return Compared(
        session.name,
        before,
        after,
        settings,
        compare_images(was.images, now.images),
        compare_resources(first, second),
        _schemas(was.schema, now.schema),
        partial="\n".join(remarks),
    )


def _schemas(was: CodeSchema | None, now: CodeSchema | None) -> tuple[Difference, ...]:
    if was == now:
        return ()
    before, after = ("" if it is None else str(it) for it in (was, now))
    change = "changed" if was and now else "added" if now else "removed"
    return (Difference("schema", change, before, after),)


def _decrypted(
    session: Session, *given: tuple[Release, dict[str, Any]]
) -> tuple[tuple[dict[str, Any], dict[str, Any]], AegisError | None]:
    """Both deployments, decrypted where a ciphertext differs: only then does it say anything.

    Where they cannot be, they stay as they are; that is told beside them.
    """
    (old, first), (new, second) = given
    differ = compare_resources(first, second)
    masked = any("[secret]" in item.after for one in differ for item in one.properties)
    if not masked or not (holds_secrets(first) and holds_secrets(second)):
        return (first, second), None

    try:
        both = _plain(checkpoint.load(session, old)), _plain(checkpoint.load(session, new))
    except AegisError as error:
        return (first, second), error
    return both, None


def _plain(loaded: Any) -> dict[str, Any]:  # noqa: ANN401
    return {
        "resources": [
            {"urn": item.urn, "type": item.type, "inputs": item.inputs, "delete": not item.alive}
            for item in loaded.resources
        ]
    }
