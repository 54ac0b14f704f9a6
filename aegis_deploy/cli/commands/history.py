"""`aegis history`: what was deployed when, by whom, and how it went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, output_of
from aegis_deploy.model.database.dataset import short

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.history.listing import Listing, ReleaseEntry

SHOWN = 20
ON_PAGE = 200
_COLUMNS = ("#", "started (UTC)", "result", "notes", "version", "image", "commit", "who", "message")
_BEFORE_VERSION = _COLUMNS.index("version")
_SHORT = 12
_LONGEST_MESSAGE = 60


def render(listing: Listing, out: Output) -> None:
    """Show a list."""
    out.document(listing.as_json())
    if not listing.entries:
        out.show(f"{listing.stack} has never been updated")
        return
    # Only where there is a database, or a data set, is it anything to look at.
    more = {
        "schema": _schema if listing.database is not None else None,
        "data set": _dataset if any(it.deployed.dataset for it in listing.entries) else None,
    }
    shown = {name: told for name, told in more.items() if told is not None}
    rows = [(_row(it), [told(it) for told in shown.values()]) for it in listing.entries]
    out.table(
        (*_COLUMNS[:_BEFORE_VERSION], *shown, *_COLUMNS[_BEFORE_VERSION:]),
        [(*row[:_BEFORE_VERSION], *said, *row[_BEFORE_VERSION:]) for row, said in rows],
    )
    if listing.database is not None:
        out.show(f"the database is {listing.database}")
    if listing.more:
        out.show(f"{listing.more} more: --all")
    for fault in listing.unreadable:
        out.warn(fault)


def _row(entry: ReleaseEntry) -> tuple[str, ...]:
    release, deployed = entry.release, entry.deployed
    message = " ".join(release.message.split())
    if len(message) > _LONGEST_MESSAGE:
        message = message[: _LONGEST_MESSAGE - 3] + "..."
    return (
        str(release.number),
        f"{release.started:%Y-%m-%d %H:%M:%S}",
        release.result,
        entry.notes,
        deployed.version or "-",
        short_digest(deployed.image_digest),
        (release.git_commit or "-")[:_SHORT],
        release.who or "-",
        message,
    )


def _schema(entry: ReleaseEntry) -> str:
    said = entry.deployed.schema
    return "-" if said is None else str(said)


def _dataset(entry: ReleaseEntry) -> str:
    return short(entry.deployed.dataset) or "-"


def short_digest(digest: str | None) -> str:
    """A digest as short as people write it."""
    return (digest or "-").removeprefix("sha256:")[:_SHORT]


def history(
    context: typer.Context,
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            "-n",
            min=1,
            help=f"How many releases. Without it {SHOWN}, or {ON_PAGE} on a page.",
            show_default=False,
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    html: Annotated[
        bool,
        typer.Option(
            "--html",
            help="Write a page: releases over time and DORA's four (how often, how soon, how often "
            "it fails, how soon it is mended).",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the page goes; - is standard output. Without it history-STACK.html.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """List the releases: when, who, what, how it went, what is current and verified."""
    from aegis_deploy.history.listing import collect
    from aegis_deploy.stack.session import Session

    session, out = Session.open(stack, directory), output_of(context)
    page = html or output is not None
    shown = limit or (ON_PAGE if page else SHOWN)
    listing = collect(session, limit=None if everything else shown)
    if not page:
        render(listing, out)
        return
    from aegis_deploy.cli.commands.history_page import render_page

    render_page(session, listing, out, output)
