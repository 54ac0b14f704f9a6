"""The phases of the process."""

from __future__ import annotations

from app.lifecycle import Lifecycle, Phase


class Clock:
    """A clock that goes when told."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class TestPhases:
    """The phases and their order."""

    def test_it_starts_then_is_ready_then_drains(self) -> None:
        lifecycle = Lifecycle()
        phases = [lifecycle.phase]
        lifecycle.started()
        phases.append(lifecycle.phase)
        lifecycle.drain()
        phases.append(lifecycle.phase)
        assert phases == [Phase.STARTING, Phase.READY, Phase.DRAINING]
        assert lifecycle.draining

    def test_told_to_stop_while_starting_it_never_becomes_ready(self) -> None:
        lifecycle = Lifecycle()
        lifecycle.drain()
        lifecycle.started()
        assert lifecycle.phase is Phase.DRAINING

    def test_it_is_ready_once_all_it_waits_for_has_arrived(self) -> None:
        lifecycle = Lifecycle()
        lifecycle.await_first("database", "not asked yet")
        lifecycle.await_first("database", "it does not answer")
        lifecycle.started()
        assert (lifecycle.phase, lifecycle.awaits) == (Phase.STARTING, "it does not answer")
        lifecycle.arrived("database")
        assert (lifecycle.phase, lifecycle.awaits) == (Phase.READY, None)

    def test_what_arrives_before_it_listens_does_not_make_it_ready(self) -> None:
        lifecycle = Lifecycle()
        lifecycle.await_first("database", "not asked yet")
        lifecycle.arrived("database")
        phases = [lifecycle.phase]
        lifecycle.started()
        phases.append(lifecycle.phase)
        assert phases == [Phase.STARTING, Phase.READY]

    def test_what_arrives_after_it_was_told_to_stop_changes_nothing(self) -> None:
        lifecycle = Lifecycle()
        lifecycle.await_first("database", "not asked yet")
        lifecycle.started()
        lifecycle.drain()
        lifecycle.arrived("database")
        assert lifecycle.phase is Phase.DRAINING


class TestTimes:
    """What the drain is timed by."""

    def test_the_drain_is_timed_from_the_first_signal(self) -> None:
        clock = Clock()
        lifecycle = Lifecycle(clock)
        assert lifecycle.drained_for == 0.0
        lifecycle.drain()
        clock.now += 3
        lifecycle.drain()
        clock.now += 1
        assert lifecycle.drained_for == 4.0

    def test_quiet_is_timed_from_the_last_work(self) -> None:
        clock = Clock()
        lifecycle = Lifecycle(clock)
        lifecycle.drain()
        clock.now += 3
        lifecycle.worked()
        clock.now += 2
        assert lifecycle.quiet_for == 2.0

    def test_a_long_quiet_before_the_drain_does_not_count(self) -> None:
        clock = Clock()
        lifecycle = Lifecycle(clock)
        clock.now += 60
        lifecycle.drain()
        clock.now += 1
        assert lifecycle.quiet_for == 1.0
