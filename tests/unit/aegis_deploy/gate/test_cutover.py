"""aegis_deploy.gate.cutover: from when on answers are the new release's."""

from __future__ import annotations

from aegis_deploy.gate.cutover import SETTLING_SECONDS, Cutover


def test_with_nothing_before_everything_is_judged_from_the_start() -> None:
    handover = Cutover(began=100, bake_seconds=15)
    handover.look(100, ending=False, serving=False)
    assert (handover.judged_from, handover.alone, handover.end) == (100, 100, 115)
    assert handover.planned(10) == 150


def test_while_pods_before_end_nothing_is_judged_until_every_node_knows() -> None:
    handover = Cutover(began=100, bake_seconds=15)
    for now in (100, 101, 104):
        handover.look(now, ending=True, serving=False)
    assert (handover.judged_from, handover.alone) == (100 + SETTLING_SECONDS, None)
    assert (handover.end, handover.planned(10)) == (115, 130)
    handover.look(107, ending=False, serving=False)
    assert (handover.judged_from, handover.alone) == (100 + SETTLING_SECONDS, 107)


def test_what_is_gone_is_not_waited_for() -> None:
    handover = Cutover(began=100, bake_seconds=15)
    handover.look(100, ending=True, serving=False)
    handover.look(100.5, ending=False, serving=False)
    assert (handover.judged_from, handover.alone) == (100.5, 100.5)


def test_a_pod_before_that_serves_on_puts_it_off() -> None:
    handover = Cutover(began=100, bake_seconds=2)
    handover.look(100, ending=True, serving=True)
    handover.look(103, ending=True, serving=True)
    handover.look(104, ending=True, serving=False)
    assert handover.judged_from == 103 + SETTLING_SECONDS
    assert handover.end == handover.judged_from + 1


def test_a_bake_time_too_short_for_both_is_made_longer() -> None:
    handover = Cutover(began=100, bake_seconds=2)
    handover.look(100, ending=True, serving=False)
    assert handover.end == 100 + SETTLING_SECONDS + 1
    assert handover.planned(20) == 20


def test_a_pod_of_another_release_that_comes_late_ends_the_solitude() -> None:
    handover = Cutover(began=100, bake_seconds=15)
    handover.look(100, ending=False, serving=False)
    handover.look(103, ending=True, serving=True)
    assert handover.alone is None
    assert handover.judged_from == 103 + SETTLING_SECONDS


def test_pods_before_that_never_go_do_not_put_it_off_for_ever() -> None:
    handover = Cutover(began=100, bake_seconds=2)
    handover.look(200, ending=True, serving=True)
    assert handover.end == 132
    assert handover.planned(20) == 0
