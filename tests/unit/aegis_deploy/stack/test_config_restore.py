"""A settings file is brought in line in its place; what else is in it stays."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from aegis_deploy.model.release import ConfigValue
from aegis_deploy.stack.config_restore import SettingChange, differences, rewritten

FILE = """\
# The stack.
secretsprovider: passphrase
config:
  # How loud.
  shop:level: warning
  # Of the team.
  size: 4
  shop:token:
    secure: v1:new

  # The gate.
  shop:gate:
    bakeSeconds: 3
    prometheus:
      url: http://p
  # The end.
encryptionsalt: v1:salt
"""


def _config(**values: Any) -> dict[str, ConfigValue]:
    return {f"shop:{key}": ConfigValue.recorded(value) for key, value in values.items()}


def _of(text: str) -> dict[str, ConfigValue]:
    found = yaml.safe_load(text)["config"]
    return {
        key if ":" in key else f"shop:{key}": ConfigValue.recorded(value)
        for key, value in found.items()
    }


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ({"level": "info"}, ["~ shop:level: warning -> info"]),
        ({"level": "warning"}, []),
        ({"level": "warning", "size": "4"}, []),
        ({"level": "warning", "size": "5"}, ["+ shop:size: 5"]),
        ({"level": "warning", "more": True}, ["+ shop:more: true"]),
        ({}, ["- shop:level"]),
        ({"level": {"secure": "v1:x"}}, ["~ shop:level: warning -> [secret]"]),
    ],
)
def test_what_differs_is_told_and_the_projects_own_settings_are_left_to_it(
    runs: dict[str, Any], expected: list[str]
) -> None:
    found = differences(_config(level="warning"), _config(size=4), _config(**runs))
    assert [str(it) for it in found] == expected


def test_a_setting_of_the_project_holds_again_once_the_stacks_own_is_gone() -> None:
    found = differences(_config(size=9), _config(size=4), _config(size="4"))
    assert [str(it) for it in found] == ["- shop:size"]
    assert differences(_config(size=4), _config(size=4), _config(size="4")) == []


def test_a_setting_is_changed_in_its_place_and_the_comments_stay() -> None:
    changes = [SettingChange("shop:level", None, ConfigValue("info"))]
    assert rewritten(FILE, changes, "shop") == FILE.replace("warning", "info")


def test_a_comment_behind_a_value_stays_behind_the_new_one() -> None:
    text = FILE.replace("warning", "'warning'  # for now")
    changes = [SettingChange("shop:level", None, ConfigValue("info"))]
    assert rewritten(text, changes, "shop") == FILE.replace("warning", "info  # for now")


def test_a_ciphertext_comes_back_as_it_was_recorded() -> None:
    recorded = ConfigValue.recorded({"secure": "v1:old"})
    changed = rewritten(FILE, [SettingChange("shop:token", None, recorded)], "shop")
    assert changed == FILE.replace("v1:new", "v1:old")


def test_settings_come_and_go_while_everything_else_stays() -> None:
    runs = _config(level="info", extra={"a": [1, 2]}, gate={"bakeSeconds": 9})
    changed = rewritten(FILE, differences(_of(FILE), {}, runs), "shop")
    assert differences(_of(changed), {}, runs) == []
    for comment in ("# The stack.", "# How loud.", "# Of the team.", "# The gate.", "# The end."):
        assert comment in changed
    assert yaml.safe_load(changed)["encryptionsalt"] == "v1:salt"
    assert yaml.safe_load(changed)["secretsprovider"] == "passphrase"


@pytest.mark.parametrize(
    "text", ["", "encryptionsalt: v1:salt\n", "config: {}\n", "config: {level: a}\n", "config:\n"]
)
def test_a_file_without_lines_of_settings_gets_them(text: str) -> None:
    changes = [SettingChange("shop:level", None, ConfigValue("info"))]
    changed = yaml.safe_load(rewritten(text, changes, "shop"))
    assert changed["config"] == {"shop:level": "info"}
    assert ("encryptionsalt" in changed) == ("salt" in text)


def test_a_file_without_a_last_line_break_stays_readable() -> None:
    text = "config:\n  shop:level: warning"
    changes = [SettingChange("shop:more", None, ConfigValue("x"))]
    changed = yaml.safe_load(rewritten(text, changes, "shop"))["config"]
    assert changed == {"shop:level": "warning", "shop:more": "x"}


ODD = """\
config:
    shop:level:   warning
    shop:flow: { b: 1, c: [ 1,2 ] }   # as it was typed
    shop:words: plain text
        on two lines
    shop:sign: "\\u00e9"
    shop:none: ~
    # Of the list.
    shop:list:
      - x
"""


def test_what_is_not_changed_stays_as_a_person_typed_it_to_the_byte() -> None:
    lines = ODD.splitlines(keepends=True)
    changes = [SettingChange("shop:level", None, ConfigValue("info"))]
    changed = rewritten(ODD, changes, "shop").splitlines(keepends=True)
    assert changed == [lines[0], "    shop:level: info\n", *lines[2:]]
    gone = rewritten(ODD, [SettingChange("shop:none", ConfigValue(None), None)], "shop")
    assert gone == ODD.replace("    shop:none: ~\n", "")
