"""What is found wrong with the ways in from outside, before anything is changed. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from aegis_deploy.common.errors import AegisError


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Why a route will lead nowhere.

    Attributes:
        why: It, in one line.
        next: What would mend it.
    """

    why: str
    next: str


@dataclass(frozen=True, kw_only=True)
class RouteFindings:
    """What was found.

    Attributes:
        faults: What is wrong with what the update makes or changes.
        warnings: What is wrong with what is there already, what soon will be, and what is not
            known.
    """

    faults: tuple[Fault, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to say."""
        return bool(self.faults or self.warnings)

    def as_json(self) -> dict[str, object]:
        """Return them for machines."""
        return {
            "faults": [{"why": it.why, "next": it.next} for it in self.faults],
            "warnings": list(self.warnings),
        }

    def refusal(self, stack: str) -> AegisError | None:
        """Word the faults as one error; None when there is none.

        Args:
            stack: The stack's name.
        """
        if not self.faults:
            return None
        return AegisError(
            what=f"{stack} would not be reached from outside as it is declared",
            why="\n".join(it.why for it in self.faults),
            next="\n".join(dict.fromkeys(it.next for it in self.faults)),
        )
