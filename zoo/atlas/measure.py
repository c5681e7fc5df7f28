"""Exports one case and returns its outcome.

Right means that onnxruntime gives Keras's answers at batch 1 and 7 (or the batch that the case
fixes) within 5e-5 of the largest. Ours cannot be wrong silently: what differs is refused.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx

from zoo.atlas.case import UNRUNNABLE, LayerCase, Outcome
from zoo.convert.conversion import Conversion, convert, serialized
from zoo.errors import ZooError
from zoo.parity.compare import Case, Policy, Refusal
from zoo.parity.keras_answers import answers
from zoo.parity.prove import prove
from zoo.training.framework import import_keras, seed_everything

if TYPE_CHECKING:
    from keras import Model

SEED = 7


def build(case: LayerCase) -> Model:
    """Return the case's model with random weights, the same every time."""
    keras = import_keras().keras
    seed_everything(SEED)
    if case.batch is None:
        inputs = [keras.Input(shape, dtype=case.dtype) for shape in case.shapes]
    else:
        shapes = [(case.batch, *shape) for shape in case.shapes]
        inputs = [keras.Input(batch_shape=shape, dtype=case.dtype) for shape in shapes]
    answer = case.call(keras, inputs[0] if len(inputs) == 1 else inputs)
    model: Model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, answer)
    randomize(model)
    if case.quantize:
        with warnings.catch_warnings():  # layers that have no weights say that they cannot be
            warnings.simplefilter("ignore")
            model.quantize(case.quantize)
    return model


def randomize(model: Model) -> None:
    """Give weights random values: zero biases are folded away, and would hide mistakes."""
    generator = np.random.default_rng(SEED)
    for weight in model.weights:
        if "float" not in str(weight.dtype) or weight.path.endswith("seed_generator_state"):
            continue
        values = generator.normal(scale=0.5, size=weight.shape)
        if "variance" in weight.path or "gamma" in weight.path:
            values = np.abs(values) + 0.5
        weight.assign(values.astype("float32"))


def rows(case: LayerCase, batch: int) -> list[np.ndarray]:
    """Return seeded rows for each input; unknown dimensions differ between batches."""
    generator = np.random.default_rng((SEED, batch))
    arrays = []
    for shape in case.shapes:
        size = (batch, *(6 + batch if dim is None else dim for dim in shape))
        if case.values == "words":
            values: np.ndarray = generator.choice(np.array(case.words, object), size=size)
        elif case.values == "integers":
            values = generator.integers(0, case.below, size).astype(case.dtype)
        elif case.values == "pixels":
            values = generator.uniform(0, 255, size).astype(case.dtype)
        else:
            values = generator.normal(size=size).astype(case.dtype)
        arrays.append(values)
    return arrays


def measure_case(case: LayerCase) -> Outcome:
    """Export a case with the zoo's exporter."""
    model = build(case)
    started = time.perf_counter()
    try:
        conversion = convert(model, reset_states=case.reset_states)
        seconds = time.perf_counter() - started
        try:
            parity_cases = [_parity_case(case, model, conversion, batch) for batch in batches(case)]
        except Exception as error:  # Keras raises whatever its backend does
            return Outcome(name=case.name, status=UNRUNNABLE, reason=Refusal.of(error).reason)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(serialized(conversion.onnx))
            proof = prove(path, parity_cases, Policy())
            proof.require()
    except ZooError as error:
        return Outcome(name=case.name, status="refused", reason=str(error))
    except Exception as error:  # a bug of ours is one case's outcome, and fails the command
        return Outcome(name=case.name, status="crashed", reason=Refusal.of(error).reason)
    return Outcome(
        name=case.name,
        status="ok",
        nodes=len(conversion.onnx.graph.node),
        loops=loop_count(conversion.onnx),
        difference=proof.report.worst.max_abs,
        seconds=seconds,
        notes=tuple(proof.notes),
    )


def batches(case: LayerCase) -> tuple[int, ...]:
    """Return the batch sizes to compare at."""
    return (case.batch,) if case.batch else (1, 7)


def _parity_case(case: LayerCase, model: Model, conversion: Conversion, batch: int) -> Case:
    """Return rows and Keras's answers to them."""
    feeds = dict(zip([t.name for t in conversion.signature.inputs], rows(case, batch), strict=True))
    expected = answers(
        model, conversion.signature, conversion.outputs, feeds, reset_states=case.reset_states
    )
    return Case(name=f"batch {batch}", feeds=feeds, expected=expected)


def loop_count(model: onnx.ModelProto) -> int:
    """Count the nodes that hold graphs of their own."""
    return sum(node.op_type in ("Loop", "Scan", "If") for node in model.graph.node)
