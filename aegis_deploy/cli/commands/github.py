"""`aegis github`: what a pipeline leaves on GitHub."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from aegis_deploy.cli.commands.options import Json, output_of
from aegis_deploy.common.errors import AegisError, ExitCode

_DRIFT = "<!-- aegis: {subject} -->"

File = Annotated[
    Path,
    typer.Option("--file", help="The text, Markdown.", exists=True, dir_okay=False),
]


def comment(
    context: typer.Context,
    number: Annotated[int, typer.Option("--pull-request", help="Its number.", min=1)],
    file: File,
    *,
    mark: Annotated[
        str,
        typer.Option(help="What the comment is found again by; it is hidden in its text."),
    ] = "aegis preview",
    part: Annotated[
        str,
        typer.Option(
            help="Which part of that comment it is; its other parts stay. Without it all is "
            "replaced."
        ),
    ] = "",
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Leave one comment on a pull request, in place of the one left before.

    Takes GITHUB_TOKEN, GITHUB_REPOSITORY and GITHUB_API_URL, as a job has them.
    """
    from aegis_deploy.report.github import GitHub

    left = GitHub.of_job(os.environ).comment(
        number, f"<!-- {_plain(mark)} -->", file.read_text(), part=_plain(part)
    )
    out = output_of(context)
    out.document(left.as_json())
    out.show(f"comment {left.action}: {left.url}")


def issue(
    context: typer.Context,
    subject: Annotated[str, typer.Option(help="What it is about: drift-staging. One issue each.")],
    *,
    title: Annotated[str, typer.Option(help="The issue's title.")] = "",
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The text, Markdown.", exists=True, dir_okay=False),
    ] = None,
    close: Annotated[
        str, typer.Option(metavar="WHY", help="Close the open issue, and say why.")
    ] = "",
    json: Json = False,  # noqa: ARG001 - its callback acts on it
) -> None:
    """Open or edit the one issue about a subject, or close it.

    Takes GITHUB_TOKEN, GITHUB_REPOSITORY and GITHUB_API_URL, as a job has them.
    """
    from aegis_deploy.report.github import GitHub

    if bool(close) == bool(file):
        raise AegisError(
            what="either a text or a reason to close the issue is needed",
            next="--file TEXT opens or edits it, --close WHY closes it",
            code=ExitCode.USAGE,
        )
    repository = GitHub.of_job(os.environ)
    mark = _DRIFT.format(subject=_plain(subject))
    if file is None:
        left = repository.close(mark, close)
    else:
        left = repository.issue(title or subject, mark, file.read_text())
    out = output_of(context)
    out.document(left.as_json())
    out.show(f"issue {left.action}{': ' if left.url else ''}{left.url}")


def _plain(text: str) -> str:
    """A text that cannot end the comment it stands in."""
    return text.replace("--", "").replace(">", "").strip()
