"""Files that are written whole or not at all: whoever reads one never finds half of it.

Not after a loss of power either (https://man7.org/linux/man-pages/man2/fsync.2.html).
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file in place of what is there; its directory must be there.

    Args:
        path: The file.
        content: All of it.

    Raises:
        OSError: It cannot be written; what was there stays, and nothing is left over.
    """
    path = path.resolve()  # A link goes on leading to the file that it leads to.
    if path.exists() and not path.is_file():
        path.write_bytes(content)  # A device or a pipe, which must not become a file.
        return
    # Two writers have a draft each. It begins with a dot: no listing takes it for a file of ours.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with draft.open("wb") as file:
            with suppress(FileNotFoundError):
                shutil.copymode(path, draft)
            file.write(content)
            file.flush()
            # Else a machine that loses its power may have the name, and nothing in it.
            os.fsync(file.fileno())
        draft.replace(path)
        keep_name(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def keep_name(directory: Path) -> None:
    """Have the disk keep the names of the files in a directory, where it can be told to.

    Args:
        directory: The directory.
    """
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
