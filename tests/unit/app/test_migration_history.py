"""The line of revisions: what is one, and how far a run goes."""

from __future__ import annotations

import pytest

from app.migrations.history import HistoryError, Kind, Plan, Revision, line, plan


def expand(number: int) -> Revision:
    return Revision(number=number, kind="expand", about="more")


def contract(number: int, least: int) -> Revision:
    return Revision(number=number, kind="contract", about="less", least_head=least)


LINE = (expand(1), expand(2), contract(3, 2), expand(4))


@pytest.mark.parametrize(
    ("at", "contracts", "runs", "waits"),
    [
        (0, False, 2, 2),
        (1, False, 1, 2),
        (2, False, 0, 2),
        (2, True, 2, 0),
        (3, False, 1, 0),
        (4, False, 0, 0),
        (9, False, 0, 0),
    ],
)
def test_a_run_stops_before_the_first_contract(
    at: int, contracts: bool, runs: int, waits: int
) -> None:
    rest = LINE[at:]
    assert plan(LINE, at, contracts=contracts) == Plan(runs=rest[:runs], waits=rest[runs:])
    assert len(rest) == runs + waits


def test_a_line_is_in_order_whatever_order_it_is_read_in() -> None:
    assert line(reversed(LINE)) == LINE


@pytest.mark.parametrize("kind", ["expand", "contract"])
def test_an_irreversible_one_may_be_of_either_kind(kind: Kind) -> None:
    last = Revision(number=2, kind=kind, about="rewrites", least_head=2, irreversible=True)
    assert line([expand(1), last])[-1] is last
    assert str(last) == f"revision 2 ({kind}, irreversible): rewrites"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ([expand(2)], "revision 1 lacks"),
        ([expand(1), expand(1)], "revision 2 lacks or is there twice"),
        ([expand(1), contract(2, 0)], "a contract names the least code"),
        ([Revision(number=1, kind="expand", about="", least_head=1)], "an expand none"),
        (
            [
                expand(1),
                Revision(number=2, kind="contract", about="", least_head=1, irreversible=True),
            ],
            "revision 2 is irreversible, which says already",
        ),
        ([contract(1, 2)], "asks for code of revision 2, which is later"),
        ([Revision(number=1, kind="both", about="")], "says neither"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_line_is_refused(wrong: list[Revision], why: str) -> None:
    with pytest.raises(HistoryError, match=why):
        line(wrong)
