"""A lab that exists only in a temporary directory."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from lab.settings import BENCHMARK_RANGE, Addresses, LabSettings
from lab.toolchain import KUBE, PULUMI, STORAGE, Toolchain


@pytest.fixture
def lab(tmp_path: Path) -> LabSettings:
    """Settings whose every path lies in the test's directory; the state directory exists."""
    settings = LabSettings(
        checkout=tmp_path / "checkout",
        cache=tmp_path / "cache",
        state=tmp_path / "state",
        addresses=Addresses(network=IPv4Network(BENCHMARK_RANGE)),
    )
    settings.checkout.mkdir()
    settings.state.mkdir()
    return settings


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str, str], Path]:
    """Return a maker of small shell programs: directory and name, then the body."""

    def write(name: str, body: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def nothing_installed(lab: LabSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person with an empty home directory and PATH, and a checkout with the tools' modules."""
    (tmp_path / "path").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PULUMI_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(Toolchain, "language_executor", lambda _: Path("/cache/executor"))
    for tool in (PULUMI, KUBE, STORAGE):
        (lab.checkout / "lab" / "tools" / tool.module).mkdir(parents=True)
