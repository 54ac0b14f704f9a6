"""Without the libraries of the extra `data`, it is said what is missing."""

from __future__ import annotations

import importlib
import importlib.util
from importlib.machinery import ModuleSpec

import pytest

import aegis_deploy.data
from aegis_deploy.common.errors import AegisError


def test_a_library_that_is_missing_is_named_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "faker" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(AegisError) as caught:
        importlib.reload(aegis_deploy.data)
    assert caught.value.why == "missing: faker"
    assert "aegis-deploy[data]" in caught.value.next
    monkeypatch.undo()
    importlib.reload(aegis_deploy.data)
