"""Which source an image is built from: the commit and the version, read from the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aegis_deploy.model.database.schema import CodeSchema

IMAGE_SOURCES = ("app", "Dockerfile", ".dockerignore")
"""What the image is made of; a change elsewhere in the checkout does not make its commit dirty."""

COMMIT_VARIABLES = ("AEGIS_GIT_SHA", "GITHUB_SHA")
"""Where the environment may name the commit, first to last."""

_COMMIT = re.compile(r"[0-9a-f]{7,64}(-dirty)?")
VERSION_TEXT = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
"""A version that can be a Kubernetes label, which is where people look for it."""


SCHEMA_FILE = "app/migrations/schema.json"


class SourceError(Exception):
    """The checkout does not say what it is.

    Attributes:
        subject: What could not be told.
        found: What was found in its place, or None.
        why: Why that does not do.
        fix: What to type.
    """

    def __init__(self, subject: str, *, found: str | None, why: str, fix: str) -> None:
        super().__init__(f"{subject}: {why}")
        self.subject = subject
        self.found = found
        self.why = why
        self.fix = fix


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source an image is built from."""

    version: str
    """The release's version, for people."""
    commit: str
    """The git commit, with ``-dirty`` behind it when the image's files differ from it."""


def read_source(root: Path, environ: Mapping[str, str] = os.environ) -> Source:
    """Read the version and the commit of a checkout.

    Args:
        root: The checkout's top directory.
        environ: The process's environment, which may name the commit.

    Raises:
        SourceError: One of them cannot be told.
    """
    return Source(version=read_version(root / "pyproject.toml"), commit=read_commit(root, environ))


def read_schema(root: Path) -> CodeSchema | None:
    """Read which databases a checkout's service works with; None of one that has no migrations.

    Args:
        root: The checkout's top directory.

    Raises:
        SourceError: Its file does not say it.
    """
    path = root / SCHEMA_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return CodeSchema(
            head=int(found["head"]),
            least=int(found["least"]),
            irreversible=int(found.get("irreversible", 0)),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            "schema",
            found=None,
            why=f"{path.name} does not say it: {error}",
            fix=f"git checkout -- {SCHEMA_FILE}",
        ) from error


def read_version(pyproject: Path) -> str:
    """Read ``[project] version`` from a pyproject.toml.

    Raises:
        SourceError: It is not there, or cannot be a label.
    """
    try:
        found = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["version"]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise SourceError(
            "version",
            found=None,
            why=f"pyproject.toml gives no [project] version ({type(error).__name__}: {error})",
            fix='write version = "1.2.3" under [project] in pyproject.toml',
        ) from error
    if not isinstance(found, str) or re.fullmatch(VERSION_TEXT, found) is None:
        raise SourceError(
            "version",
            found=str(found),
            why="allowed: letters, digits, '.', '_' and '-', at most 63",
            fix='write version = "1.2.3" under [project] in pyproject.toml',
        )
    return found


def read_commit(root: Path, environ: Mapping[str, str]) -> str:
    """Read the commit from the environment, else from git.

    Raises:
        SourceError: Neither names one.
    """
    for name in COMMIT_VARIABLES:
        commit = environ.get(name)
        if commit:
            if _COMMIT.fullmatch(commit):
                return commit
            raise SourceError(
                name,
                found=commit,
                why="allowed: a git commit, 7 to 64 hexadecimal digits, maybe with -dirty behind",
                fix=f'export {name}="$(git rev-parse HEAD)"',
            )
    # One process for both questions: which commit, and do the image's files differ from it.
    command = [
        "git",
        "--no-optional-locks",
        "status",
        "--porcelain=v2",
        "--branch",
        "--",
        *IMAGE_SOURCES,
    ]
    fix = "commit once, or name it: export AEGIS_GIT_SHA=<commit>"
    try:
        status = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    except OSError as error:
        raise SourceError(
            "git commit", found=None, why=f"git did not run: {error}", fix=fix
        ) from error
    if status.returncode != 0:
        reason = status.stderr.strip().splitlines()
        raise SourceError(
            "git commit",
            found=None,
            why=f"git does not say: {reason[0] if reason else f'exit code {status.returncode}'}",
            fix=fix,
        )
    return commit_from_status(status.stdout, fix=fix)


def commit_from_status(text: str, *, fix: str) -> str:
    """Take the commit, and whether it is dirty, from ``git status --porcelain=v2 --branch``.

    Raises:
        SourceError: There is no commit yet.
    """
    headers = [line for line in text.splitlines() if line.startswith("# ")]
    changes = [line for line in text.splitlines() if not line.startswith("# ")]
    for header in headers:
        commit = header.removeprefix("# branch.oid ")
        if commit != header and _COMMIT.fullmatch(commit):
            return f"{commit}-dirty" if changes else commit
    raise SourceError("git commit", found=None, why="the checkout has no commit yet", fix=fix)
