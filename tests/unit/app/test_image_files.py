"""What of the service gets into its image: `.dockerignore` names each of its directories."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_directory_of_the_service_is_named() -> None:
    # Docker's own builder (moby's `archive.TarWithOptions`) passes over a directory that is left
    # out unless an exception names it to the letter: `!app/**/*.py` brings nothing of it back.
    named = set((ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines())
    directories = {
        it.parent.relative_to(ROOT)
        for it in (ROOT / "app").rglob("*.py")
        if "__pycache__" not in it.parts
    }
    assert {f"!{it}/*.py" for it in directories} <= named
