"""The packages of `aegis_deploy`: so few modules in each that a reader finds one in two guesses."""

from __future__ import annotations

from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "aegis_deploy"
MOST = 16
ONE_EACH = {"cli/commands"}
"""A module for each command, by its name."""
PACKAGES = {
    str(it.parent.relative_to(PACKAGE))
    for it in PACKAGE.rglob("__init__.py")
    if it.parent != PACKAGE
}


@pytest.mark.parametrize("package", sorted(PACKAGES - ONE_EACH))
def test_a_package_has_no_more_modules_than_a_reader_looks_through(package: str) -> None:
    modules = sorted(
        it.stem for it in PACKAGE.joinpath(package).glob("*.py") if it.stem != "__init__"
    )
    assert 0 < len(modules) <= MOST, f"a package of its own for some of {', '.join(modules)}"
