"""`aegis show`: one release, with its settings and what it consists of. Secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.history import Entry, entry_of
from ops.commands.options import HERE, Directory, Json, Stack, output_of

if TYPE_CHECKING:
    from ops.output import Output
    from ops.release import Release
    from ops.stack import Session


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
    entry: Entry
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


def find(releases: Sequence[Release], number: int) -> Release:
    """Find a release by its number.

    Raises:
        AegisError: There is none, or its history file cannot be read.
    """
    from ops.errors import AegisError, ExitCode
    from ops.records import UNREADABLE
    from ops.target import numbered

    found = numbered(releases, number)
    if found is None:
        known = f"{releases[-1].number} to {releases[0].number}" if releases else "none yet"
        raise AegisError(
            what=f"there is no release {number}",
            why=f"the history has {known}",
            next="aegis history",
            code=ExitCode.USAGE,
        )
    if found.result == UNREADABLE:
        raise AegisError(what=f"release {number} cannot be read", why=found.message)
    return found


def inspect(session: Session, number: int) -> Shown:
    """Look at one release.

    Raises:
        AegisError: There is no such release.
    """
    from ops import history
    from ops.errors import AegisError
    from ops.release import Deployed

    releases = history.reading(session)
    release = find(releases, number)
    damage, deployment = "", None
    try:
        deployment = session.store.checkpoint(release)
    except AegisError as error:
        damage = f"{error.what}: {error.why}"
    deployed = Deployed()
    if deployment is not None:
        deployed = history.describe(deployment, succeeded=release.succeeded)
    return Shown(
        stack=session.name,
        entry=entry_of(releases, release, deployed),
        settings={key: release.config[key].shown for key in sorted(release.config)},
        images=deployed.images,
        resources=tuple(
            Item(item["type"], item["urn"].rpartition("::")[2], item.get("id") or "")
            for item in (deployment or {}).get("resources") or ()
            if not item.get("delete")
        ),
        damage=damage,
    )


def render(shown: Shown, out: Output) -> None:
    """Show a release."""
    out.document(shown.as_json())
    release, deployed = shown.entry.release, shown.entry.deployed
    lasted = ""
    if release.ended:
        # A clock that was set back meanwhile leaves an end before the beginning.
        lasted = f", {max(0, round((release.ended - release.started).total_seconds()))} s"
    changes = ", ".join(f"{count} {op}" for op, count in sorted(release.changes.items()))
    facts = (
        ("release", f"{release.number} of {shown.stack}: {release.operation}, {release.result}"),
        ("notes", shown.entry.notes),
        ("message", release.message),
        ("started", f"{release.started:%Y-%m-%d %H:%M:%S} UTC{lasted}"),
        ("who", release.who),
        ("commit", release.git_commit),
        ("version", deployed.version),
        ("image", deployed.image_digest),
        ("changes", changes),
    )
    for name, fact in facts:
        if fact:
            out.show(f"{name:<9} {fact}")
    if shown.settings:
        out.show("settings")
        for key, value in shown.settings.items():
            out.show(f"  {key} = {value}")
    if shown.resources:
        out.show("resources")
        rows = [(f"  {item.type}", item.name, item.id) for item in shown.resources]
        out.table(("  type", "name", "id"), rows)
    if shown.damage:
        out.warn(shown.damage)


def show(
    context: typer.Context,
    number: Annotated[int, typer.Argument(help="The release's number, as in the history.")],
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Show one release: settings, images, resources. Secrets are masked."""
    from ops.stack import Session

    render(inspect(Session.open(stack, directory), number), output_of(context))
