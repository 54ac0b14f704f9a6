"""Property values survive the way to the engine and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.plugins.properties import (
    OUTPUT_SIGNATURE,
    RESOURCE_SIGNATURE,
    SIGNATURE,
    UNKNOWN,
    UNKNOWN_SENTINELS,
    Output,
    Secret,
    decode,
    encode,
    has_secret,
    has_unknown,
    plain,
)

_texts = st.text(max_size=8).filter(lambda text: text not in UNKNOWN_SENTINELS)
_numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not number.is_integer()
)
_values = st.recursive(
    st.none() | st.booleans() | _numbers | _texts | st.just(UNKNOWN),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_texts, inner, max_size=3)
        | st.builds(Secret, inner)
        | st.builds(
            Output, inner, st.booleans(), st.lists(_texts, max_size=2).map(lambda urns: (*urns,))
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(_texts, _values, max_size=4))
def test_every_value_comes_back_as_it_was(properties: dict[str, object]) -> None:
    assert decode(encode(properties)) == properties


@pytest.mark.parametrize("sentinel", sorted(UNKNOWN_SENTINELS))
def test_every_sentinel_is_unknown(sentinel: str) -> None:
    assert decode(encode({"a": [sentinel]})) == {"a": [UNKNOWN]}


def test_an_output_without_a_value_is_unknown() -> None:
    message = encode({"a": {SIGNATURE: OUTPUT_SIGNATURE, "secret": True}})
    assert decode(message) == {"a": Output(UNKNOWN, secret=True)}


def test_other_envelopes_stay_maps() -> None:
    reference = {SIGNATURE: RESOURCE_SIGNATURE, "urn": "urn:x"}
    assert decode(encode({"a": reference})) == {"a": reference}


def test_plain_removes_every_mark_but_unknown() -> None:
    nested = {"a": Secret([Output({"b": Secret(1)}), UNKNOWN])}
    assert plain(nested) == {"a": [{"b": 1}, UNKNOWN]}
    assert has_unknown(nested)
    assert has_secret(nested)
    assert not has_secret({"a": Output(1)})


def test_a_secret_is_not_shown() -> None:
    assert "hunter2" not in repr([Secret("hunter2"), Output("hunter2", secret=True)])


def test_an_error_names_the_type_and_not_the_value() -> None:
    with pytest.raises(TypeError, match="a bytes has no form") as caught:
        encode({"password": b"hunter2"})
    assert "hunter2" not in str(caught.value)
