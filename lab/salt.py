"""Keeps the lab's encryption salt out of git while Pulumi finds it in the stack files.

`pulumi stack init` writes an `encryptionsalt` into `Pulumi.<stack>.yaml`. For a team's own
stack that line belongs into git; the lab's, which goes with a passphrase that only this
machine has, does not. So while the lab is up the line stands in the working tree, and a clean
filter in the checkout's own git configuration (not in a committed file) drops exactly that
line, so that `git status` and `git diff` show a person's changes and nothing of ours.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import yaml

from lab.command import run
from lab.settings import LabSettings

KEY = "encryptionsalt"
FILTER = "aegis-lab-salt"
OTHER_SECRETS = (b"encryptionsalt:", b"encryptedkey:", b"secretsprovider:")
"""How a line begins by which a stack file says that its secrets are somebody's already."""
SCRATCH_STACK = "salt"


def stack_files(settings: LabSettings) -> list[Path]:
    """Return the stacks' settings files of the checkout."""
    return sorted(settings.checkout.glob("Pulumi.*.yaml"))


def create(settings: LabSettings, pulumi: Path, environment: dict[str, str]) -> str:
    """Return the lab's salt; Pulumi itself makes it, once a lab, in a scratch project.

    Args:
        settings: The lab.
        pulumi: The CLI.
        environment: Its environment; the passphrase file among it.

    Raises:
        LabError: The CLI fails.
    """
    made = kept(settings)
    if made is not None:
        return made
    with tempfile.TemporaryDirectory(dir=settings.state) as directory:
        scratch = Path(directory)
        (scratch / "backend").mkdir()
        (scratch / "Pulumi.yaml").write_text("name: salt\nruntime: python\n")
        run(
            [pulumi, "stack", "init", SCRATCH_STACK, "--non-interactive"],
            what="make the lab's encryption salt",
            cwd=scratch,
            env={**environment, "PULUMI_BACKEND_URL": f"file://{scratch}/backend"},
        )
        text = (scratch / f"Pulumi.{SCRATCH_STACK}.yaml").read_text()
    salt = str(yaml.safe_load(text)[KEY])
    partial = _file(settings).with_suffix(".partial")
    partial.write_text(salt + "\n")
    partial.replace(_file(settings))
    return salt


def kept(settings: LabSettings) -> str | None:
    """Return the lab's salt; None before it is made."""
    file = _file(settings)
    return file.read_text().strip() if file.exists() else None


def _file(settings: LabSettings) -> Path:
    return settings.state / "salt"


def found_in(path: Path) -> str | None:
    """Return the salt that a stack file holds, None when it holds none."""
    if not path.exists():
        return None
    for row in path.read_text().splitlines():
        key, _, value = row.partition(":")
        if key == KEY:
            return value.strip()
    return None


def former(settings: LabSettings) -> str | None:
    """Return the salt that the checkout's filter drops now: this lab's or one that is gone."""
    line = _filtered_line(settings)
    return line.partition(":")[2].strip() or None


def attach(settings: LabSettings, salt: str) -> None:
    """Put the salt into every stack file that has none, and the filter into git.

    A stack file with a salt or a secrets provider of its own belongs to somebody's stack and is
    left alone; one with the salt of a lab that is gone (its state was deleted by hand) is not.

    Args:
        settings: The lab.
        salt: The lab's salt, as `create` returns it.
    """
    line = _line(salt)
    _remember(settings)
    _drop_line(settings, _filtered_line(settings))
    git_directory = _git_directory(settings)
    if git_directory is not None:
        # grep's 1 says that nothing is left; on a real failure git keeps the text as it is.
        _git(settings, "config", f"filter.{FILTER}.clean", f"grep -Fxv '{line}' || test $? = 1")
        attributes = git_directory / "info" / "attributes"
        known = attributes.read_text().splitlines() if attributes.exists() else []
        attribute = _attribute(settings)
        if attribute not in known:
            attributes.parent.mkdir(exist_ok=True)
            attributes.write_text("\n".join([*known, attribute, ""]))
    for path in stack_files(settings):
        text = path.read_bytes()
        if not any(row.startswith(OTHER_SECRETS) for row in text.splitlines()):
            path.write_bytes(text + (b"" if text.endswith(b"\n") else b"\n") + f"{line}\n".encode())
    _refresh_index(settings)


def detach(settings: LabSettings) -> None:
    """Take the lab's salt and filter out of this checkout and of others that used the lab."""
    attached = _attached(settings)
    for checkout in {settings.checkout, *attached}:
        if checkout.is_dir():
            _detach_from(replace(settings, checkout=checkout))
    attached_file(settings).unlink(missing_ok=True)


def _detach_from(settings: LabSettings) -> None:
    own = kept(settings)
    _drop_line(settings, _filtered_line(settings))
    if own is not None:
        _drop_line(settings, _line(own))
    git_directory = _git_directory(settings)
    if git_directory is None:
        return
    attributes = git_directory / "info" / "attributes"
    if attributes.exists():
        rows = attributes.read_text().splitlines()
        left = [row for row in rows if row != _attribute(settings)]
        if not left:
            attributes.unlink()
        elif left != rows:
            attributes.write_text("".join(f"{row}\n" for row in left))
    _git(settings, "config", "--remove-section", f"filter.{FILTER}")
    _refresh_index(settings)


def attached_file(settings: LabSettings) -> Path:
    """Return the list of the checkouts whose stack files hold the lab's salt."""
    return settings.state / "attached"


def _attached(settings: LabSettings) -> list[Path]:
    known = attached_file(settings)
    return [Path(row) for row in known.read_text().splitlines()] if known.exists() else []


def _remember(settings: LabSettings) -> None:
    known = _attached(settings)
    if settings.checkout not in known:
        rows = [*known, settings.checkout]
        attached_file(settings).write_text("".join(f"{row}\n" for row in rows))


def _filtered_line(settings: LabSettings) -> str:
    """Return the line that the checkout's filter drops now; empty when there is no filter."""
    command = _git(settings, "config", "--get", f"filter.{FILTER}.clean")
    return command.split("'")[1] if command.count("'") == 2 else ""  # noqa: PLR2004


def _drop_line(settings: LabSettings, line: str) -> None:
    for path in stack_files(settings) if line else []:
        rows = path.read_bytes().splitlines(keepends=True)
        left = [row for row in rows if row.strip() != line.encode()]
        if left != rows:
            path.write_bytes(b"".join(left))


def _refresh_index(settings: LabSettings) -> None:
    """Let git take note of the files' new size where their filtered content is unchanged.

    git takes a file whose size is not the one in its index for modified without asking the
    filter. A file with a person's own change is left as it is.
    """
    for path in stack_files(settings):
        if _git_succeeds(settings, "diff", "--quiet", "--", path.name):
            _git(settings, "update-index", "--", path.name)


def _line(salt: str) -> str:
    return f"{KEY}: {salt}"


def _attribute(settings: LabSettings) -> str:
    """Return git's line about the stack files; the checkout may lie below its repository's top."""
    below = _git(settings, "rev-parse", "--show-prefix")
    pattern = f"/{below}Pulumi.*.yaml"
    return f'"{pattern}" filter={FILTER}' if " " in pattern else f"{pattern} filter={FILTER}"


def _git_directory(settings: LabSettings) -> Path | None:
    """Return the checkout's git directory (of all its work trees); None without git."""
    found = _git(settings, "rev-parse", "--git-common-dir")
    return settings.checkout / found if found else None


def _git(settings: LabSettings, *words: str) -> str:
    """Return what git printed, nothing when it failed.

    A checkout that is no git repository (an unpacked archive) is fine: then git says no.
    """
    done = _run_git(settings, *words)
    return done.stdout.strip() if done is not None and done.returncode == 0 else ""


def _git_succeeds(settings: LabSettings, *words: str) -> bool:
    done = _run_git(settings, *words)
    return done is not None and done.returncode == 0


def _run_git(settings: LabSettings, *words: str) -> subprocess.CompletedProcess[str] | None:
    # Root may work on another user's checkout; without this git would say there is none.
    argv = ["git", "-c", "safe.directory=*", *words]
    try:
        return subprocess.run(
            argv, cwd=settings.checkout, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
