"""tests.data_check: the pipeline's look at the rules is what a person runs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from aegis_deploy.data import rules_file
from app.database.tables import METADATA
from tests import data_check
from tests.integration.databases import Database, PostgresServer
from tests.integration.servers import Cluster


def test_it_names_the_database_by_a_variable_and_never_in_an_argument(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def run(words: list[str], **more: object) -> None:
        seen.update(words=words, **more)

    monkeypatch.setattr(subprocess, "run", run)
    server = PostgresServer(Cluster(tmp_path, tmp_path, None), 5)
    data_check.checked(Database(server, "it"), tmp_path / "rules.yaml")
    assert "env:AEGIS_CHECKED_DATABASE" in seen["words"]
    assert not any("postgresql://" in it for it in seen["words"])
    assert seen["env"]["AEGIS_CHECKED_DATABASE"].startswith("postgresql://it:")


def test_the_services_rules_name_each_of_its_tables() -> None:
    said = rules_file.load(data_check.RULES)
    assert {*METADATA.tables} - {*said.tables} == {"record_tags"}
    # All columns of which refer to others, whose rules they have.
    assert all(it.foreign_keys for it in METADATA.tables["record_tags"].columns)


def test_the_pipeline_runs_it_for_a_pull_request() -> None:
    workflow = yaml.safe_load((data_check.ROOT / ".github/workflows/ci-cd.yaml").read_text())
    job = workflow["jobs"]["data-check"]
    assert job["if"] == "github.event_name == 'pull_request'"
    assert [it.get("run") for it in job["steps"]][-1] == "make data-check"
