"""Pages for people: one HTML file each, with everything in it. Nothing is fetched, no script runs.

Every text that a template prints is made plain first (`common.sanitize`) and escaped after,
whatever the template says; only what this project itself drew passes as markup. A browser is told
besides that it may load and run nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from aegis_deploy.common.sanitize import one_line, plain
from aegis_deploy.history import dora
from aegis_deploy.report import releases_plot, timeline_plot
from aegis_deploy.report.release_report import SIGNS, ReleaseReport, change_text, took
from aegis_deploy.report.timeline_plot import NARROW, WIDE

if TYPE_CHECKING:
    from aegis_deploy.history.listing import Listing

_TEMPLATES = Path(__file__).with_name("templates")
_DISTRIBUTION = "aegis-deploy"


def release_page(report: ReleaseReport) -> str:
    """Write the page about a release."""
    timeline = report.timeline
    drawn = ["", ""]
    if timeline is not None:
        drawn = [timeline_plot.draw(timeline, width) for width in (WIDE, NARROW)]
    return _page(
        "release.html",
        report=report,
        timeline=timeline,
        wide=Markup(drawn[0]),  # noqa: S704 - drawn by aegis_deploy.report.svg, which escapes
        narrow=Markup(drawn[1]),  # noqa: S704 - the same
        series=[] if timeline is None else timeline_plot.series(timeline),
        moments=[] if timeline is None else timeline_plot.moments(timeline),
    )


def history_page(
    listing: Listing, measures: Sequence[dora.Measure], total: int, now: datetime
) -> str:
    """Write the page about a stack's releases over time.

    Args:
        listing: The releases that are listed, newest first.
        measures: DORA's four.
        total: How many releases the stack has.
        now: The present moment.
    """
    releases = [entry.release for entry in listing.entries]
    found = dora.deployments(releases)
    back = [it for it in releases if it.restores is not None and it.succeeded]
    length, made = releases_plot.periods(found, back, now)
    drawn = [releases_plot.draw(length, made, width) for width in (WIDE, NARROW)]
    return _page(
        "history.html",
        listing=listing,
        measures=measures,
        total=total,
        length=length,
        definitions=dora.DEFINITIONS,
        source=dora.SOURCE,
        wide=Markup(drawn[0]),  # noqa: S704 - drawn by aegis_deploy.report.svg, which escapes
        narrow=Markup(drawn[1]),  # noqa: S704 - the same
    )


def _page(template: str, **values: object) -> str:
    return (
        _environment()
        .get_template(template)
        .render(
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
            aegis=_version(),
            style=Markup((_TEMPLATES / "style.css").read_text()),  # noqa: S704 - a file of ours
            **values,
        )
    )


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plain,
    )
    made.filters.update(line=one_line, took=took, changed=change_text, lasted=dora.lasted)
    made.globals.update(signs=SIGNS)
    return made


def _plain(value: object) -> object:
    """Make what is printed plain text, unless it is markup of our own."""
    return value if isinstance(value, (Markup, int, float)) else plain(value)


def _version() -> str:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return ""
