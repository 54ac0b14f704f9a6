"""The tests whose subject changed since a commit, for `make affected`.

A test file is affected when it, or anything it needs (`tests/import_graph.py`), changed: what it
imports, also through others and through fixtures; the files it reads; and for end-to-end tests,
which run commands, what they are declared to be about (`tests/e2e/subjects.py`). A change of what
everything is built and run with may affect everything, and then all tests are chosen.

It is a way to try one change within minutes, no proof: strings are guessed at, and what the lab, a
browser or an installed package does to a test is not seen. `make test` decides.

Standard output has the chosen files, for a shell; standard error says why. End-to-end tests are
chosen only when asked for, since they need the lab and take long.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from lab.errors import LabError, refused
from tests.e2e.subjects import SUBJECTS
from tests.import_graph import edges

ROOT = Path(__file__).resolve().parents[1]
EVERYTHING = ("Makefile", "pyproject.toml", ".ci/run", "requirements*.txt", "requirements*.in")
"""What all is built and run with, in the repository's root."""
UPSTREAM = "origin/main"
_SHOWN = 4
"""How many files of a chain of reasons are shown: the first, and the last of them."""


@dataclass(frozen=True)
class Choice:
    """The tests that a change affects.

    Attributes:
        reasons: Test file -> the files from it to the one that changed.
        everything: What changed that may affect every test.
    """

    reasons: Mapping[str, Sequence[str]]
    everything: Sequence[str]

    def files(self, *, e2e: bool) -> list[str]:
        """Return the end-to-end tests, or all the others.

        Args:
            e2e: Which of the two.
        """
        return [path for path in sorted(self.reasons) if path.startswith("tests/e2e/") == e2e]


def choose(
    texts: Mapping[str, str],
    needs: Mapping[str, Collection[str]],
    changed: Collection[str],
) -> Choice:
    """Return the tests that a change affects.

    Args:
        texts: Path -> text, of every file; that of one that is not Python may be empty. A file
            that was deleted is among them, with no text, so that who still needs it is found.
        needs: What each of them needs, one step far.
        changed: The paths of those that changed.
    """
    everything = sorted(
        path
        for path in changed
        if any(fnmatchcase(path, it) and path.count("/") == it.count("/") for it in EVERYTHING)
    )
    toward = _toward(needs, changed)
    reasons: dict[str, Sequence[str]] = {}
    for path in texts:
        if not path.startswith("tests/") or not fnmatchcase(PurePosixPath(path).name, "test_*.py"):
            continue
        if path in toward and texts[path]:
            chain = [path]
            while (following := toward[chain[-1]]) is not None:
                chain.append(following)
            reasons[path] = chain
        elif everything and texts[path]:
            reasons[path] = [path, everything[0]]
    return Choice(reasons, everything)


def _toward(
    needs: Mapping[str, Collection[str]], changed: Collection[str]
) -> dict[str, str | None]:
    """Return, for every file that needs a changed one, the next on the shortest way to it."""
    needed_by: dict[str, list[str]] = {}
    for path, others in sorted(needs.items()):
        for other in others:
            needed_by.setdefault(other, []).append(path)
    toward: dict[str, str | None] = dict.fromkeys(sorted(changed))
    waiting = deque(toward)
    while waiting:
        path = waiting.popleft()
        for other in needed_by.get(path, []):
            if other not in toward:
                toward[other] = path
                waiting.append(other)
    return toward


def told(choice: Choice, since: str, changed: Collection[str], *, e2e: bool) -> list[str]:
    """Return the lines that say what is chosen and why.

    Args:
        choice: What is affected.
        since: The commit, and why that one.
        changed: What changed.
        e2e: Whether the end-to-end tests are chosen too.
    """
    lines = [f"Changed since {since}: {_counted(len(changed), 'file')}"]
    if choice.everything:
        lines.append(
            f"Everything may be affected, for {', '.join(choice.everything)} changed; "
            "`make test` decides"
        )
    here, on_the_lab = choice.files(e2e=False), choice.files(e2e=True)
    every = "all " if choice.everything else ""
    lines.append(f"Chosen: {every}{_counted(len(here), 'file')} of unit and integration tests")
    lines += [] if every else [_reason(choice.reasons[path]) for path in here]
    if on_the_lab:
        aside = "chosen" if e2e else "not run; `make affected e2e=1` runs them, too"
        lines.append(f"End to end, {aside}: {every}{_counted(len(on_the_lab), 'file')}")
        lines += [] if every else [_reason(choice.reasons[path]) for path in on_the_lab]
    return lines


def _reason(chain: Sequence[str]) -> str:
    path, *others = chain
    if not others:
        return f"  {path}: changed itself"
    shown = others if len(others) <= _SHOWN else [others[0], "...", *others[-2:]]
    return f"  {path}: needs {' > '.join(shown)}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def start(root: Path, since: str) -> tuple[str, str]:
    """Return the commit to compare with, and words for it.

    Args:
        root: The repository.
        since: What a person named; empty for the merge base with the upstream's main branch or,
            where there is none or it is this very commit, the commit before.

    Raises:
        LabError: There is no such commit.
    """
    if since:
        if found := _commit(root, since):
            return found, since
        raise refused(
            f"since={since} names no commit",
            "git knows none of that name here",
            "make affected since=HEAD~3, or leave since= out",
        )
    base = _git(root, "merge-base", "HEAD", UPSTREAM)
    if base is not None and base.strip() != _commit(root, "HEAD"):
        return base.strip(), f"{base.strip()[:10]} (where this left {UPSTREAM})"
    if before := _commit(root, "HEAD~1"):
        return before, f"{before[:10]} (the commit before)"
    raise refused(
        "there is no commit to compare with",
        f"neither {UPSTREAM} nor a commit before this one is here",
        "make affected since=COMMIT",
    )


def changes(root: Path, commit: str) -> list[str]:
    """Return the paths that differ from a commit, with what is not committed and not even added.

    Args:
        root: The repository.
        commit: The commit.
    """
    differing = _git(root, "diff", "--name-only", "--no-renames", "-z", commit) or ""
    added = _git(root, "ls-files", "--others", "--exclude-standard", "-z") or ""
    return sorted({path for path in (differing + added).split("\0") if path})


def read(root: Path, changed: Collection[str]) -> dict[str, str]:
    """Return the text of every file, and nothing for what was deleted or is not Python.

    Args:
        root: The repository.
        changed: Paths that may have been deleted.
    """
    listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z") or ""
    paths = {path for path in listed.split("\0") if path} | set(changed)
    return {
        path: (root / path).read_text(encoding="utf-8")
        if path.endswith(".py") and (root / path).is_file()
        else ""
        for path in sorted(paths)
    }


def _commit(root: Path, name: str) -> str | None:
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return found.strip() if found else None


def _git(root: Path, *words: str) -> str | None:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else None


def main() -> None:
    """Print the chosen files, and say why they are chosen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--since", default="", help="the commit to compare with")
    parser.add_argument("--e2e", action="store_true", help="choose the end-to-end tests, too")
    words = parser.parse_args()
    try:
        commit, since = start(ROOT, words.since)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.code) from None
    changed = changes(ROOT, commit)
    texts = read(ROOT, changed)
    choice = choose(texts, edges(texts, SUBJECTS), changed)
    sys.stderr.write("\n".join([*told(choice, since, changed, e2e=words.e2e), ""]))
    files = [*choice.files(e2e=False), *(choice.files(e2e=True) if words.e2e else [])]
    sys.stdout.write("".join(f"{path}\n" for path in files))


if __name__ == "__main__":
    main()
