"""There is one lab a machine: names of namespace, cgroup and link are the machine's.

A second one, with another state directory, would end the first one's programs; so the first
leaves a note where it is, and the second is refused while the first runs.
"""

from __future__ import annotations

from pathlib import Path

from lab import cgroup
from lab.errors import refused
from lab.settings import NAME, LabSettings

NOTE = Path(f"/run/{NAME}.owner")


def require_own(settings: LabSettings) -> None:
    """Check that no lab of another state directory runs on this machine.

    Raises:
        LabError: One does; the message says which.
    """
    try:
        owner = NOTE.read_text().strip()
    except OSError:
        return
    if owner != str(settings.state) and cgroup.members():
        raise refused(
            "another lab runs on this machine",
            f"its state is in {owner}, this one's in {settings.state}",
            f"AEGIS_LAB_DIR={owner} make up uses that one, AEGIS_LAB_DIR={owner} make down ends it",
        )


def claim(settings: LabSettings) -> None:
    """Note that the lab that runs is this one."""
    NOTE.write_text(f"{settings.state}\n")


def release() -> None:
    """Take the note away; the lab is down."""
    NOTE.unlink(missing_ok=True)
