"""What a rollback records as its settings."""

from __future__ import annotations

from typing import Any

from aegis_deploy.model.release import SECURE, ConfigValue
from aegis_deploy.replay.config import connected_settings, kept_settings


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


def test_what_connects_is_the_settings_of_now_and_the_rest_the_releases() -> None:
    recorded = {
        "kubernetes:context": ConfigValue("old"),
        "kubernetes:namespace": ConfigValue("then"),
        "cloud:apiToken": _hidden({SECURE: "c1"}),
        "cloud:region": ConfigValue("then"),
        "shop:apiToken": _hidden({SECURE: "c2"}),
        "shared:apiToken": _hidden({SECURE: "c3"}),
    }
    present = {
        "kubernetes:kubeconfig": _hidden({SECURE: "c4"}),
        "kubernetes:namespace": ConfigValue("now"),
        "cloud:apiToken": _hidden({SECURE: "c5"}),
        "cloud:region": ConfigValue("now"),
        "shop:apiToken": _hidden({SECURE: "c6"}),
        "shared:apiToken": _hidden({SECURE: "c7"}),
    }
    made = connected_settings(recorded, present, {"kubernetes", "cloud"}, [])
    now = {"kubernetes:kubeconfig", "cloud:apiToken"}
    rest = {"kubernetes:namespace", "cloud:region", "shop:apiToken", "shared:apiToken"}
    assert made == {
        **{key: present[key] for key in now},
        **{key: recorded[key] for key in rest},
    }, "what only the release had, a context, does not say where to go beside what now does"


def test_a_programs_own_setting_follows_the_provider_that_it_makes_of_it() -> None:
    recorded = {
        "shop:endpoint": ConfigValue("https://old"),
        "shop:same": ConfigValue("https://old"),
    }
    present = {"shop:endpoint": ConfigValue("https://new"), "shop:same": ConfigValue("another")}
    made = connected_settings(recorded, present, set(), [("https://old", "https://new")])
    assert made == {"shop:endpoint": present["shop:endpoint"], "shop:same": recorded["shop:same"]}
