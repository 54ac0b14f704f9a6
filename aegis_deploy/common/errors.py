"""What `aegis` tells a person when something is wrong, and the codes it exits with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every `aegis` command, as its `--help` and the README list them."""

    OK = 0
    """What was asked for is done."""
    NOT_ROLLED_BACK = 1
    """It failed and the stack is *not* back at a verified release: a person is needed."""
    USAGE = 2
    """The command line is wrong; nothing was done."""
    REFUSED = 3
    """Refused before any change; the message says why."""
    ROLLED_BACK = 4
    """The release failed and the last verified one is restored."""
    GATE_FAILED = 5
    """A gate that was run on its own did not pass; nothing was changed."""
    DIFFERENT = 6
    """Something that was to be the same is not (drift, `--expect-no-changes`)."""
    INTERRUPTED = 130
    """Stopped by a signal; `aegis recover` says what state things are in."""


NOTHING = "nothing was changed"


@dataclass(kw_only=True)
class AegisError(Exception):
    """A failure a person can act on.

    Attributes:
        what: What failed, one line.
        why: The cause with its evidence; may have several lines.
        state: What state the stack and the service are in now.
        next: What to type next.
        code: The exit code.
        details: What else a program should know: the rest of the JSON document.
        again: Whether it may go well when it is gone on with later, although something was
            changed: what was asked for did not answer, or could not be read.
    """

    what: str
    why: str = ""
    state: str = NOTHING
    next: str = ""
    code: ExitCode = ExitCode.REFUSED
    details: Mapping[str, object] = field(default_factory=dict)
    again: bool = False

    def __str__(self) -> str:
        """Return the message in the project's one form: error, why, state, next."""
        lines = [f"error: {self.what}"]
        for label, text in (("why:", self.why), ("state:", self.state), ("next:", self.next)):
            first, *rest = text.splitlines() or [""]
            if text:
                lines.append(f"  {label:<6} {first}")
                lines.extend(f"         {line}" for line in rest)
        return "\n".join(lines)
