"""Files that are written whole or not at all: whoever reads one never finds half of it."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Write a file in place of what is there; its directory must be there.

    Args:
        path: The file.
        content: All of it.

    Raises:
        OSError: It cannot be written; what was there stays, and nothing is left over.
    """
    # Two writers have a draft each. It begins with a dot: no listing takes it for a file of ours.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
