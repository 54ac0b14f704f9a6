"""Which probes count: those that tell of the service, not of the way to it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.gate.prober import Prober
from aegis_deploy.kubernetes.client import ApiError
from aegis_deploy.model.probe_metrics import Answer, ProbeMetrics, Tally
from lab.command import wait_until


class _Way:
    """A way to a service that nobody answers on."""

    name = "a way"

    def __init__(self, *, proxied: bool) -> None:
        self.proxied = proxied

    def send(self, _: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:
        """Fail, as a way through a silent API server does."""
        raise ApiError(0, f"no answer {fresh} {seconds}")


def _figures(*, proxied: bool, was_heard: Callable[[float, float], bool]) -> ProbeMetrics:
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


class _Answering(_Way):
    """A way on which everything is answered."""

    def send(self, _: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:
        del fresh, seconds
        return 200, b'{"version": "1"}'


class _Failing(_Way):
    """A way on which everything fails, with an answer."""

    def __init__(self, body: bytes, *, proxied: bool = False) -> None:
        super().__init__(proxied=proxied)
        self.body = body

    def send(self, _: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:
        del fresh, seconds
        return 500, self.body


def _failed(body: bytes, *, proxied: bool = False, heard: bool = True) -> Prober:
    ways = [_Failing(body, proxied=proxied)]
    with Prober(lambda: ways, "/", rate=100, p99_ms=1e9, was_heard=lambda _, __: heard) as prober:
        wait_until(lambda: len(prober._answers) > 3, what="some answers", timeout=120)
    return prober


def test_a_failure_that_names_its_release_counts_for_it_whenever_it_was() -> None:
    prober = _failed(b'{"version": "2"}')
    now = time.monotonic()
    figures = prober.figures(since=now, naming={"2"})
    assert figures.failed == figures.total == len(prober._answers)
    assert figures.versions == {}, "a failure proves no version"
    assert prober.figures(since=now, naming={"1"}).total == 0
    assert prober.unnamed_failures(before=now) == 0


def test_a_failure_that_names_no_release_is_told_apart() -> None:
    prober = _failed(b"Internal Server Error")
    now = time.monotonic()
    assert prober.figures(since=now, naming={"2"}).total == 0
    assert prober.unnamed_failures(before=now) == len(prober._answers)
    assert prober.unnamed_failures(before=0) == 0
    silent = _failed(b"", proxied=True, heard=False)
    assert silent.unnamed_failures(before=time.monotonic()) == 0


def test_what_ends_the_probing_is_known() -> None:
    def routes() -> list[_Way]:
        raise KeyError("port")

    with Prober(routes, "/", rate=100, p99_ms=100) as prober:
        wait_until(lambda: prober.fault is not None, what="the fault", timeout=120)
    assert isinstance(prober.fault, KeyError)


def test_an_answer_that_cannot_be_read_counts_as_none() -> None:
    class Odd(_Way):
        def send(self, _: str, *, fresh: bool, seconds: float) -> tuple[int, bytes]:
            raise ValueError(f"a header that is none {fresh} {seconds}")

    with Prober(lambda: [Odd(proxied=False)], "/", rate=100, p99_ms=100) as prober:
        wait_until(lambda: prober.figures().failed > 2, what="some probes", timeout=120)
    assert prober.fault is None


def test_what_the_api_server_has_yet_to_cover_counts_once_it_does() -> None:
    heard = [False]
    ways = [_Answering(proxied=True)]
    with Prober(
        lambda: ways, "/", rate=100, p99_ms=1e9, was_heard=lambda _, __: heard[0]
    ) as prober:
        wait_until(lambda: len(prober._answers) > 3, what="some answers", timeout=120)
        assert prober.figures().total == 0
    heard[0] = True
    assert prober.figures().total == len(prober._answers)
    assert prober.figures().total == len(prober._answers), "nothing is counted twice"


@given(
    st.lists(
        st.tuples(st.floats(0, 9), st.booleans(), st.sampled_from([None, "1", "2"])), max_size=60
    ),
    st.lists(st.tuples(st.floats(0, 9), st.sets(st.sampled_from(["1", "2"]))), max_size=9),
)
def test_looks_at_what_is_new_come_to_the_same_as_looks_at_all(
    answers: list[tuple[float, bool, str | None]], looks: list[tuple[float, set[str]]]
) -> None:
    prober = Prober(lambda: (), "/", rate=1, p99_ms=50)
    made = [
        (due, False, Answer(ok=ok, what="200" if ok else "500", milliseconds=due * 20, version=it))
        for due, ok, it in answers
    ]
    for place, (since, naming) in enumerate([*looks, (0.0, set[str]())]):
        prober._answers = made[: (place + 1) * len(made) // (len(looks) + 1)]
        wanted = [
            it for due, _, it in prober._answers if due >= since or (it.version or "") in naming
        ]
        tally = Tally(50)
        for it in wanted:
            tally.add(it)
        assert prober.figures(since, naming) == tally.figures()
