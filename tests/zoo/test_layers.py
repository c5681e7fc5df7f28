"""The layer atlas: what the exporter does with Keras's layers. A subset here; `zoo layers` has all."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from zoo.layers import cases

ZOO = Path(sys.executable).with_name("zoo")

#: One or two of every family, chosen where mistakes have been made.
SUBSET = (
    r"^(Dense|Dense\[3D\]|EinsumDense|act:(gelu|celu|softmax|mish)|Conv1D|Conv2D\[(same,s2|groups2)\]|"
    r"DepthwiseConv2D|Conv2DTranspose|MaxPooling2D|GlobalAveragePooling1D|Flatten|Reshape\[-1\]|Permute|"
    r"Concatenate|Dot|BatchNormalization|LayerNormalization|Normalization|MultiHeadAttention|LSTM|"
    r"LSTM\[(seq|back|Bidirectional|Masking|relu|state|stacked)\]|GRU|GRU\[reset_after=False\]|"
    r"SimpleRNN|IntegerLookup|Discretization|RandomFlip|RandomCrop|Hashing|TextVectorization)$"
)


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[str, object]]:
    """The subset's outcomes by name, measured in a process of its own."""
    done = subprocess.run(
        [str(ZOO), "layers", "--json", "--only", SUBSET],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    return {outcome["name"]: outcome for outcome in json.loads(done.stdout)["ours"]}


def test_names_are_unique() -> None:
    """A case is found by its name."""
    repeated = [name for name, n in Counter(case.name for case in cases()).items() if n > 1]

    assert not repeated


def test_the_subset_is_right_or_refused_where_onnx_cannot_say_it(
    outcomes: dict[str, dict[str, object]],
) -> None:
    """Nothing is wrong, and only what ONNX lacks is refused, with a reason."""
    impossible = {case.name for case in cases() if case.refused}
    assert len(outcomes) >= 40
    for name, outcome in outcomes.items():
        assert outcome["status"] == ("refused" if name in impossible else "ok"), outcome
        assert outcome["reason"] or outcome["status"] == "ok"


def test_recurrent_layers_have_no_loop_unless_masked(
    outcomes: dict[str, dict[str, object]],
) -> None:
    """The operators are written from the weights; ONNX's cannot say a mask."""
    for name, outcome in outcomes.items():
        if name.startswith(("LSTM", "GRU", "SimpleRNN")):
            assert bool(outcome["loops"]) == ("Masking" in name), name
