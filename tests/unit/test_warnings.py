"""Warnings are errors, but for one that says nothing of the code it names."""

from __future__ import annotations

import random
import warnings

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisDeprecationWarning


@settings(max_examples=5, database=None, suppress_health_check=list(HealthCheck))
@given(st.builds(random.random))
def test_numbers_at_random_that_another_thread_draws_fail_no_property(number: float) -> None:
    """It is drawn within the strategy here, so that it is surely seen."""
    assert 0 <= number < 1


def test_other_warnings_are_errors() -> None:
    with pytest.raises(HypothesisDeprecationWarning):
        warnings.warn(HypothesisDeprecationWarning("anything else"), stacklevel=1)
    with pytest.raises(DeprecationWarning):
        warnings.warn(DeprecationWarning("anything"), stacklevel=1)
