"""Importing a module of a package without what the package's ``__init__`` imports.

Inside the block some packages are bare: they only know where their files are. Afterwards they are
gone again, so that a later import of them is the real one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def bare(names: tuple[str, ...], missing: str) -> Iterator[None]:
    """Make packages bare while the block runs.

    Args:
        names: The packages, the outermost first, none of which is imported yet.
        missing: What to say when they are not installed.

    Raises:
        ModuleNotFoundError: They are not installed.
    """
    spec = importlib.util.find_spec(names[0])
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(missing, name=names[0])
    root = Path(next(iter(spec.submodule_search_locations)))
    for name in names:
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = package
    try:
        yield
    finally:
        for name in names:
            sys.modules.pop(name, None)
