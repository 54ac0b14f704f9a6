"""Which cluster is meant: a kubeconfig by its place or itself, one or several."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.kubernetes.client import connect


def kubeconfig(server: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": {"token": "t" * 400}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }


@pytest.mark.parametrize("indent", [None, 2])
def test_itself_on_one_line_or_many(indent: int | None) -> None:
    text = json.dumps(kubeconfig("https://itself:6443"), indent=indent)
    assert connect(kubeconfig=text).address == "https://itself:6443"


def test_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(json.dumps(kubeconfig("https://there:6443")))
    assert connect(kubeconfig=str(tmp_path / "config")).address == "https://there:6443"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert connect(kubeconfig="~/config").address == "https://there:6443"


@pytest.mark.parametrize("place", [0, 1])
def test_of_several_places_those_that_are_there_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    (tmp_path / "config").write_text(json.dumps(kubeconfig("https://there:6443")))
    places = [str(tmp_path / "none")]
    places.insert(place, str(tmp_path / "config"))
    text = os.pathsep.join(places)
    monkeypatch.setenv("KUBECONFIG", text)
    assert connect().address == "https://there:6443"


def test_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(AegisError) as refused:
        connect(kubeconfig=str(tmp_path / "none"))
    assert "kubeconfig" in refused.value.what


def test_of_several_that_are_there_the_first_of_a_name_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text(json.dumps(kubeconfig(f"https://{name}:6443")))
    places = os.pathsep.join(str(tmp_path / name) for name in ("first", "second"))
    monkeypatch.setenv("KUBECONFIG", places)
    assert connect().address == "https://first:6443"
