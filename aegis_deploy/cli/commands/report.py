"""`aegis report`: one release as a page, as Markdown for a job's summary, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_deploy.cli.commands.options import HERE, Directory, Json, Stack, output_of

if TYPE_CHECKING:
    from aegis_deploy.common.console import Output
    from aegis_deploy.report.release_report import ReleaseReport


def render(
    report: ReleaseReport, out: Output, *, markdown: bool = False, output: Path | None = None
) -> None:
    """Write a report down, and show what was asked for.

    Args:
        report: The report.
        out: Where the command writes.
        markdown: Whether to show Markdown.
        output: Where the page goes: a file, or ``-`` for standard output.
    """
    out.document(report.as_json())
    page = output
    if page is None and not markdown and not out.json:
        page = Path(f"report-{report.stack}-{report.number}.html")
    if page is not None:
        from aegis_deploy.cli.commands.history_page import write
        from aegis_deploy.report.html import release_page

        write(page, release_page(report), out, quiet=markdown)
    if markdown:
        from aegis_deploy.report import release_report

        out.show(release_report.markdown(report))


def report(
    context: typer.Context,
    number: Annotated[
        int | None,
        typer.Argument(
            help="The release's number, as in the history; without it, the last one deployed.",
            show_default=False,
        ),
    ] = None,
    stack: Stack = None,
    directory: Directory = HERE,
    *,
    json: Json = False,  # noqa: ARG001 - its callback acts on it
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print Markdown, for a job's summary.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the page goes; - is standard output. Without it report-STACK-N.html, or "
            "nowhere with --markdown or --json.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a page about one release: what changed, how it went, why it was good or not.

    The page is one file with everything in it: a plot of pods, probes and latency, the gate's
    verdict with its evidence, the steps with their durations. Secrets are masked.
    """
    from aegis_deploy.report.gathering import collect, is_empty
    from aegis_deploy.stack.session import Session

    session, out = Session.open(stack, directory), output_of(context)
    if number is None and is_empty(session):
        # A pipeline that reports at its end has not failed where nothing was deployed yet.
        out.document({"stack": session.name, "release": None})
        out.show(f"{session.name} has no release yet: there is nothing to report on")
        return
    render(collect(session, number), out, markdown=markdown, output=output)
