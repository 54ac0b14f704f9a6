"""components.timings: what follows from the timings that are set."""

from __future__ import annotations

from components.timings import Timings

TIMINGS = Timings(pre_stop=5, drain=20, min_ready=3, progress_deadline=120)


class TestTimings:
    """No wait is cut short by another."""

    def test_a_pod_is_not_killed_while_it_drains(self) -> None:
        assert TIMINGS.grace_period > TIMINGS.pre_stop + TIMINGS.drain

    def test_pulumi_waits_longer_than_kubernetes_tries(self) -> None:
        assert TIMINGS.rollout_timeout(steps=1) > TIMINGS.progress_deadline

    def test_every_step_may_take_its_time_to_be_ready(self) -> None:
        one, four = TIMINGS.rollout_timeout(steps=1), TIMINGS.rollout_timeout(steps=4)
        assert four - one > 3 * TIMINGS.min_ready
