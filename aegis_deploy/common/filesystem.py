"""Which file system a directory is on: one of this machine alone, or one that others share."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_POINT = 4
"""Where a line of the list of mounts names what it is mounted on."""
_OWN = frozenset(
    {"bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs"}
    | {"reiserfs", "tmpfs", "vfat", "xfs", "zfs"}
)
"""File systems that one kernel writes to. Any other may be shared, or nobody here knows it."""


def kind(path: Path, mounts: Path = _MOUNTS) -> str:
    """Name the file system that a path is on, as the kernel calls it; empty where nobody says.

    Args:
        path: The path; it need not be there.
        mounts: Where the kernel lists what is mounted
            (https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html).
    """
    try:
        lines = mounts.read_text().splitlines()
    except OSError:
        return ""
    real = os.path.realpath(path)
    found, longest = "", -1
    for line in lines:
        mounted, separator, described = line.partition(" - ")
        fields = mounted.split()
        if not separator or len(fields) <= _POINT:
            continue
        point = _unescaped(fields[_POINT])
        # Of several on one point the last one is seen.
        if _is_below(real, point) and len(point) >= longest:
            found, longest = described.split()[0], len(point)
    return found


def is_own(path: Path, mounts: Path = _MOUNTS) -> bool:
    """Return whether only processes of this very kernel can have written what is there."""
    return kind(path, mounts) in _OWN


def _is_below(path: str, point: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")


def _unescaped(text: str) -> str:
    """A name as it is: the list writes blanks, tabs, newlines and backslashes in octal."""
    for code, sign in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, sign)
    return text
