"""Marks that live in a stack's tags."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_deploy.history.verification_store import (
    LONGEST,
    MOST_CHUNKS,
    Verifications,
    pardon,
    parse,
    passed_after,
    refuse,
    verified_after,
    why_refused,
)
from aegis_deploy.model.fingerprint import fingerprint
from aegis_deploy.model.release import ConfigValue
from tests.unit.aegis_deploy.stage import release

KEYS = st.integers(min_value=1, max_value=2 * 10**18).map(str)
_RELEASE = release(1)
TAG_NAME = re.compile(r"[a-zA-Z0-9_.:-]{1,40}")


def apply(tags: dict[str, str], key: str) -> None:
    for name, value in verified_after(tags, key).items():
        if value is None:
            del tags[name]
        else:
            tags[name] = value


@given(st.lists(KEYS, unique=True, max_size=80))
@settings(max_examples=40)
def test_every_mark_is_read_back_and_fits_into_a_services_tags(keys: list[str]) -> None:
    tags: dict[str, str] = {"pulumi:project": "shop"}
    for key in keys:
        apply(tags, key)
    assert list(parse(tags).verified) == keys
    assert all(TAG_NAME.fullmatch(name) for name in tags)
    assert all(len(value) <= LONGEST for value in tags.values())


def test_the_oldest_marks_are_let_go_and_the_newest_never() -> None:
    tags: dict[str, str] = {}
    keys = [str(1_790_000_000_000_000_000 + number) for number in range(1_000)]
    for key in keys:
        apply(tags, key)
    assert len(tags) == MOST_CHUNKS
    kept = parse(tags).verified
    assert kept == tuple(keys[-len(kept) :])
    assert len(kept) > 700


@given(st.dictionaries(st.text(max_size=40), st.text(max_size=40), max_size=8))
def test_tags_of_others_never_break_it(tags: dict[str, str]) -> None:
    assert isinstance(parse(tags), Verifications)


def test_damaged_marks_are_passed_by() -> None:
    tags = {
        "aegis:verified.0": "zz,!!,10",
        "aegis:verified.x": "11",
        "aegis:refused.abc": "12 yesterday why",
        "aegis:refused.def": "13 2026-01-02T03:04:05Z it crashed",
    }
    ledger = parse(tags)
    assert ledger.verified == ("1295", "36")
    assert [it.why for it in ledger.refusals.values()] == ["it crashed"]
    assert ledger.refused == {"39"}


CONFIG = {"a:b": ConfigValue("1"), "a:t": ConfigValue.recorded({"secure": "v1:x"})}


class TestAGateThatPassedInsideAnUpdate:
    """It knows the moment, and not yet which release it judges."""

    NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def test_is_read_back_to_the_microsecond_beside_the_other_marks(self) -> None:
        tags: dict[str, str] = {}
        apply(tags, "36")
        for name, value in passed_after(tags, self.NOW).items():
            assert value is not None
            tags[name] = value
        apply(tags, "37")
        assert parse(tags) == Verifications(("36", "37"), {}, (self.NOW,))

    def test_is_passed_by_when_its_moment_is_none(self) -> None:
        assert parse({"aegis:verified.0": "@" + "z" * 40 + ",@,@!"}).passed == ()


class TestFingerprint:
    """What names the thing that was deployed."""

    def test_is_the_same_whether_history_or_a_file_says_it(self) -> None:
        as_file = {**CONFIG, "a:b": ConfigValue(1)}
        assert fingerprint("sha256:1", as_file) == fingerprint("sha256:1", CONFIG)

    def test_is_another_for_another_image_setting_or_secret(self) -> None:
        other = {**CONFIG, "a:t": ConfigValue.recorded({"secure": "v1:y"})}
        fewer = {"a:b": ConfigValue("1")}
        prints = {
            fingerprint("sha256:1", CONFIG),
            fingerprint("sha256:2", CONFIG),
            fingerprint("sha256:1", other),
            fingerprint("sha256:1", fewer),
            fingerprint(None, CONFIG),
        }
        assert len(prints) == 5

    def test_does_not_take_a_decrypted_secret_in(self) -> None:
        one, two = (
            fingerprint(None, {"a:t": ConfigValue(text, secret=True)}) for text in ("one", "two")
        )
        assert one == two


class _Tagged:
    """A session that has tags."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    def tags(self) -> dict[str, str]:
        return self.kept

    def change_tags(self, change: dict[str, str | None]) -> None:
        changed = {**self.kept, **change}
        self.kept = {name: value for name, value in changed.items() if value is not None}


class TestARefusal:
    """It holds for what was declared, where that is known."""

    def refused(self, session: Any, declared: str) -> None:
        refuse(session, _RELEASE, "f1", "it crashed", declared)

    def test_does_not_hold_for_a_mended_program(self) -> None:
        session: Any = _Tagged()
        self.refused(session, "bad00001")
        assert (why_refused(session, "f1", "bad00001") or "").startswith("it crashed (")
        assert why_refused(session, "f1", "good0001") is None
        assert why_refused(session, "f1"), "where nobody can tell yet it holds"
        assert why_refused(session, "f2", "bad00001") is None

    def test_holds_for_each_that_was_rolled_back_and_outlives_the_mended_one(self) -> None:
        session: Any = _Tagged()
        for number in range(12):
            self.refused(session, f"bad{number:05}")
        assert why_refused(session, "f1", "bad00011")
        assert why_refused(session, "f1", "bad00005")
        pardon(session, "f1", declared="good0001")
        assert why_refused(session, "f1", "bad00011")
        pardon(session, "f1", declared="bad00011")
        assert why_refused(session, "f1", "bad00011") is None
        assert all(len(value) <= LONGEST for value in session.kept.values())

    def test_of_before_it_was_known_what_is_declared_holds_for_all(self) -> None:
        session: Any = _Tagged()
        self.refused(session, "")
        assert why_refused(session, "f1", "good0001")
        self.refused(session, "bad00001")
        assert why_refused(session, "f1", "good0001"), "what the older one declared is not known"
