"""What the lab tells a person when something is wrong, and the codes it exits with."""

from __future__ import annotations

from dataclasses import dataclass

EXIT_OK = 0
EXIT_FAILED = 1
"""Something broke on the way; what was started is still there, `make down` removes it."""
EXIT_USAGE = 2
EXIT_REFUSED = 3
"""The machine or the settings do not fit; nothing was changed."""
EXIT_INTERRUPTED = 130


@dataclass(kw_only=True, eq=False)
class LabError(Exception):
    """A failure a person can act on.

    Attributes:
        what: What failed, one line.
        why: The cause, as far as it is known; may have several lines.
        state: What state the lab is in now.
        next: What to type or to change next.
        code: The exit code, one of the `EXIT_*` constants of this module.
    """

    what: str
    why: str
    state: str = "nothing was changed"
    next: str = ""
    code: int = EXIT_FAILED

    def __str__(self) -> str:
        """Return the message in the project's one form: error, why, state, next."""
        rows = [("why:", self.why), ("state:", self.state), ("next:", self.next)]
        lines = [f"error: {self.what}"]
        for label, text in rows:
            if not text:
                continue
            first, *rest = text.splitlines()
            lines.append(f"  {label:<6} {first}")
            lines.extend(f"         {line}" for line in rest)
        return "\n".join(lines)


def refused(what: str, why: str, fix: str) -> LabError:
    """Return the error for a machine or setting that does not fit, found before any change.

    Args:
        what: What does not fit.
        why: What was found and what is needed.
        fix: What to type or change.
    """
    return LabError(what=what, why=why, next=fix, code=EXIT_REFUSED)
