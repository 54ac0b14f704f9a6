"""Writes the lab's configuration files."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all, and leave it alone when it says just that already.

    Some programs (kube-proxy) end themselves when their configuration is written anew, also
    with the same content.

    Args:
        path: The file; its directory is made.
        text: What it is to say.
    """
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
