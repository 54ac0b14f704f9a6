"""The one place the lab starts short-lived programs, and the one wait it uses."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab.errors import LabError

TAIL_LINES = 15
FREE_SPACE = "free some disk space (`make down purge=1` frees the lab's), then `make up`"


def run(
    argv: Sequence[str | Path],
    *,
    what: str,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
    next_step: str = "",
) -> str:
    """Run a program to its end and return what it wrote to standard output.

    Args:
        argv: Program and arguments; never through a shell.
        what: What is being done, for the error: "make the network namespace".
        timeout: Seconds until it is ended.
        env: The whole environment of the program; None hands on ours.
        cwd: Where it runs.
        stdin: Text for its standard input.
        next_step: What a person should type when it fails.

    Raises:
        LabError: It cannot be started, did not end in time, or exited non-zero; the error
            carries the last lines of its output.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=_with_system_programs(os.environ if env is None else env),
            cwd=cwd,
            input=stdin,
        )
    except FileNotFoundError as error:
        gone = f"{cwd} does not exist" if cwd is not None and not cwd.is_dir() else ""
        why = gone or f"{words[0]} is not installed ({error})"
        raise _failed(what, why, next_step) from error
    except subprocess.TimeoutExpired as error:
        written = (error.stderr or error.stdout or b"").decode(errors="replace").strip()
        why = f"{words[0]} did not end within {timeout:.0f} s"
        raise _failed(what, f"{why}\n{tail(written)}".strip(), next_step) from error
    except OSError as error:
        raise _failed(what, f"{words[0]}: {error.strerror or error}", next_step) from error
    if done.returncode != 0:
        output = tail(done.stderr.strip() or done.stdout.strip())
        why = f"{words[0]} exited with {done.returncode}"
        raise _failed(what, f"{why}\n{output}" if output else why, next_step)
    return done.stdout


def _with_system_programs(env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose PATH has the directories of root's own programs.

    A plain `su` leaves them out.
    """
    known = env.get("PATH", "").split(os.pathsep)
    added = [name for name in ("/usr/sbin", "/sbin") if name not in known]
    return {**env, "PATH": os.pathsep.join([*known, *added])}


def tail(text: str, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a text, as many as a person reads in an error."""
    return "\n".join(text.splitlines()[-lines:])


def disk_is_full(text: str) -> bool:
    """Return whether a program's output names a full disk; Go writes it in small letters."""
    return os.strerror(errno.ENOSPC).lower() in text.lower()


def _failed(what: str, why: str, next_step: str) -> LabError:
    if disk_is_full(why):
        next_step = FREE_SPACE
    return LabError(
        what=f"could not {what}",
        why=why,
        state="what was started before this still runs",
        next=next_step or "`make up` again once the cause is gone; `make down` removes the lab",
    )


def wait_until(
    ready: Callable[[], bool],
    *,
    what: str,
    timeout: float,
    failed: Callable[[], str | None] = lambda: None,
    detail: Callable[[], str] = lambda: "",
    interval: float = 0.1,
) -> float:
    """Wait until a condition holds and return the seconds it took.

    Args:
        ready: Answers whether the condition holds.
        what: The condition in words, for the error: "the API server to answer".
        timeout: Seconds until the wait fails.
        failed: Returns why the condition can no longer come true, or None.
        detail: Returns what is known about the cause, asked when the time is up.
        interval: Seconds between looks.

    Raises:
        LabError: `failed` gave a reason, or the time is up.
    """
    start = time.monotonic()
    while True:
        if ready():
            return time.monotonic() - start
        reason = failed()
        if reason is None and time.monotonic() - start > timeout:
            reason = "\n".join(filter(None, [f"it did not within {timeout:.0f} s", detail()]))
        if reason is not None:
            raise LabError(
                what=f"waited in vain for {what}",
                why=reason,
                state="what was started before this still runs",
                next="`make down` and `make up`; if it stays, the log named above says more",
            )
        time.sleep(interval)
