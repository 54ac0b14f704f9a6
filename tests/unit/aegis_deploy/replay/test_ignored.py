"""What of its changes a restored resource ignores."""

from __future__ import annotations

import pytest

from aegis_deploy.replay.planning import plan
from tests.unit.aegis_deploy.states import CONFIG_KIND, made, secret, thing


@pytest.mark.parametrize(
    ("recorded", "present", "differs", "ignores"),
    [
        (["data"], ["data"], True, ["data"]),
        (["data"], [], True, []),
        (["data"], [], False, ["data"]),
        (["data.a"], ["data"], True, ["data.a"]),
        (["data"], ["data.a", "other"], True, ["data.a"]),
        (['data["a"]'], ["data.a"], True, ['data["a"]']),
        (["data.*"], [], True, []),
        (["data[*]"], ["data.*"], True, ["data[*]"]),
        (["data.b"], [], True, ["data.b"]),
        (["data.list[1]"], [], True, ["data.list[1]"]),
        (["data.list[0].x"], [], True, []),
        (["none.at.all"], [], True, ["none.at.all"]),
    ],
)
def test_only_what_nobody_set_since_is_ignored(
    recorded: list[str], present: list[str], differs: bool, ignores: list[str]
) -> None:
    before, after = (
        {"a": it, "b": "same", "list": [{"x": it}, 2]} for it in ("1", "2" if differs else "1")
    )
    (planned,) = plan(
        made(thing(CONFIG_KIND, "a", {"data": before}, ignoreChanges=recorded)),
        made(thing(CONFIG_KIND, "a", {"data": secret(after)}, ignoreChanges=present)),
    ).resources
    assert planned.options["ignoreChanges"] == ignores
