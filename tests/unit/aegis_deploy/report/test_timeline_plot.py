"""A timeline drawn: well-formed, whole, and closed to whatever its texts try."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.model.timeline import ROLLBACK, PodSample, Span, Timeline
from aegis_deploy.model.workloads.rollout import Group
from aegis_deploy.report import svg
from aegis_deploy.report.timeline_plot import NARROW, WIDE, draw, moments, series
from tests.unit.aegis_deploy.made_timeline import made_timeline, now

TAGS = {"svg", "rect", "path", "line", "circle", "text", "title"}


def drawn(timeline: Timeline, width: int = WIDE) -> Element:
    # Ours, and nothing in it defines an entity.
    return fromstring(draw(timeline, width))  # noqa: S314


def of(root: Element, kind: str) -> list[Element]:
    return [it for it in root.iter() if kind in it.get("class", "").split()]


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_hostile_names_add_no_element_and_leave_nothing_of_the_place(width: int) -> None:
    root = drawn(made_timeline(now()), width)
    assert {it.tag for it in root.iter()} == TAGS
    assert not [name for it in root.iter() for name in it.attrib if name.startswith("on")]
    height = float(root.get("viewBox", "").split()[3])
    for it in root.iter("rect"):
        x, y, w, h = (float(it.get(name, "nan")) for name in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= width
        assert 0 <= y <= y + h <= height


def test_pods_of_both_releases_are_there_ready_and_not() -> None:
    root = drawn(made_timeline(now()))
    assert len(of(root, "ready")) == len(of(root, "unready")) == 2
    assert len(of(root, "wanted")) == 1


def test_failed_probes_stand_out() -> None:
    root = drawn(made_timeline(now()))
    assert len(of(root, "bad")) == 12
    assert len(of(root, "good")) == 21


def test_no_line_leads_across_a_time_in_which_nothing_was_asked() -> None:
    root = drawn(made_timeline(now()))
    [line] = [it for it in of(root, "p99") if it.tag == "path"]
    assert line.get("d", "").count("M") >= 2


def test_the_moments_that_decided_are_marked_in_order() -> None:
    timeline = made_timeline(now())
    assert [it.kind for it in moments(timeline)] == ["failed", "rollback", "passed"]
    root = drawn(timeline)
    assert [it.text for it in of(root, "mark-number")] == ["1", "2", "3"]
    circles = [it for it in of(root, "mark") if it.tag == "circle"]
    places = {(it.get("cx"), it.get("cy")) for it in circles}
    assert len(places) == 3
    assert len({it.get("cy") for it in circles[:2]}) == 2, "near ones stand in rows of their own"


def test_a_limit_is_drawn_where_it_can_be_told_apart() -> None:
    timeline = made_timeline(now())
    assert len(of(drawn(timeline), "limit")) == 1
    assert of(drawn(replace(timeline, asked={"p99Ms": 60_000.0})), "limit") == []


def test_releases_of_one_version_are_told_apart_by_their_hash() -> None:
    groups = tuple(Group(key=f"shop/web/{it}", name="1.0", pods=1, ready=1) for it in "ab")
    timeline = replace(made_timeline(now()), pods=(PodSample(at=1.0, wanted=2, groups=groups),))
    assert [it.name for it in series(timeline)] == ["1.0 (a)", "1.0 (b)"]


def test_nothing_is_drawn_of_nothing() -> None:
    nothing = replace(made_timeline(now()), seconds=0.0, pods=(), probes=(), phases=())
    assert draw(nothing) == ""


def test_a_phase_alone_is_drawn() -> None:
    brief = replace(
        made_timeline(now()),
        pods=(),
        probes=(),
        judgements=(),
        phases=(Span(name=ROLLBACK, at=40.9, seconds=None),),
    )
    [box] = of(drawn(brief), "rollback")[:1]
    assert float(box.get("width", "0")) > 0


@given(st.floats(0.01, 1e7), st.integers(1, 12))
def test_ticks_are_within_and_not_too_many(most: float, about: int) -> None:
    found = svg.ticks(0, most, about)
    assert found[0] == 0
    assert found == sorted(set(found))
    assert found[-1] <= most * 1.0001
    assert len(found) <= about * 2.5 + 2


@pytest.mark.parametrize(("seconds", "unit"), [(40, "s"), (1200, "min"), (40_000, "h")])
def test_times_have_a_unit_that_fits(seconds: float, unit: str) -> None:
    assert {re.sub(r"[\d. ]", "", name) for _, name in svg.time_ticks(seconds, 6)} == {unit}
