"""Timelines as files: what is written is read again, whatever went on, and nothing is trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from aegis_deploy.model.probe_metrics import Answer
from aegis_deploy.model.timeline import MOST_SAMPLES, Judgement, PodSample, Span, probe_samples
from aegis_deploy.model.workloads.rollout import Group
from aegis_deploy.report.timeline_codec import (
    LONGEST_LINE,
    MOST_BYTES,
    MOST_LINES,
    MOST_STEPS,
    bounded,
    decode,
    encode,
)
from tests.unit.aegis_deploy.made_timeline import made_timeline, now


class Measured(str):
    """A text that counts how often its length is asked for."""

    lengths = 0

    def __len__(self) -> int:
        self.lengths += 1
        return str.__len__(self)


def test_what_is_written_is_read_again() -> None:
    timeline = bounded(made_timeline(now()))
    assert decode(encode(timeline)) == timeline


def test_a_monstrous_one_is_kept_small_and_says_so() -> None:
    groups = tuple(
        Group(key="k" * 900 + str(it), name="n" * 900, pods=1, ready=1) for it in range(50)
    )
    monster = replace(
        made_timeline(now()),
        pods=tuple(PodSample(at=float(it), wanted=50, groups=groups) for it in range(20_000)),
        steps=tuple(Span(name="s" * 9000, at=1.0, seconds=1.0) for _ in range(5000)),
        planned=("p" * 9000,) * 5000,
        outcome="o" * 1_000_000,
        judgements=tuple(
            Judgement(
                at=1.0,
                of="release",
                passed=False,
                kind="crash",
                reason="r" * 9000,
                evidence=("e" * 9000,) * 500,
            )
            for _ in range(40)
        ),
    )
    content = encode(monster)
    assert len(content) <= MOST_BYTES
    kept = decode(content)
    assert kept.thinned
    assert len(kept.judgements[-1].evidence) <= MOST_LINES
    assert max(map(len, kept.judgements[-1].evidence)) <= LONGEST_LINE
    assert (kept.pods[0].at, kept.pods[-1].at) == (0.0, 19_999.0)


LONG = "\U0001f600" * LONGEST_LINE
"""A line of which each character takes twelve bytes in JSON."""


@pytest.mark.parametrize(
    "texts",
    [
        {"outcome": "\n".join(["가" * LONGEST_LINE] * MOST_LINES)},
        {"outcome": "\n".join([LONG] * MOST_LINES)},
        {"phases": (Span(name=LONG, at=1.0),) * MOST_LINES},
        {
            "pods": (
                PodSample(
                    at=1.0, wanted=8, groups=(Group(key=LONG, name=LONG, pods=1, ready=1),) * 8
                ),
            )
            * 8
        },
        {
            "judgements": (
                Judgement(
                    at=1.0,
                    of="release",
                    passed=False,
                    kind="crash",
                    reason=LONG,
                    notes=(LONG,) * MOST_LINES,
                    serving=LONG,
                    figures={"total": 7, "versions": {f"{LONG}{it}": 1 for it in range(500)}},
                ),
            )
            * 8
        },
    ],
    ids=["outcome", "outcome of symbols", "phases", "groups", "judgements"],
)
def test_text_that_takes_much_room_as_json_is_kept_short_too(texts: dict[str, Any]) -> None:
    content = encode(replace(made_timeline(now()), **texts))
    assert len(content) <= MOST_BYTES
    kept = decode(content)
    assert kept.thinned
    assert "outcome" not in texts or kept.outcome.startswith(texts["outcome"][:20])
    assert len(kept.phases) == len(texts.get("phases", kept.phases))
    if "judgements" in texts:
        assert [it.figures for it in kept.judgements] == [{"total": 7}] * 8


def test_what_is_thinned_out_costs_nothing() -> None:
    name = Measured("n")
    pods = tuple(
        PodSample(
            at=float(it), wanted=50, groups=(Group(key=name, name=name, pods=1, ready=1),) * 50
        )
        for it in range(MOST_SAMPLES)
    )
    steps = (Span(name=name, at=1.0, seconds=1.0),) * MOST_STEPS
    few = replace(made_timeline(now()), pods=pods, steps=steps)
    bounded(few)
    least = name.lengths
    bounded(replace(few, pods=pods * 20, steps=steps * 20))
    assert 0 < least == name.lengths - least


def test_of_too_many_steps_those_that_failed_and_the_longest_stay() -> None:
    steps = [Span(name=f"quick {it}", at=float(it), seconds=0.1) for it in range(400)]
    steps[3] = Span(name="failed", at=3.0, seconds=0.0, failed=True)
    steps[390] = Span(name="long", at=390.0, seconds=60.0)
    kept = bounded(replace(made_timeline(now()), steps=tuple(steps))).steps
    assert {"failed", "long"} <= {it.name for it in kept}
    assert [it.at for it in kept] == sorted(it.at for it in kept)


def _changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(encode(made_timeline(now()))), **changes}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"format": 1}',
        b"\xff\xfe",
        _changed(format=2),
        _changed(pods=None),
        _changed(pods=[{"at": "now"}]),
        _changed(pods=[[]]),
        _changed(seconds=float("nan")),
        _changed(seconds=1e300),
        _changed(started="yesterday"),
        _changed(judgements=[{}]),
        _changed(asked=[1]),
        _changed(steps={"a": 1}),
        b"[" * 100_000,
    ],
)
def test_what_is_no_timeline_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(content)


class TestProbeSamples:
    """Probes by the second."""

    def test_count_what_was_due_in_each(self) -> None:
        answers = [
            (1.1, Answer(ok=True, what="200", milliseconds=10)),
            (1.9, Answer(ok=False, what="500", milliseconds=99)),
            (3.0, Answer(ok=True, what="200", milliseconds=30)),
        ]
        found = probe_samples(answers)
        assert [(it.at, it.sent, it.failed, it.p99_ms) for it in found] == [
            (1.0, 2, 1, 10.0),
            (2.0, 0, 0, 0.0),
            (3.0, 1, 0, 30.0),
        ]

    def test_of_an_hour_are_wider_and_no_more(self) -> None:
        good = Answer(ok=True, what="200", milliseconds=1)
        found = probe_samples([(float(it), good) for it in range(3600)], most=100)
        assert len(found) == 100
        assert {it.seconds for it in found} == {36.0}
        assert sum(it.sent for it in found) == 3600

    def test_of_none_are_none(self) -> None:
        assert probe_samples([]) == ()
