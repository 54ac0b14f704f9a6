"""Which probes count: those that tell of the service, not of the way to it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from lab.command import wait_until
from ops.cluster import ApiError
from ops.figures import Figures
from ops.probe import Prober


class _Way:
    """A way to a service that nobody answers on."""

    name = "a way"

    def __init__(self, *, proxied: bool) -> None:
        self.proxied = proxied

    def send(self, _: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:
        """Fail, as a way through a silent API server does."""
        raise ApiError(0, f"no answer {fresh} {seconds}")


def _figures(*, proxied: bool, was_heard: Callable[[float, float], bool]) -> Figures:
    ways = [_Way(proxied=proxied)]
    sent: list[float] = []

    def routes() -> list[_Way]:
        sent.append(time.monotonic())
        return ways

    with Prober(routes, "/", rate=100, p99_ms=100, was_heard=was_heard) as prober:
        wait_until(lambda: len(sent) > 3, what="some probes", timeout=120)
    return prober.figures()


@pytest.mark.parametrize("proxied", [True, False])
def test_what_fails_while_the_api_server_answers_counts(proxied: bool) -> None:
    assert _figures(proxied=proxied, was_heard=lambda _, __: True).failed > 0


def test_what_fails_through_a_silent_api_server_says_nothing_of_the_service() -> None:
    assert _figures(proxied=True, was_heard=lambda _, __: False).total == 0


def test_what_fails_straight_at_the_service_counts_whatever_the_api_server_does() -> None:
    assert _figures(proxied=False, was_heard=lambda _, __: False).failed > 0
