"""What `aegis drift` shows: every difference, nothing of it markup, never too much for an issue."""

from __future__ import annotations

import html
import re

import pytest

from ops.commands.drift import Drift
from ops.drift import ADDED, CHANGED, Drifted, Field
from tests.unit.ops.hostile import HOSTILE, MENTION, rows_of, tags, without_code

PDB = Drifted("PodDisruptionBudget", "shop", "api", "urn", gone=True)
GITHUB_TAKES = 65_536


def deployment(*fields: Field) -> Drifted:
    return Drifted("Deployment", "shop", "api", "urn", fields=fields)


def test_each_field_is_told_with_both_values_and_who_and_when() -> None:
    field = Field("spec.replicas", CHANGED, "2", "5", "kubectl", "2026-01-02T03:04:05Z")
    drift = Drift("staging", 9, (deployment(field), PDB))
    text = "\n".join(drift.lines())
    assert "2 of 9 objects drifted" in text
    assert "~ spec.replicas: 2 -> 5   by kubectl, 2026-01-02T03:04:05Z" in text
    assert "PodDisruptionBudget shop/api: deleted" in text
    for part in ("<code>spec.replicas</code>", "kubectl 2026", "**deleted**"):
        assert part in drift.markdown()


def test_what_may_not_be_read_is_named_and_is_no_drift() -> None:
    drift = Drift("staging", 8, unread=("Secret shop/api",))
    text = "\n".join(drift.lines())
    assert "no drift; 8 objects" in text
    assert "not compared, for it may not be read: Secret shop/api" in text
    assert "<code>Secret shop/api</code>" in drift.markdown()
    assert drift.as_json()["unread"] == ["Secret shop/api"]
    assert drift.as_json()["drift"] is False


def test_an_issue_has_room_for_it_however_much_it_is() -> None:
    fields = [Field(f"metadata.labels.l{i}", ADDED, "", "x" * 150, "me") for i in range(2000)]
    text = Drift("staging", 1, (deployment(*fields),)).markdown()
    assert len(text) < GITHUB_TAKES
    assert "metadata.labels.l0<" in text
    assert re.search(r"_\d+ more_", text)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_comes_from_the_cluster_is_markup(hostile: str) -> None:
    field = Field(hostile, CHANGED, hostile, hostile, hostile, hostile)
    drift = Drift(hostile, 1, (deployment(field),), unread=(hostile,))
    text = "\n" + drift.markdown()
    assert tags(text) <= {"code"}
    assert not MENTION.search(html.unescape(without_code(text)))
    assert {row.replace("\\|", "").count("|") for row in rows_of(text)} == {6}
