"""`aegis history --html`: a stack's releases over time, and DORA's four."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.history.listing import Listing
    from aegis_deploy.stack.session import Session

STANDARD_OUTPUT = Path("-")


def render_page(session: Session, listing: Listing, out: Output, output: Path | None) -> None:
    """Write the page about a stack's releases.

    Args:
        session: The stack.
        listing: The releases that are listed, newest first.
        out: Where the command writes.
        output: Where the page goes: a file, or ``-`` for standard output; None chooses a file.
    """
    from aegis_deploy.common import git
    from aegis_deploy.history import dora
    from aegis_deploy.report.html import history_page

    releases, now = [entry.release for entry in listing.entries], datetime.now(UTC)
    committed = git.commit_times(session.directory, dora.commits(releases))
    measures = dora.measure(releases, committed, now)
    out.document({**listing.as_json(), "dora": [it.as_json() for it in measures]})
    total = releases[0].number if releases else 0
    page = history_page(listing, measures, total, now)
    write(output or Path(f"history-{listing.stack}.html"), page, out)


def write(path: Path, page: str, out: Output, *, quiet: bool = False) -> None:
    """Write a page to a file, or to standard output for ``-``.

    Args:
        path: Where it goes.
        page: The page.
        out: Where the command writes.
        quiet: Whether standard output is for something else.
    """
    if path == STANDARD_OUTPUT:
        out.show(page)
        return
    from aegis_deploy.common import atomic_file

    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_file.write(path, page.encode())
    (out.say if quiet or out.json else out.show)(f"written: {path}")
