"""How long somebody was heard, and how long not."""

from __future__ import annotations

from aegis_deploy.kubernetes.liveness import SILENCE_SECONDS, Liveness


def _heard(*moments: float) -> Liveness:
    it = Liveness(0.0)
    for moment in moments:
        it.hear(moment)
    return it


def test_time_between_close_answers_counts() -> None:
    it = _heard(1.0, 2.0, 3.5)
    assert (it.heard, it.silent) == (3.5, 0.0)


def test_a_gap_counts_as_silence_and_only_as_that() -> None:
    it = _heard(1.0, 21.0, 22.0)
    assert (it.heard, it.silent) == (2.0, 20.0)
    assert it.gaps == [(1.0, 21.0)]


def test_time_in_which_a_part_was_not_known_is_a_gap_however_short() -> None:
    it = Liveness(0.0)
    it.hear(1.0, whole=False)
    it.hear(2.0)
    assert (it.heard, it.silent) == (1.0, 1.0)


def test_silence_begins_to_be_one_only_after_a_while() -> None:
    it = _heard(10.0 - SILENCE_SECONDS / 2, 10.0)
    assert it.silence(10.0 + SILENCE_SECONDS) == 0
    assert it.silence(15.0) == 5.0


def test_a_time_is_covered_when_it_was_heard_in_all_of_it() -> None:
    it = _heard(1.0, 2.0, 22.0, 23.0)
    assert it.covers(0.5, 1.9)
    assert it.covers(22.0, 23.0)
    assert not it.covers(1.9, 2.1)
    assert not it.covers(5.0, 6.0)
    assert not it.covers(22.9, 23.1), "nobody knows yet"
