"""The layer atlas: what the exporter does with Keras's layers. A subset here; `zoo layers` has all."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from zoo.atlas import ABSENT, FAMILIES, cases
from zoo.atlas.case import UNRUNNABLE, LayerCase, Outcome, case
from zoo.atlas.isolated import measure_isolated
from zoo.atlas.page import page

Outcomes = dict[str, dict[str, Any]]

ZOO = Path(sys.executable).with_name("zoo")

#: One or two of every family, chosen where mistakes have been made.
SUBSET = (
    r"^(Dense|Dense\[3D\]|EinsumDense|act:(gelu|celu|softmax|mish)|Conv1D|Conv2D\[(same,s2|groups2)\]|"
    r"DepthwiseConv2D|Conv2DTranspose|MaxPooling2D|GlobalAveragePooling1D|Flatten|Reshape\[-1\]|Permute|"
    r"Concatenate|Dot|BatchNormalization|LayerNormalization|Normalization|MultiHeadAttention|LSTM|"
    r"LSTM\[(seq|back|Bidirectional|Masking|relu|state|stacked)\]|GRU|GRU\[reset_after=False\]|"
    r"SimpleRNN|IntegerLookup|Discretization|RandomFlip|RandomCrop|Hashing|TextVectorization|"
    r"StringLookup\[(mask|invert)\]|Conv2DTranspose\[output_padding\]|Conv2D\[channels_first\]|"
    r"Resizing\[(area|bicubic)\]|ops:argmax)$"
)

#: The cases that the project set out with, by name: all but three of them have to be right.
FLOOR = Path(__file__).with_name("atlas_floor.txt").read_text().split("\n")[:-1]
FLOOR_RIGHT = 233


@pytest.fixture(scope="module")
def outcomes(zoo) -> Outcomes:
    """The subset's outcomes by name, measured in a process of its own."""
    done = zoo("layers", "--json", "--only", SUBSET, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return {outcome["name"]: outcome for outcome in json.loads(done.stdout)}


def test_names_are_unique() -> None:
    """A case is found by its name."""
    repeated = [name for name, n in Counter(case.name for case in cases()).items() if n > 1]

    assert not repeated


def _as_expected(outcomes: Outcomes) -> None:
    """Every outcome is the one that the case's table gives."""
    known = {case.name: case for case in cases()}
    for name, values in outcomes.items():
        assert Outcome.from_json(values).expected_of(known[name]), values
        assert values["reason"] or values["status"] == "ok"


def test_the_floor_is_the_atlas_that_the_project_began_with_and_text() -> None:
    """227 and eight names, each of them still a case."""
    names = {case.name for case in cases()}

    assert len(set(FLOOR)) == len(FLOOR) == 235
    assert set(FLOOR) <= names


def test_the_subset_is_right_or_refused_where_onnx_cannot_say_it(outcomes: Outcomes) -> None:
    """Nothing is wrong, and only what ONNX lacks is refused, for the reason that was expected."""
    assert len(outcomes) >= 45
    _as_expected(outcomes)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_atlas_is_right_or_refused_where_onnx_cannot_say_it() -> None:
    """Every case as its table says, and of those of the floor all but two right."""
    outcomes = {o.name: o.to_json() for o in measure_isolated([case.name for case in cases()])}
    right = [name for name in FLOOR if outcomes[name]["status"] == "ok"]

    assert list(outcomes) == [case.name for case in cases()]
    _as_expected(outcomes)
    assert len(right) >= FLOOR_RIGHT, sorted(set(FLOOR) - set(right))


PUBLIC = """
import inspect, json, sys
from zoo.training.framework import import_keras
from zoo.atlas import cases
from zoo.atlas.measure import build
keras = import_keras().keras
classes = {
    id(item): name
    for name, item in vars(keras.layers).items()
    if inspect.isclass(item) and issubclass(item, keras.layers.Layer) and name == item.__name__
}
called = set()
for layer in (l for c in cases() for l in build(c)._flatten_layers(recursive=True)):
    called.update(classes[id(kind)] for kind in type(layer).__mro__[:1] if id(kind) in classes)
functions = [name for name, item in vars(keras.activations).items() if inspect.isfunction(item)]
print(json.dumps({"missing": sorted(set(classes.values()) - called), "functions": functions}))
"""


@pytest.mark.slow
def test_every_public_layer_and_activation_has_a_case() -> None:
    """What a new Keras adds is missing here until it has a case, or a reason to have none."""
    done = subprocess.run(
        [sys.executable, "-c", PUBLIC], capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    public = json.loads(done.stdout)
    names = {case.name for case in cases()}

    # A layer may be reached as a part of another (RandAugment holds Equalization) without its own case.
    assert set(public["missing"]) <= set(ABSENT)
    assert not names.intersection(ABSENT)
    assert {f"act:{name}" for name in public["functions"]} - names == {
        "act:deserialize",
        "act:get",
        "act:serialize",
    }


def test_recurrent_layers_have_no_loop_unless_masked(outcomes: Outcomes) -> None:
    """The operators are written from the weights; ONNX's cannot say a mask."""
    for name, outcome in outcomes.items():
        if name.startswith(("LSTM", "GRU", "SimpleRNN")):
            assert bool(outcome["loops"]) == ("Masking" in name), name


def _outcome(status: str, reason: str = "") -> Outcome:
    return Outcome(name="Dense", status=status, reason=reason)


@pytest.mark.parametrize(
    ("refused", "outcome", "expected"),
    [
        ("", _outcome("ok"), True),
        ("", _outcome(UNRUNNABLE, "no kernel"), True),
        ("", _outcome("refused", "disagree"), False),
        ("", _outcome("crashed", "SIGSEGV"), False),
        ("SparseCross", _outcome("refused", "needs TensorFlow's SparseCross"), True),
        ("SparseCross", _outcome("refused", "another reason"), False),
        ("SparseCross", _outcome("ok"), False),
    ],
)
def test_only_the_expected_refusal_is_expected(
    refused: str, outcome: Outcome, expected: bool
) -> None:
    """A case that is refused for another reason than before, or suddenly right, wants a look."""
    layer: LayerCase = case("Dense", lambda k, x: x, (4,), refused=refused)

    assert outcome.expected_of(layer) is expected


DYING = """
import os, sys
from zoo.atlas.case import Outcome
from zoo.atlas.isolated import measure_requested

def measure(case):
    if case.name == "Dense[linear]":
        print("the last words", file=sys.stderr, flush=True)
        os.abort()
    print("what a library prints")
    return Outcome(name=case.name, status="ok")

measure_requested(measure)
"""


def test_what_ends_the_process_is_one_outcome() -> None:
    """The case that killed it says how, and the ones after it are measured all the same."""
    names = ["Dense", "Dense[linear]", "Dense[3D]"]
    outcomes = list(measure_isolated(names, (sys.executable, "-c", DYING)))

    assert [(o.name, o.status) for o in outcomes] == list(
        zip(names, ("ok", "crashed", "ok"), strict=True)
    )
    assert outcomes[1].reason == "the process ended by SIGABRT: the last words"


def test_the_page_has_a_row_a_case_and_the_totals() -> None:
    """Ours, with the reason of a refusal, beside each other exporter's outcome."""
    ours = [_outcome("ok"), _outcome("refused", "needs a|b")]
    peer = [_outcome("invalid"), _outcome("wrong")]
    text = page(ours, {"peer": peer}, "zoo layers")

    assert "generated: `zoo layers`" in text
    assert "invalid` is a file" in text
    assert "invalid` is a file" not in page(ours, {}, "zoo layers")
    assert "| `Dense` | refused: needs a\\|b |" in text
    assert "| peer | 0 | 0 | 1 | 1 | 0 | 0 | 0 |" in text
    assert all(name in text for name in ABSENT)


def test_every_family_has_cases() -> None:
    """A family that is not listed would not be measured."""
    folder = Path(__file__).parents[3] / "zoo/atlas"
    files = {path.stem for path in folder.glob("*.py") if "CASES = " in path.read_text()}

    assert files == set(FAMILIES)
