"""model.database.data_probes: what is asked of a release's data, and what answers tell."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.model.database.data_probes import (
    AWAY,
    FORBIDDEN,
    READ,
    WRITE,
    DataFigures,
    excuse,
    of_template,
    rate,
    wrong_annotation,
)
from aegis_deploy.model.gate_settings import DataPaths
from aegis_deploy.model.probe_metrics import Answer, Tally


def template(**annotations: object) -> dict[str, Any]:
    found = {f"aegis.dev/{name.replace('_', '-')}": it for name, it in annotations.items()}
    return {"spec": {"template": {"metadata": {"annotations": found}}}}


def test_pods_say_by_which_paths_their_data_is_seen() -> None:
    said = template(data_read="/v1/records?limit=1", data_write="/probe")
    assert of_template(said) == DataPaths(read="/v1/records?limit=1", write="/probe")
    assert of_template(template(data_write="/probe")) == DataPaths(write="/probe")
    assert of_template({}) == of_template(None) == DataPaths()
    assert wrong_annotation(said) == wrong_annotation(None) == ""


@pytest.mark.parametrize("path", ["v1/records", "", "/a b", 5, None])
def test_what_is_no_path_is_told_by_its_name(path: object) -> None:
    assert of_template(template(data_read=path)) == DataPaths()
    assert wrong_annotation(template(data_read=path)) == (
        f"the annotation aegis.dev/data-read is {path!r}; "
        "it is to be a path such as /v1/records?limit=1"
    )


STATUS = {"kind": "Status", "apiVersion": "v1", "reason": "Forbidden", "code": 403}


@pytest.mark.parametrize(
    ("status", "said", "proxied", "why"),
    [
        (503, {"type": "urn:aegis:problem:database-away"}, False, AWAY),
        (503, {"type": "https://example.org/problems/database-away"}, True, AWAY),
        (503, {"type": "urn:aegis:problem:database-busy"}, False, ""),
        (503, {"type": "urn:aegis:problem:not-database-away"}, False, ""),
        (500, {"type": "urn:aegis:problem:database-away"}, False, ""),
        (503, {"status": 503}, False, ""),
        (503, ["database-away"], False, ""),
        (403, STATUS, True, FORBIDDEN),
        # Straight from the service it is the service's own answer, whatever it looks like.
        (403, STATUS, False, ""),
        (403, {"title": "Forbidden"}, True, ""),
        (401, STATUS, True, ""),
        (200, STATUS, True, ""),
    ],
)
def test_what_is_not_the_releases_fault_is_told_from_what_is(
    status: int, said: object, proxied: bool, why: str
) -> None:
    assert excuse(status, json.dumps(said).encode(), proxied=proxied) == why


def test_a_body_that_is_no_json_excuses_nothing() -> None:
    assert excuse(503, b"\xff<html>database-away", proxied=True) == ""


def seen(*answers: Answer) -> DataFigures:
    tally = Tally(1000)
    for it in answers:
        tally.add(it)
    return DataFigures(of=READ, paths=("/probe",), figures=tally.figures())


GOOD = Answer(ok=True, what="200", milliseconds=1)
GONE = Answer(ok=False, what="503", milliseconds=1, excuse=AWAY)


def test_what_is_excused_is_counted_apart() -> None:
    figures = seen(GOOD, GONE, GONE)
    assert (figures.figures.total, figures.figures.failed, figures.away) == (1, 0, 2)
    assert figures.as_json() == {
        "of": "read",
        "paths": ["/probe"],
        "excused": {AWAY: 2},
        "total": 1,
        "failed": 0,
        "successRatio": 1.0,
        "p99Ms": 1,
        "outcomes": {"200": 1},
        "versions": {},
    }
    assert f"; 2 more not counted: {AWAY}" in str(figures.figures)
    assert "excused" not in figures.figures.as_json()


def test_it_is_untold_when_so_many_are_excused_as_may_not_fail() -> None:
    assert not seen(*[GOOD] * 99, GONE).untold(0.99)
    assert seen(*[GOOD] * 98, GONE, GONE).untold(0.99)
    assert seen(GONE).untold(0.99)
    assert not seen().untold(0.99)
    assert seen().unheard
    assert not seen(GONE).unheard


@given(st.floats(0.1, 100))
def test_reads_and_writes_are_a_bounded_share(probes: float) -> None:
    reads, writes = rate(READ, probes), rate(WRITE, probes)
    # One of each at least in the half minute for which the gate waits for an answer.
    assert 1 / 30 < writes < reads <= 2
    assert rate(READ, 10) == 2
