"""One release, looked at closely: its settings, and what it consists of. Secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aegis_deploy.common.errors import AegisError
from aegis_deploy.history import schema_store, stack_history
from aegis_deploy.history.listing import ReleaseEntry, entry_of, find
from aegis_deploy.model.release import Deployed

if TYPE_CHECKING:
    from aegis_deploy.stack.session import Session


@dataclass(frozen=True)
class Item:
    """A resource of a release.

    Attributes:
        type: Its type.
        name: Its name in the program.
        id: What the provider calls it.
    """

    type: str
    name: str
    id: str = ""


@dataclass(frozen=True)
class Shown:
    """A release, looked at closely.

    Attributes:
        stack: The stack's name.
        entry: The release as the list has it.
        settings: Its settings; secrets are masked.
        images: The images its workloads ran.
        resources: What it consisted of; empty where its store cannot hand out its checkpoint.
        damage: Why its checkpoint cannot be read; empty when it can.
    """

    stack: str
    entry: ReleaseEntry
    settings: Mapping[str, str]
    images: tuple[str, ...] = ()
    resources: tuple[Item, ...] = ()
    damage: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "stack": self.stack,
            **self.entry.as_json(),
            "settings": dict(self.settings),
            "images": list(self.images),
            "resources": [
                {"type": item.type, "name": item.name, "id": item.id} for item in self.resources
            ],
            "damage": self.damage,
        }


def inspect(session: Session, number: int) -> Shown:
    """Look at one release.

    Raises:
        AegisError: There is no such release.
    """
    tags = session.tags()
    releases = stack_history.reading(session, tags)
    release = find(releases, number)
    damage, deployment = "", None
    try:
        deployment = session.store.checkpoint(release)
    except AegisError as error:
        damage = f"{error.what}: {error.why}"
    deployed = Deployed()
    if deployment is not None:
        deployed = stack_history.describe(deployment, succeeded=release.succeeded)
    return Shown(
        stack=session.name,
        entry=entry_of(releases, release, deployed, schema_store.parse(tags)),
        settings={key: release.config[key].shown for key in sorted(release.config)},
        images=deployed.images,
        resources=tuple(
            Item(item["type"], item["urn"].rpartition("::")[2], item.get("id") or "")
            for item in (deployment or {}).get("resources") or ()
            if not item.get("delete")
        ),
        damage=damage,
    )
