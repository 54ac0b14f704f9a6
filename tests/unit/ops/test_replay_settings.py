"""What a rollback records as its settings when secrets are kept."""

from __future__ import annotations

from typing import Any

from ops.release import SECURE, ConfigValue
from ops.replay_settings import kept_settings


def _hidden(raw: Any) -> ConfigValue:
    return ConfigValue.recorded(raw)


_RECORDED = {
    "shop:plain": ConfigValue("old-password"),
    "shop:password": _hidden({SECURE: "c1"}),
    "shop:other": _hidden({SECURE: "c2"}),
    "shop:nested": _hidden({"login": [{"user": "web", "url": {SECURE: "c3"}}]}),
}
_PLAIN = {
    "shop:password": "old-password",
    "shop:other": "something-else",
    "shop:nested": {"login": [{"user": "web", "url": "db://web:old-password@db"}]},
}


def test_the_kept_value_is_recorded_wherever_it_is_and_the_rest_as_it_was() -> None:
    asked: list[set[str]] = []

    def decrypted(config: Any) -> Any:
        asked.append(set(config))
        return _PLAIN

    swaps = [("old-password", "new-password")]
    kept = kept_settings(_RECORDED, swaps, decrypted, lambda text: f"enc({text})")
    assert asked == [set(_PLAIN)]
    assert kept["shop:plain"] == _RECORDED["shop:plain"]
    assert kept["shop:other"] == _RECORDED["shop:other"]
    assert kept["shop:password"] == _hidden({SECURE: "enc(new-password)"})
    assert kept["shop:nested"].value == {
        "login": [{"user": "web", "url": {SECURE: "enc(db://web:new-password@db)"}}]
    }


def test_nothing_is_decrypted_where_nothing_is_kept() -> None:
    def never(_: Any) -> Any:
        raise AssertionError

    assert kept_settings(_RECORDED, (), never, never) is _RECORDED
    plain = {"shop:plain": ConfigValue("a")}
    assert kept_settings(plain, [("a", "b")], never, never) is plain
