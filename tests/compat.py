"""Whether code and schemas that meet in a deploy or a rollback work together: `make compat`.

Which schemas a release works with is said in `app/migrations/schema.json`, and a rollback trusts
it. So it is tried: the service's own tests run on a real PostgreSQL

- of this code, on the schema of each revision from the least that it says it works with;
- of the code before, on this code's schema, since a deploy's migration leaves it serving and a
  rollback brings it back.

Contracts are not among it, nor is the code before an irreversible revision: it is not gone back to.
A code that says too much fails its own tests here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
MIGRATIONS_OF = "AEGIS_MIGRATIONS_OF"
"""The variable that names the checkout whose migrations the tests' databases get."""
TESTS = "tests/integration/test_service_on_database.py"
_HARNESS = "tests/integration/databases.py"
_SCHEMA = Path("app/migrations/schema.json")
_VERSIONS = Path("app/migrations/versions")
Run = Callable[[Path, Path], bool]


@dataclass(frozen=True)
class Meeting:
    """Code and a schema that meet.

    Attributes:
        title: Which, for people.
        code: The checkout whose service and tests run.
        schema: The checkout whose migrations are applied.
    """

    title: str
    code: Path
    schema: Path


def truncated(checkout: Path, revision: int, into: Path) -> Path:
    """Copy a checkout's service as it was before the revisions after one.

    Args:
        checkout: The checkout.
        revision: The last revision that is kept.
        into: Where to; it is not there yet.
    """
    shutil.copytree(
        checkout / "app", into / "app", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    for path in (into / _VERSIONS).glob("r*.py"):
        if int(path.name[1:5]) > revision:
            path.unlink()
    (into / _SCHEMA).write_text(json.dumps({"head": revision, "least": min(1, revision)}))
    return into


def meetings(checkout: Path, before: Path | None, scratch: Path) -> Iterator[Meeting]:
    """Return what meets.

    Args:
        checkout: The checkout of this code.
        before: That of the code before; None where it cannot be tried.
        scratch: A directory for what has to be made.
    """
    said = json.loads((checkout / _SCHEMA).read_text())
    for revision in range(said["least"], said["head"]):
        older = truncated(checkout, revision, scratch / f"revision-{revision}")
        yield Meeting(f"this code on revision {revision}", checkout, older)
    yield Meeting(f"this code on revision {said['head']}, its own", checkout, checkout)
    if before is not None and not is_frozen_past(checkout, before):
        yield Meeting(f"the code before on revision {said['head']}", before, checkout)


def is_frozen_past(checkout: Path, before: Path) -> bool:
    """Return whether this code's migrations end every way back to the code before.

    Args:
        checkout: The checkout of this code.
        before: That of the code before.
    """
    irreversible = json.loads((checkout / _SCHEMA).read_text()).get("irreversible", 0)
    return bool(irreversible) and irreversible > json.loads((before / _SCHEMA).read_text())["head"]


def tried(found: Sequence[Meeting], run: Run, say: Callable[[str], None]) -> list[str]:
    """Try what meets; return the titles of what does not work.

    Args:
        found: What meets.
        run: Runs the tests of a code on a schema, and says whether all passed.
        say: Told how each went.
    """
    bad = []
    for it in found:
        good = run(it.code, it.schema)
        say(f"{'works' if good else 'DOES NOT WORK'}: {it.title}")
        if not good:
            bad.append(it.title)
    return bad


def run_tests(code: Path, schema: Path, *more: str) -> bool:
    """Run the service's own tests of a checkout on the schema of another.

    Args:
        code: The checkout whose service and tests run.
        schema: The checkout whose migrations are applied.
        more: Further arguments for pytest.
    """
    environment = {**os.environ, MIGRATIONS_OF: str(schema), "PYTHONDONTWRITEBYTECODE": "1"}
    words = ("-m", "pytest", TESTS, "-q", "-p", "no:cacheprovider", "--no-header", *more)
    done = subprocess.run([sys.executable, *words], cwd=code, env=environment, check=False)
    return done.returncode == 0


def can_be_tried(checkout: Path) -> bool:
    """Return whether the tests of a checkout run on the schema of another.

    Those of a service without a database, or from before this, would run on their own.
    """
    harness = checkout / _HARNESS
    return harness.exists() and MIGRATIONS_OF in harness.read_text()


@contextmanager
def _checked_out(commit: str, scratch: Path) -> Iterator[Path | None]:
    """The checkout of a commit; None of one whose tests do not run on another's schema."""
    place = scratch / "before"
    git = ("git", "-C", str(ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    try:
        yield place if can_be_tried(place) else None
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def main(
    before: Annotated[str, typer.Option(help="The commit of the code before.")] = "HEAD^",
) -> None:
    """Hold the schemas that the service says it works with against its own tests."""
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        with _checked_out(before, scratch) as old:
            if old is None:
                typer.echo(f"not tried: {before}, whose tests know no other schema than their own")
            elif is_frozen_past(ROOT, old):
                typer.echo(f"not tried: {before}, behind a revision that is irreversible")
            found = list(meetings(ROOT, old, scratch))
            bad = tried(found, run_tests, typer.echo)
    if bad:
        typer.echo(f"\n{_SCHEMA} says more than holds, or a migration takes too much:", err=True)
        typer.echo("\n".join(f"  {it}" for it in bad), err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
