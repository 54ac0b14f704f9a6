"""What the command's distribution needs is what it says that it needs."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from tests.rendering import ROOT

PACKAGE = "aegis_deploy"


def imported() -> Iterator[tuple[str, str]]:
    """Every module that a file of the package imports, by its whole name, and the file."""
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name, path.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module, path.name


def plain(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-")


def test_every_library_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [it for group in project["optional-dependencies"].values() for it in group]
    declared = {plain(it) for it in (*project["dependencies"], *extras)}
    by_package = packages_distributions()
    missing = set()
    for module, file in imported():
        top = module.partition(".")[0]
        if top in sys.stdlib_module_names or top == PACKAGE:
            continue
        if not {plain(it) for it in by_package.get(top, ())} & declared:
            missing.add(f"{file}: {top}")
    assert missing == set()
    assert "pulumi" in {module for module, _ in imported()}
