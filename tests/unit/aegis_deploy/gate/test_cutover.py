"""aegis_deploy.gate.cutover: from when on answers are the new release's."""

from __future__ import annotations

from aegis_deploy.gate.cutover import SETTLING_SECONDS, Cutover


def test_with_nothing_before_everything_is_judged_from_the_start() -> None:
    cutover = Cutover(began=100, bake_seconds=15)
    cutover.look(100, ending=False, serving=False)
    assert (cutover.judged_from, cutover.alone, cutover.end) == (100, 100, 115)
    assert cutover.planned(10) == 150


def test_while_pods_before_end_nothing_is_judged_until_every_node_knows() -> None:
    cutover = Cutover(began=100, bake_seconds=15)
    for now in (100, 101, 104):
        cutover.look(now, ending=True, serving=False)
    assert (cutover.judged_from, cutover.alone) == (100 + SETTLING_SECONDS, None)
    assert (cutover.end, cutover.planned(10)) == (115, 130)
    cutover.look(107, ending=False, serving=False)
    assert (cutover.judged_from, cutover.alone) == (100 + SETTLING_SECONDS, 107)


def test_what_is_gone_is_not_waited_for() -> None:
    cutover = Cutover(began=100, bake_seconds=15)
    cutover.look(100, ending=True, serving=False)
    cutover.look(100.5, ending=False, serving=False)
    assert (cutover.judged_from, cutover.alone) == (100.5, 100.5)


def test_a_pod_before_that_serves_on_puts_it_off() -> None:
    cutover = Cutover(began=100, bake_seconds=2)
    cutover.look(100, ending=True, serving=True)
    cutover.look(103, ending=True, serving=True)
    cutover.look(104, ending=True, serving=False)
    assert cutover.judged_from == 103 + SETTLING_SECONDS
    assert cutover.end == cutover.judged_from + 1


def test_a_bake_time_too_short_for_both_is_made_longer() -> None:
    cutover = Cutover(began=100, bake_seconds=2)
    cutover.look(100, ending=True, serving=False)
    assert cutover.end == 100 + SETTLING_SECONDS + 1
    assert cutover.planned(20) == 20


def test_a_pod_of_another_release_that_comes_late_ends_the_solitude() -> None:
    cutover = Cutover(began=100, bake_seconds=15)
    cutover.look(100, ending=False, serving=False)
    cutover.look(103, ending=True, serving=True)
    assert cutover.alone is None
    assert cutover.judged_from == 103 + SETTLING_SECONDS


def test_pods_before_that_never_go_do_not_put_it_off_for_ever() -> None:
    cutover = Cutover(began=100, bake_seconds=2)
    cutover.look(200, ending=True, serving=True)
    assert cutover.end == 132
    assert cutover.planned(20) == 0


def test_what_failed_and_may_be_anybodys_asks_for_a_whole_bake_time_alone() -> None:
    cutover = Cutover(began=100, bake_seconds=15)
    cutover.look(100, ending=True, serving=False)
    cutover.doubt()
    assert cutover.end == 100 + SETTLING_SECONDS + 15
    assert cutover.planned(10) == 150


def test_what_was_lost_right_after_pods_before_were_gone_may_be_nobodys() -> None:
    cutover = Cutover(began=100, bake_seconds=15)
    cutover.look(100, ending=True, serving=False)
    cutover.look(103, ending=True, serving=False)
    cutover.look(103.5, ending=False, serving=False)
    assert cutover.settled == 103 + SETTLING_SECONDS
    cutover.doubt()
    assert cutover.judged_from == cutover.settled
    # Those that ended at once were gone before anybody looked.
    gone = Cutover(began=100, bake_seconds=15)
    gone.look(100, ending=False, serving=False)
    assert (gone.judged_from, gone.settled) == (100, 100 + SETTLING_SECONDS)
    gone.doubt()
    assert gone.end == 100 + SETTLING_SECONDS + 15
