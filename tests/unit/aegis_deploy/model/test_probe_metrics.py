"""Percentiles, ratios, and giving up early without ever giving up wrongly."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.model.gate_settings import GateSettings
from aegis_deploy.model.probe_metrics import (
    Answer,
    ProbeMetrics,
    Tally,
    allowed_failures,
    allowed_slow,
    percentile,
    shortcoming,
)

RATIOS = st.floats(0, 1)
ANSWERS = st.lists(
    st.builds(
        Answer,
        ok=st.booleans(),
        what=st.sampled_from(["200", "503", "timed out"]),
        milliseconds=st.floats(0, 5000),
    ),
    max_size=150,
)


def figures_of(answers: Iterable[Answer], p99_ms: float) -> ProbeMetrics:
    """Sum up answers."""
    tally = Tally(p99_ms)
    for answer in answers:
        tally.add(answer)
    return tally.figures()


class TestPercentile:
    """The nearest-rank percentile."""

    @given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
    def test_is_the_least_value_that_so_many_do_not_exceed(
        self, values: list[float], percent: int
    ) -> None:
        found = percentile(values, percent)
        assert found in values
        assert sum(v <= found for v in values) * 100 >= percent * len(values)
        assert sum(v < found for v in values) * 100 < percent * len(values)

    @pytest.mark.parametrize(
        ("count", "expected"), [(0, 0.0), (1, 1.0), (99, 99.0), (100, 99.0), (200, 198.0)]
    )
    def test_of_fewer_than_a_hundred_is_the_slowest(self, count: int, expected: float) -> None:
        assert percentile(range(1, count + 1), 99) == expected


class TestAllowances:
    """How many failures and slow answers a gate allows."""

    @given(st.integers(0, 10_000), RATIOS)
    def test_as_many_failures_as_keep_the_ratio(self, total: int, ratio: float) -> None:
        allowed = allowed_failures(total, ratio)
        assert 0 <= allowed <= total
        assert total - allowed >= ratio * total - 1e-6
        assert allowed == total or total - (allowed + 1) < ratio * total + 1e-6

    @pytest.mark.parametrize(
        ("total", "ratio", "allowed"), [(100, 0.99, 1), (10, 0.9, 1), (99, 0.99, 0), (50, 1, 0)]
    )
    def test_round_figures_are_exact(self, total: int, ratio: float, allowed: int) -> None:
        assert allowed_failures(total, ratio) == allowed

    @given(st.integers(100, 2000))
    def test_as_many_slow_answers_as_keep_the_percentile(self, total: int) -> None:
        slow = allowed_slow(total)
        assert percentile([0.0] * (total - slow) + [1.0] * slow, 99) == 0
        assert percentile([0.0] * (total - slow - 1) + [1.0] * (slow + 1), 99) == 1

    @pytest.mark.parametrize(("total", "allowed"), [(0, 0), (1, 0), (2, 1), (16, 1), (99, 1)])
    def test_one_slow_answer_of_few_tells_nothing(self, total: int, allowed: int) -> None:
        assert allowed_slow(total) == allowed


class TestShortcoming:
    """Whether figures are good enough."""

    @given(ANSWERS, RATIOS, st.floats(1, 4000))
    def test_is_none_exactly_when_ratio_and_percentile_hold(
        self, answers: list[Answer], ratio: float, p99: float
    ) -> None:
        figures = figures_of(answers, p99)
        found = shortcoming(figures, GateSettings(success_ratio=ratio, p99_ms=p99))
        enough = figures.failed <= allowed_failures(figures.total, ratio)
        good = figures.total - figures.failed
        quick = figures.p99_ms <= p99 or (figures.slow == 1 and good > 1)
        assert (found is None) == (enough and quick)

    @given(ANSWERS, st.data())
    def test_early_is_only_what_no_further_answer_makes_good(
        self, answers: list[Answer], data: st.DataObject
    ) -> None:
        settings = GateSettings(success_ratio=0.9, p99_ms=1000)
        part = answers[: data.draw(st.integers(0, len(answers)))]
        good = [Answer(ok=True, what="200", milliseconds=1)] * (len(answers) - len(part))
        early = shortcoming(figures_of(part, 1000), settings, planned=len(answers))
        at_best = shortcoming(figures_of([*part, *good], 1000), settings)
        assert (early is None) == (at_best is None)

    def test_failures_are_told_with_the_commonest(self) -> None:
        answers = [Answer(ok=True, what="200", milliseconds=1)] * 6
        answers += [Answer(ok=False, what="503", milliseconds=1)] * 3
        answers += [Answer(ok=False, what="timed out", milliseconds=1)]
        found = shortcoming(figures_of(answers, 1000), GateSettings())
        assert found is not None
        assert found[0] == "success-ratio"
        assert "4 of 10 probes failed (mostly: 503)" in found[1]

    def test_a_failed_answer_is_not_slow_too(self) -> None:
        answers = [Answer(ok=True, what="200", milliseconds=1)] * 200
        answers.append(Answer(ok=False, what="timed out", milliseconds=9000))
        assert shortcoming(figures_of(answers, 1000), GateSettings()) is None


def test_what_got_no_answer_is_lost_and_a_bad_answer_is_not() -> None:
    figures = ProbeMetrics(
        total=9, failed=5, outcomes={"200": 4, "503": 3, "connection refused": 2}
    )
    assert figures.lost == 2
    assert ProbeMetrics().lost == 0
