"""What a person may choose of how a release is restored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Choices, which hold for every attempt of one rollback.

    Attributes:
        keep: Secrets whose current value is kept: paths in a resource's inputs, or their ends.
        restore_providers: Whether the release's providers connect as they did then.
        allow_data_loss: Whether what holds data goes as well, when the release does not have it,
            and may be replaced when it is another now.
    """

    keep: Sequence[str] = ()
    restore_providers: bool = False
    allow_data_loss: bool = False


NONE = Choices()
