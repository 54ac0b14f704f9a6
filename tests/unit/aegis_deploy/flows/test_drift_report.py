"""Each object is compared with the one in its own provider's cluster."""

from __future__ import annotations

import pytest

from aegis_deploy.common.errors import AegisError
from aegis_deploy.drift.forgotten import Forgotten
from aegis_deploy.flows.drift.drift_report import DriftReport, find_drift, require_all
from tests.unit.aegis_deploy.drift.test_clusters import provider
from tests.unit.aegis_deploy.two_clusters import (
    CONFIGS,
    EAST,
    PATH,
    WEST,
    Stack,
    config,
    deployed,
    standing,
    there,
)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Stack:
    return standing(monkeypatch)


def found_of(stack: Stack) -> DriftReport:
    return find_drift(stack.flow, Forgotten())


def test_there_is_none_where_each_is_as_declared(stack: Stack) -> None:
    found = found_of(stack)
    assert (found.found, found.compared) == (False, 4)
    assert sorted(stack.connections) == ["east", "west"]


def test_what_differs_is_told_with_its_cluster(stack: Stack) -> None:
    stack.apis["west"].lists[CONFIGS] = [there(config(WEST, "2"))]
    stack.apis["east"].lists[PATH] = []
    found = found_of(stack)
    assert [it.label for it in found.objects] == [
        "Deployment shop/web (provider east)",
        "ConfigMap shop/settings (provider west)",
    ]
    assert [it["provider"] for it in found.as_json()["objects"]] == ["east", "west"]
    assert "ConfigMap shop/settings (provider west)" in found.markdown()


@pytest.mark.parametrize("how", ["silent", "no way"])
def test_what_is_in_the_others_is_told_where_one_cannot_be_asked(stack: Stack, how: str) -> None:
    stack.apis["east"].lists[CONFIGS] = [there(config(EAST, "2"))]
    if how == "silent":
        stack.apis["west"].silent = True
    else:
        del stack.apis["west"]
    found = found_of(stack)
    assert [it.label for it in found.objects] == ["ConfigMap shop/settings (provider east)"]
    assert found.compared == 2
    (why,) = found.unreached
    assert "provider west" in why
    assert any(line.endswith(why) for line in found.lines())
    assert "provider west" in found.markdown()
    assert found.as_json()["unreached"] == [why]
    with pytest.raises(AegisError, match="not all of s"):
        require_all(found)


def test_no_drift_is_not_said_of_what_was_not_seen(stack: Stack) -> None:
    stack.apis["west"].silent = True
    found = found_of(stack)
    assert found.lines()[0] == "s: no drift in what could be compared; 2 objects are as declared"
    assert "no drift in what could be compared" in found.markdown()


def test_where_none_can_be_asked_each_is_named(stack: Stack) -> None:
    for it in stack.apis.values():
        it.silent = True
    with pytest.raises(AegisError) as refused:
        found_of(stack)
    assert "provider east: " in refused.value.why
    assert "provider west: " in refused.value.why


def test_what_is_written_to_files_is_not_looked_for(stack: Stack) -> None:
    files = provider("files", renderYamlToDirectory="out")
    stack.raw += [files, config(files), deployed(files)]
    assert found_of(stack).compared == 4
