"""`aegis data refresh`: what the command line comes to."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from aegis_deploy.cli.commands import data_refresh
from aegis_deploy.cli.main import main
from aegis_deploy.common.console import Output
from aegis_deploy.data.data_set.on_disk import Directory
from aegis_deploy.flows import refresh as flow
from aegis_deploy.flows.refresh import RefreshReport, RefreshRequest


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RefreshRequest]:
    """What is asked of the flow, which does nothing."""
    found: list[RefreshRequest] = []

    def refresh(_: object, request: RefreshRequest) -> RefreshReport:
        found.append(request)
        return RefreshReport(name="a" * 64, loaded=False)

    monkeypatch.setattr(data_refresh, "open_flow", lambda *_, **__: None)
    monkeypatch.setattr(flow, "refresh", refresh)
    return found


def run(*words: str) -> tuple[int, str]:
    """Run it; return its exit code, and what it told."""
    told = io.StringIO()
    code = main(["data", "refresh", *words], output=Output(results=told, messages=told))
    return code, told.getvalue()


def test_the_newest_below_a_place_is_taken(tmp_path: Path, asked: list[RefreshRequest]) -> None:
    for name, day in (("one", 27), ("two", 29), ("three", 28)):
        (tmp_path / name).mkdir()
        said = json.dumps({"made": f"2026-11-{day}T00:00:00+00:00"})
        (tmp_path / name / "manifest.json").write_text(said)
    code, told = run("--from", str(tmp_path), "--newest")
    assert code == 0, told
    assert [it.source for it in asked] == [Directory(tmp_path / "two")]
    assert f"the newest data set is in {tmp_path}/two" in told
    assert run("--from", str(tmp_path / "one"))[0] == 0
    assert asked[1].source == Directory(tmp_path / "one")


def test_the_newest_of_nothing_is_refused(asked: list[RefreshRequest], tmp_path: Path) -> None:
    code, told = run("--newest")
    assert (code, "--newest needs --from" in told) == (2, True)
    code, told = run("--from", str(tmp_path), "--newest")
    assert (code, "there is no data set below" in told) == (3, True)
    assert asked == []
