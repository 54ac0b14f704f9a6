"""components.setting_keys: the table of settings agrees with itself."""

from __future__ import annotations

from typing import Any

import pytest

from components.setting_keys import ENVIRONMENTS, KEYS, Key
from tests.rendering import stack_config


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
class TestEverySetting:
    """Each row of the table is complete."""

    @pytest.mark.parametrize("environment", ENVIRONMENTS)
    def test_has_an_example_that_is_right(self, key: Key[Any], environment: str) -> None:
        example = key.example_for(environment)
        # What a shell makes of `openssl rand` is hexadecimal digits.
        key.parse("0a" * 32 if example.startswith('"$(openssl rand -hex') else example)

    def test_refuses_the_empty_text(self, key: Key[Any]) -> None:
        with pytest.raises(ValueError, match="is "):
            key.parse("")

    def test_says_what_it_may_be(self, key: Key[Any]) -> None:
        assert key.allowed


class TestTheTable:
    """The table is all there is."""

    def test_has_the_settings_of_the_committed_stacks(self) -> None:
        known = {key.full_name for key in KEYS}
        for environment in ENVIRONMENTS:
            assert stack_config(environment).keys() <= known

    def test_names_each_setting_once(self) -> None:
        names = [key.name for key in KEYS]
        assert len(names) == len(set(names)) >= 20
