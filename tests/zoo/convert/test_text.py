"""What is done to text is exact: ONNX's operators on strings against Python's, on any text."""

import re
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from zoo.convert.recurrent import DOMAIN
from zoo.convert.text import LOWER, REPLACE, SPACES, WORDS, expand_text, has_text, state_types
from zoo.convert.text_vectorization import literals_of

Run = Callable[[list[str]], np.ndarray]

#: What is split at, cleaned away or changed, and characters that look like it and are not.
TEXTS = st.lists(
    st.text(
        st.sampled_from("aAZz.,!-\\'\"<br />\t\n\v\f\r\0\x1c\x85\u00a0\u2003Éßİ中🙂"), max_size=30
    ),
    min_size=1,
    max_size=5,
)

#: Keras's own pattern (TextVectorization), and what it finds.
KERAS = r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']'
PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"


def _runner(*operators: tuple[str, dict[str, object]]) -> Run:
    """Return what runs private operators, one after the other, once they are expanded."""
    nodes, name = [], "text"
    for i, (kind, attributes) in enumerate(operators):
        nodes.append(helper.make_node(kind, [name], [f"y{i}"], domain=DOMAIN, **attributes))
        name = f"y{i}"
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])
    sizes = ["batch", "words"] if operators[-1][0] == WORDS else ["batch"]
    answer = helper.make_tensor_value_info(name, TensorProto.STRING, sizes)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(
        helper.make_graph(nodes, "text", [text], [answer]), opset_imports=opsets, ir_version=9
    )
    assert has_text(model)
    state_types(model)
    expand_text(model)
    assert not has_text(model)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return lambda rows: session.run(None, {"text": np.array(rows, object)})[0]


LOWERED = _runner((LOWER, {}))
STRIPPED = _runner((REPLACE, {"old": literals_of(KERAS), "new": ""}))
BROKEN = _runner((REPLACE, {"old": ["<br />"], "new": "\\-"}))
SPLIT = _runner((LOWER, {}), (WORDS, {}))


def _small(text: str) -> str:
    return re.sub("[A-Z]", lambda match: match[0].lower(), text)


@given(TEXTS)
def test_ascii_letters_become_small_ones(rows: list[str]) -> None:
    """And no others, whatever the machine's locale."""
    assert LOWERED(rows).tolist() == [_small(row) for row in rows]


@given(TEXTS)
def test_characters_are_taken_away(rows: list[str]) -> None:
    """Each of a set."""
    assert STRIPPED(rows).tolist() == [
        row.translate(str.maketrans("", "", PUNCTUATION)) for row in rows
    ]


@given(TEXTS)
@settings(max_examples=200)
def test_a_string_is_replaced(rows: list[str]) -> None:
    """Wherever it is, at the ends too, and nowhere else."""
    assert BROKEN(rows).tolist() == [row.replace("<br />", "\\-") for row in rows]


@given(TEXTS)
@settings(max_examples=200)
def test_words_stand_side_by_side(rows: list[str]) -> None:
    """As many columns as the longest row has words, none for rows without."""
    words = [[w for w in re.split(f"[{SPACES}]", _small(row)) if w] for row in rows]
    most = max(map(len, words))
    answer = SPLIT(rows)

    assert answer.shape == (len(rows), most)
    assert answer.tolist() == [[*row, *[""] * (most - len(row))] for row in words]


def test_a_batch_may_be_empty() -> None:
    """No rows, no words."""
    assert LOWERED([]).shape == STRIPPED([]).shape == (0,)
    assert SPLIT([]).shape == (0, 0)


def test_a_number_that_is_read_from_text_stays_a_number() -> None:
    """A Cast of the model's own is not taken for one that states a type."""
    text = helper.make_tensor_value_info("text", TensorProto.STRING, ["batch"])
    number = helper.make_tensor_value_info("number", TensorProto.FLOAT, ["batch"])
    nodes = [
        helper.make_node(REPLACE, ["text"], ["plain"], domain=DOMAIN, old=[","], new=""),
        helper.make_node("Cast", ["plain"], ["number"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "number", [text], [number])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    state_types(model)
    expand_text(model)

    session = onnxruntime.InferenceSession(model.SerializeToString())
    (numbers,) = session.run(None, {"text": np.array(["1,024", "2.5"], object)})

    assert numbers.tolist() == [1024.0, 2.5]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (KERAS, sorted(PUNCTUATION)),
        (f"[{re.escape('.,-!')}]", ["!", ",", "-", "."]),
        ("<br />", ["<br />"]),
        (r"a\.b", ["a.b"]),
        (r"\d+", []),
        ("[^a-z]", []),
        (r"[\w]", []),
        ("[[:punct:]]", []),
        ("a|b", []),
        ("é", []),
        ("", []),
        ("[a-z]+", []),
    ],
)
def test_patterns_that_list_what_they_find_are_read(pattern: str, found: list[str]) -> None:
    """Others are no list, and are refused."""
    assert literals_of(pattern) == found
