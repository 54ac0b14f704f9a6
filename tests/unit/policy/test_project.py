"""What the rules learn of the project, and what Kubernetes' numbers mean."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from policy.aegis_policy.project import production_replicas
from policy.aegis_policy.quantities import quantity, share
from policy.aegis_policy.resources import Resource, Secret, Stack
from tests.rendering import ROOT


def test_reads_the_projects_own_size() -> None:
    written = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert production_replicas(ROOT) == written["aegis:productionReplicas"]


@pytest.mark.parametrize("line", ["  a-b:productionReplicas: 6", '  "a:productionReplicas": "6"'])
def test_reads_it_however_it_is_written(line: str, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text(f"name: a\nconfig:\n{line}\n")
    assert production_replicas(tmp_path) == 6


def test_reads_it_from_the_packs_own_directory(tmp_path: Path) -> None:
    pack = tmp_path / "policy"
    pack.mkdir()
    (tmp_path / "Pulumi.yaml").write_text("config:\n  a:productionReplicas: 6\n")
    assert production_replicas(pack) == 6
    assert production_replicas(ROOT / "policy") == production_replicas(ROOT)


def test_knows_when_it_is_not_there(tmp_path: Path) -> None:
    assert production_replicas(tmp_path) is None
    (tmp_path / "Pulumi.yaml").write_text("config:\n  # a:productionReplicas: 6\n")
    assert production_replicas(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "amount"),
    [("100m", "0.1"), (1, "1"), ("1.5Gi", "1610612736"), ("2k", "2000"), ("1e3", "1000")],
)
def test_reads_amounts(text: object, amount: str) -> None:
    assert quantity(text) == Decimal(amount)


@pytest.mark.parametrize("text", ["", "many", "1x", None, "m"])
def test_knows_what_is_no_amount(text: object) -> None:
    assert quantity(text) is None


@pytest.mark.parametrize(
    ("value", "of", "count"), [(2, 4, 2), ("2", 4, 2), ("25%", 4, 1), ("30%", 4, 2), ("x", 4, None)]
)
def test_counts_pods(value: object, of: int, count: int | None) -> None:
    assert share(value, of) == count


def test_a_secret_never_shows_itself() -> None:
    secret = Secret("hunter22")
    held = Resource("urn:pulumi:dev::aegis::a:b:C::n", "a:b:C", {"x": secret})
    assert "hunter22" not in f"{secret!r} {held!r} {Stack().add([held])!r}"


def test_a_urn_names_stack_and_project() -> None:
    kind = "kubernetes:core/v1:Service"
    urn = f"urn:pulumi:dev::aegis::aegis:api:ApiService${kind}::web"
    service = Resource(urn, kind, {})
    assert (service.stack, service.project, service.kind, service.name) == (
        "dev",
        "aegis",
        "Service",
        "web",
    )
