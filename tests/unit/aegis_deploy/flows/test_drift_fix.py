"""What `aegis drift` shows: every difference, nothing of it markup, never too much for an issue."""

from __future__ import annotations

import html
import re

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.detection import ADDED, CHANGED, Drifted, FieldChange
from aegis_deploy.drift.forgotten import Forgotten
from aegis_deploy.flows.context import FlowContext
from aegis_deploy.flows.drift import drift_fix
from aegis_deploy.flows.drift.drift_fix import put_back
from aegis_deploy.flows.drift.drift_report import DriftReport, find_drift
from aegis_deploy.operations.update_runner import Ran
from aegis_deploy.registry.image_registry import Presence
from aegis_deploy.stack.checkpoint import outline
from tests.unit.aegis_deploy.hostile import HOSTILE, MENTION, rows_of, tags, without_code
from tests.unit.aegis_deploy.stage import GOOD, PASSED, Replayed, Stage, outcome, release
from tests.unit.aegis_deploy.states import CONFIG_KIND, thing
from tests.unit.aegis_deploy.two_clusters import CONFIGS, WEST, config, standing, there

PDB = Drifted("PodDisruptionBudget", "shop", "api", "urn", gone=True)
GITHUB_TAKES = 65_536


def deployment(*fields: FieldChange) -> Drifted:
    return Drifted("Deployment", "shop", "api", "urn", fields=fields)


def test_each_field_is_told_with_both_values_and_who_and_when() -> None:
    field = FieldChange("spec.replicas", CHANGED, "2", "5", "kubectl", "2026-01-02T03:04:05Z")
    drift = DriftReport("staging", 9, (deployment(field), PDB))
    text = "\n".join(drift.lines())
    assert "2 of 9 objects drifted" in text
    assert "~ spec.replicas: 2 -> 5   by kubectl, 2026-01-02T03:04:05Z" in text
    assert "PodDisruptionBudget shop/api: deleted" in text
    for part in ("<code>spec.replicas</code>", "kubectl 2026", "**deleted**"):
        assert part in drift.markdown()


def test_what_may_not_be_read_is_named_and_is_no_drift() -> None:
    drift = DriftReport("staging", 8, unread=("Secret shop/api",))
    text = "\n".join(drift.lines())
    assert "no drift; 8 objects" in text
    assert "not compared, for it may not be read: Secret shop/api" in text
    assert "<code>Secret shop/api</code>" in drift.markdown()
    assert drift.as_json()["unread"] == ["Secret shop/api"]
    assert drift.as_json()["drift"] is False


def test_what_is_out_of_the_state_is_drift_and_says_how_to_go_on() -> None:
    lost = Forgotten(release(3), (outline(thing(CONFIG_KIND, "beta")),))
    drift = DriftReport("staging", 8, forgotten=lost)
    text = "\n".join(drift.lines())
    assert text.startswith("staging: the state lacks 1 of what was deployed")
    assert "ConfigMap shop/beta is not in the state any more, and release 3 has it" in text
    assert "aegis rollback --to 3 --stack staging" in text
    assert "ConfigMap shop/beta is not in the state any more" in drift.markdown()
    assert drift.as_json()["drift"] is True
    assert drift.as_json()["missingFromState"] == ["ConfigMap shop/beta"]


def test_an_issue_has_room_for_it_however_much_it_is() -> None:
    fields = [FieldChange(f"metadata.labels.l{i}", ADDED, "", "x" * 150, "me") for i in range(2000)]
    text = DriftReport("staging", 1, (deployment(*fields),)).markdown()
    assert len(text) < GITHUB_TAKES
    assert "metadata.labels.l0<" in text
    assert re.search(r"_\d+ more_", text)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_comes_from_the_cluster_is_markup(hostile: str) -> None:
    field = FieldChange(hostile, CHANGED, hostile, hostile, hostile, hostile)
    drift = DriftReport(hostile, 1, (deployment(field),), unread=(hostile,))
    text = "\n" + drift.markdown()
    assert tags(text) <= {"code"}
    assert not MENTION.search(html.unescape(without_code(text)))
    assert {row.replace("\\|", "").count("|") for row in rows_of(text)} == {6}


def added(name: str) -> Drifted:
    """An object to which somebody added a label."""
    live = {"metadata": {"resourceVersion": "7", "labels": {"x": "y"}}}
    label = FieldChange("metadata.labels.x", ADDED, "", "y", where=("metadata", "labels", "x"))
    return Drifted("Service", "n", name, "urn", fields=(label,), path=f"/{name}", live=live)


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    made = Stage(history=[release(1, verified=True)], restores=[Ran(outcome())])
    made.presences, made.verdicts = [Presence(GOOD, True)], [PASSED]

    def inspected(_: FlowContext) -> DriftReport:
        made.did.append("inspect")
        return DriftReport("s", 2, (added("a"), added("b")))

    monkeypatch.setattr(drift_fix, "find_drift", inspected)
    return made


def test_what_was_added_is_taken_away_under_the_claim_once_nothing_refuses(
    stage: Stage,
) -> None:
    put_back(stage.flow, 0)
    assert stage.did[:6] == [
        "claim drift",
        "inspect",
        "replay 1",
        "patch /a remove /metadata/labels/x",
        "patch /b remove /metadata/labels/x",
        "becomes rollback 1",
    ]


def test_the_release_that_has_what_the_state_lacks_is_the_one_to_restore(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = {"environment": {"pulumi.flag.target": "set"}}
    whole = release(1, verified=True)
    stage.history = [release(2, kind="destroy", **part), whole]
    lost = Forgotten(whole, (outline(thing(CONFIG_KIND, "beta")),))
    monkeypatch.setattr(drift_fix, "find_drift", lambda _: DriftReport("s", 2, forgotten=lost))
    put_back(stage.flow, 0)
    assert "replay 1" in stage.did


def test_while_somebody_else_works_on_the_stack_nothing_is_patched(stage: Stage) -> None:
    stage.busy = True
    with pytest.raises(AegisError) as refused:
        put_back(stage.flow, 0)
    assert refused.value.state == "nothing was changed"
    assert stage.did == []


def test_what_a_release_must_not_do_is_said_before_anything_is_patched(stage: Stage) -> None:
    stage.replayed = Replayed(refuses=AegisError(what="it would lose data"))
    with pytest.raises(AegisError, match="lose data"):
        put_back(stage.flow, 0)
    assert not any(it.startswith("patch") for it in stage.did)


@pytest.mark.parametrize(
    ("refuses", "state"),
    [("/a", "nothing was changed"), ("/b", "of Service n/a it was; nothing else was changed")],
)
def test_what_could_not_be_taken_away_is_told_with_what_was(
    stage: Stage, refuses: str, state: str
) -> None:
    stage.forbidden = refuses
    with pytest.raises(AegisError) as failed:
        put_back(stage.flow, 0)
    assert failed.value.state == state
    assert not any(it.startswith("restore") for it in stage.did)


def test_a_fix_goes_where_the_object_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = standing(monkeypatch)
    fields = {"manager": "kubectl-label", "fieldsV1": {"f:metadata": {"f:labels": {"f:x": {}}}}}
    touched = there(config(WEST), labels={"x": "y"}, managedFields=[fields])
    stack.apis["west"].lists[CONFIGS] = [touched]
    (item,) = find_drift(stack.flow, Forgotten()).objects
    assert drift_fix._take_away(stack.flow, item, ())
    assert stack.apis["west"].changed == [f"{CONFIGS}/settings remove /metadata/labels/x"]
    assert stack.apis["east"].changed == []
