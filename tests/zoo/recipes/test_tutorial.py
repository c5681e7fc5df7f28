"""To register is to be tested: every model is trained once a session, and keeps what it promises."""

from __future__ import annotations

from typing import Any

import pytest

from zoo.recipes.architecture import Layer
from zoo.recipes.claim import Claim
from zoo.recipes.registry import Registry
from zoo.training.metrics import is_better, shortfalls
from zoo.training.record import TrainingRecord
from zoo.training.runs import RunFolder

KNOWN = Registry.default(installed=())
RECIPES = [KNOWN.get(name) for name in KNOWN.names()]
#: A step is trained as its source, and what needs data that is not in a package is trained elsewhere.
every_model = pytest.mark.parametrize(
    "name", [r.name for r in RECIPES if r.step_of is None and r.dataset.home is None]
)


def _record(trained: Any, name: str) -> TrainingRecord:
    record = RunFolder(trained.runs, name).record
    assert record is not None
    return record


@every_model
def test_it_has_the_parameters_and_shapes_it_says(trained: Any, name: str) -> None:
    """Parameter count, input and output shape, names."""
    recipe, record = KNOWN.get(name), _record(trained, name)
    rows = RunFolder(trained.runs, name).held_out()

    assert record.trainable == recipe.parameters
    assert tuple(tensor["name"] for tensor in record.inputs) == recipe.inputs
    for tensor, x in zip(record.inputs, rows.inputs, strict=True):
        assert tensor["dtype"] == "float32"
        assert tensor["shape"][0] is None
        fits = zip(tensor["shape"][1:], x.shape[1:], strict=True)
        assert all(size in (None, seen) for size, seen in fits)
    wanted = {"multiclass": [len(recipe.classes)], "binary": [1]}
    assert record.outputs[0]["shape"] == [None, *wanted.get(recipe.task, rows.y.shape[1:])]
    assert tuple(tensor["name"] for tensor in record.outputs) == recipe.outputs


@every_model
def test_it_keeps_its_claim_and_beats_the_naive_answer(trained: Any, name: str) -> None:
    """Measured on held-out rows that nothing else saw."""
    recipe, record = KNOWN.get(name), _record(trained, name)
    value, baseline = record.metric["value"], record.baseline["value"]

    assert record.claim["held"] is True
    assert shortfalls(recipe, value, baseline) == []
    # Clearly: by a fifth of the naive error or more.
    naive_error = 1 - baseline if recipe.metric == "accuracy" else baseline
    error = 1 - value if recipe.metric == "accuracy" else value
    assert is_better(recipe, value, baseline)
    assert error < 0.8 * naive_error


@every_model
def test_its_docstring_is_the_recorded_claim(trained: Any, name: str) -> None:
    """The card repeats what the source says."""
    recipe, record = KNOWN.get(name), _record(trained, name)

    assert Claim.parse(recipe.doc) == recipe.claim
    assert record.claim["text"] == recipe.claim.text
    assert record.dataset["rows"]["test"] == recipe.claim.rows


def _calls(trained: Any, name: str) -> list[tuple[str, dict[str, Any]]]:
    layers = [Layer.from_json(values) for values in _record(trained, name).layers]
    return [(layer.type, dict(layer.options)) for layer in layers[1:]]


def test_the_convolutional_stack_is_the_tutorials(trained: Any) -> None:
    """One weightless Rescaling, then the tutorial's seven layers: 178 parameters."""
    calls = _calls(trained, "cnn_digits")

    assert [kind for kind, _ in calls] == [
        "Rescaling",
        "Conv2D",
        "MaxPooling2D",
        "Conv2D",
        "MaxPooling2D",
        "Flatten",
        "Dense",
        "Dense",
    ]
    wanted: list[dict[str, Any]] = [
        {"filters": 2, "kernel_size": [3, 3], "padding": "same", "activation": "relu"},
        {"pool_size": [2, 2]},
        {"filters": 3, "kernel_size": [2, 2], "padding": "same", "activation": "relu"},
        {"pool_size": [2, 2]},
        {},
        {"units": 8, "activation": "relu"},
        {"units": 3, "activation": "softmax"},
    ]
    for (_, options), expected in zip(calls[1:], wanted, strict=True):
        assert expected.items() <= options.items()
    record = _record(trained, "cnn_digits")
    assert record.trainable == record.total == 178


def test_the_dense_layer_has_thirty_two_connections(trained: Any) -> None:
    """4 inputs and 8 outputs, as the tutorial counts them."""
    connections = [values["connections"] for values in _record(trained, "dense_iris").layers]

    assert 32 in connections


def test_the_lstms_differ_in_what_they_return(trained: Any) -> None:
    """One forecast, or one at every step, from three memory cells each."""
    last, every = (_calls(trained, name) for name in ("lstm_sunspots", "lstm_sunspots_sequence"))

    assert ("LSTM", 3) in [(kind, options.get("units")) for kind, options in last]
    assert "return_sequences" not in dict(last)["LSTM"]
    assert dict(every)["LSTM"]["return_sequences"] is True


def test_both_directions_say_what_they_read(trained: Any) -> None:
    """Bidirectional's own options are its defaults; the LSTM within is what counts."""
    inner = {"type": "LSTM", "options": {"units": 3, "activation": "tanh"}}

    assert dict(_calls(trained, "bilstm_sunspots"))["Bidirectional"] == {"layer": inner}


def test_the_convolutions_treat_borders_both_ways(trained: Any) -> None:
    """`valid` and `same`, on three channels; `valid` with 32 filters of 5×5 on 28×28."""
    rgb = [options for kind, options in _calls(trained, "cnn_rgb") if kind == "Conv2D"]
    valid = dict(_calls(trained, "cnn_valid"))["Conv2D"]

    assert [options["padding"] for options in rgb] == ["valid", "same"]
    assert (valid["filters"], valid["kernel_size"], valid["padding"]) == (32, [5, 5], "valid")
