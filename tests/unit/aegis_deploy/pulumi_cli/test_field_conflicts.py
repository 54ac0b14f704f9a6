"""What a refused apply says, and what follows from it."""

from __future__ import annotations

import pytest

from aegis_deploy.drift.external_changes import excuse
from aegis_deploy.model.events import UpdateFailure
from aegis_deploy.pulumi_cli.field_conflicts import advice, told
from tests.unit.aegis_deploy.stage import CRASHED, outcome

ONE = (
    "the update did not succeed: server-side apply field conflict\n"
    'Apply failed with 1 conflict: conflict with "kube-controller-manager" with subresource '
    '"scale" using apps/v1: .spec.replicas'
)
SEVERAL = (
    "Apply failed with 3 conflicts: "
    'conflicts with "kubectl-edit" using apps/v1:\n'
    '- .spec.replicas\n- .spec.template.spec.containers[name="web"].image\n'
    'conflicts with "a-controller" using apps/v1 at 2026-01-02T03:04:05Z:\n- .spec.paused'
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ONE, "the program declares spec.replicas, which kube-controller-manager has set since"),
        ("Operation cannot be fulfilled: the object has been modified", None),
        ("", None),
    ],
)
def test_who_holds_what_is_said(text: str, said: str | None) -> None:
    assert told(text) == said
    assert bool(advice(text, "dev")) is (said is not None)


def test_several_managers_and_fields_are_each_named() -> None:
    said = told(SEVERAL) or ""
    assert "spec.replicas, which kubectl-edit has set" in said
    assert 'spec.template.spec.containers[name="web"].image, which kubectl-edit' in said
    assert "spec.paused, which a-controller has set" in said


def test_the_way_on_names_both_who_may_have_set_it() -> None:
    way = advice(ONE, "dev")
    assert "leave spec.replicas out of the program" in way
    assert "aegis drift --fix --stack dev" in way


def test_a_release_that_was_refused_for_it_is_not_bad() -> None:
    failed = outcome(False, failures=(UpdateFailure("urn::web", ONE),))
    assert excuse(failed, None) == told(ONE)
    assert excuse(failed, CRASHED) is None, "what its pods did themselves comes first"
