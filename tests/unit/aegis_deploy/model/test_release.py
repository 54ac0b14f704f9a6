"""Settings as history records them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_deploy.model.release import (
    BEGUN,
    MASK,
    ConfigValue,
    Release,
    beginning,
    ended_as,
    restored_by,
)

CIPHERTEXT = "v1:ciphertext"
LEAVES = st.text(max_size=8) | st.just({"secure": CIPHERTEXT})
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=5).filter(lambda key: key != "secure"), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@given(VALUES)
def test_no_ciphertext_is_ever_shown(raw: Any) -> None:
    setting = ConfigValue.recorded(raw)
    assert CIPHERTEXT not in setting.shown
    assert CIPHERTEXT not in repr(setting)
    assert (MASK in setting.shown) >= setting.secret


def test_a_decrypted_secret_is_not_shown() -> None:
    setting = ConfigValue("hunter2", secret=True)
    assert setting.shown == MASK
    assert "hunter2" not in repr(setting)


def test_an_object_with_a_decrypted_secret_in_it_is_not_shown() -> None:
    assert ConfigValue({"user": "ann", "password": "hunter2"}, secret=True).shown == MASK


def test_an_object_shows_what_is_no_secret() -> None:
    raw = {"user": "ann", "password": {"secure": CIPHERTEXT}}
    assert ConfigValue.recorded(raw).shown == '{"password": "[secret]", "user": "ann"}'


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("aegis: rollback to release 7", 7),
        ("aegis: automated rollback to release 12: it crashed", 12),
        ("Rollback to release 7", None),
        ("aegis: rollback to release seven", None),
        ("", None),
    ],
)
def test_a_rollback_is_known_by_its_message(message: str, number: int | None) -> None:
    assert restored_by(message) == number


@pytest.mark.parametrize("reason", ["", ": it crashed", ": 7 begins"])
def test_the_first_step_of_a_rollback_is_one_that_was_only_begun(reason: str) -> None:
    message = f"aegis: automated rollback to release 7{reason}"
    first = beginning(message, "ResourceQuota guard goes before the rest")
    assert first.endswith("to release 7 begins: ResourceQuota guard goes before the rest")
    assert restored_by(first) == restored_by(message) == 7
    assert ended_as("succeeded", first) == BEGUN
    assert ended_as("failed", first) == "failed"
    assert ended_as("succeeded", message) == "succeeded"


FLAG, OPTION = "pulumi.flag.", "pulumi.env.PULUMI_OPTION_"


@pytest.mark.parametrize(
    ("kind", "environment", "operation", "whole", "emptied"),
    [
        ("update", {}, "update", True, False),
        ("update", {f"{FLAG}refresh": "true", f"{FLAG}yes": "true"}, "update", True, False),
        ("update", {f"{FLAG}target": "set"}, "targeted update", False, False),
        ("update", {f"{FLAG}exclude": "set"}, "targeted update", False, False),
        ("update", {f"{FLAG}target-replace": "set"}, "targeted update", False, False),
        ("update", {f"{OPTION}TARGET": "set"}, "targeted update", False, False),
        ("update", {f"{FLAG}target-dependents": "true"}, "update", True, False),
        ("refresh", {f"{FLAG}target": "set"}, "targeted refresh", False, False),
        ("destroy", {}, "destroy", False, True),
        ("destroy", {f"{FLAG}target": "set"}, "targeted destroy", False, False),
        ("destroy", {f"{FLAG}exclude-protected": "true"}, "targeted destroy", False, False),
        ("destroy", {f"{OPTION}EXCLUDE_PROTECTED": "true"}, "targeted destroy", False, False),
        ("destroy", {f"{FLAG}exclude-protected": "false"}, "destroy", False, True),
        ("resource-import", {}, "resource import", False, False),
        ("import", {}, "import", False, False),
        ("unknown", {}, "unknown", True, False),
    ],
)
def test_an_operation_is_called_what_it_was(
    kind: str, environment: dict[str, str], operation: str, whole: bool, emptied: bool
) -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    found = Release(
        number=1, key="1", kind=kind, result="succeeded", started=moment, environment=environment
    )
    assert (found.operation, found.whole, found.emptied) == (operation, whole, emptied)


def test_a_rollback_that_left_images_alone_is_whole() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    found = Release(
        number=2,
        key="2",
        kind="update",
        result="succeeded",
        started=moment,
        environment={f"{FLAG}exclude": "set"},
        restores=1,
    )
    assert found.whole
    assert found.operation == "update"
