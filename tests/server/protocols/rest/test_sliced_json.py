"""JSON that is read a slice at a time means what json.loads makes of it, and fails with its words."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo_server.protocols.rest import sliced_json
from zoo_server.protocols.rest.sliced_json import SlicedDecoder

#: What json.dumps writes and json.loads reads, with what is only Python's: NaN, half a pair of surrogates.
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
    | st.text(st.sampled_from('ab",[]{}:\\\n é\ud800'), max_size=9),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=60,
)  # fmt: skip
LAYOUTS = st.sampled_from(
    [{"separators": (",", ":")}, {}, {"indent": 1}, {"ensure_ascii": False, "separators": (", ", ":")}]
)  # fmt: skip


def outcome(text, decoder):
    try:
        return repr(json.loads(text, cls=decoder))
    except ValueError as error:
        return error.args
    except RecursionError:
        return "too deep"


@pytest.fixture(params=[3, 16, 64], scope="module")
def short_slices(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sliced_json, "SLICE", request.param)
        yield


@given(value=VALUES, layout=LAYOUTS)
@settings(max_examples=50)
def test_every_value_is_read_alike(short_slices, value, layout):
    """Wherever the slices end: inside strings, numbers, nested arrays."""
    text = json.dumps(value, **layout)
    assert outcome(text, SlicedDecoder) == outcome(text, None)


@given(VALUES, LAYOUTS, st.data())
@settings(max_examples=100)
def test_every_mistake_is_said_alike(short_slices, value, layout, data):
    """Position and words, for a character that is missing, added or another."""
    text = json.dumps(value, **layout)
    place = data.draw(st.integers(0, len(text) - 1))
    new = data.draw(st.sampled_from(["", *'[]{},:"\\ 1e-N']))
    text = text[:place] + new + text[place + data.draw(st.integers(0, 1)) :]
    assert outcome(text, SlicedDecoder) == outcome(text, None)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[1," * 20_000,
        '{"a":' * 100_000,
        f"[{'1,' * 30_000}]",
        f"[{'1,' * 30_000}x]",
        f"[{'1,' * 30_000}{'1' * 5000}]",
        f"[{' ' * 100_000}1{' ' * 100_000}]",
        f'{{"a":1,"a":[{"1," * 30_000}2]}}',
    ],
    ids=["deep", "deep-lists", "deep-objects", "comma", "word", "digits", "space", "twice"],
)
def test_long_texts_are_read_alike(text):
    """With slices as they are."""
    assert outcome(text, SlicedDecoder) == outcome(text, None)
