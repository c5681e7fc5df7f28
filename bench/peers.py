"""What Keras's own export and plain tf2onnx make of a model: each file loaded, fed and compared.

Both write a file even where it is not valid ONNX (tf2onnx logs unknown operators and goes on), so
an export that reports no error says little. Inputs and outputs go by position, since neither keeps
their names.

    python -m bench.peers EXPORTER     the process that zoo.atlas.isolated.measure_isolated starts
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from zoo.atlas.case import UNRUNNABLE, LayerCase, Outcome
from zoo.atlas.isolated import measure_requested
from zoo.atlas.measure import batches, build, loop_count, rows
from zoo.convert.patches import half_precision
from zoo.convert.signature import Tensor
from zoo.convert.specification import signature_of
from zoo.parity.compare import Case, Policy, Refusal, Report, Tolerance, compare_answers
from zoo.parity.keras_answers import answers
from zoo.parity.runtimes import OnnxRuntime
from zoo.training.framework import import_keras

#: Writes a model's file; the model was called before.
Write = Callable[[Any, Path], None]


def write_keras(model: Any, path: Path) -> None:
    """Write a model that was called by Keras's own export."""
    model.export(str(path), format="onnx", verbose=False)


def write_tf2onnx(model: Any, path: Path) -> None:
    """Write a model by plain tf2onnx.convert.from_function, with training=False."""
    import tf2onnx

    tf = import_keras().tf
    signature = signature_of(model)
    specification = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in signature.inputs]

    def infer(*tensors: Any) -> Any:
        return signature.call(model, tensors)

    function = tf.function(infer, input_signature=specification)
    tf2onnx.convert.from_function(function, specification, opset=17, output_path=str(path))


#: bfloat16 keeps 8 bits of a number: a few roundings of 4e-3.
HALF_TOLERANCE = Tolerance(scaled=2e-2, relative=0.0)

#: The two other exporters that a Keras 3 user has, by the names they have in tables.
KERAS, TF2ONNX = "Keras's export", "tf2onnx"
PEERS: dict[str, Write] = {KERAS: write_keras, TF2ONNX: write_tf2onnx}


def measure_peer(case: LayerCase, write: Write) -> Outcome:
    """Let a peer write its file, then do for it what it does not: load, feed, compare."""
    model = build(case)
    try:
        parity_cases = [_parity_case(case, model, batch) for batch in batches(case)]
    except Exception as error:  # Keras raises whatever its backend does
        return Outcome(name=case.name, status=UNRUNNABLE, reason=Refusal.of(error).reason)
    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "model.onnx"
        started = time.perf_counter()
        try:
            write(model, path)
        except Exception as error:  # whatever a peer raises, it at least says so
            return Outcome(name=case.name, status="refused", reason=Refusal.of(error).reason)
        seconds = time.perf_counter() - started
        try:
            graph = onnx.load(path)
            session = OnnxRuntime().load(path)
            halved = bool(half_precision(model))
            judged = [judge(session, graph, item, halved=halved) for item in parity_cases]
        except Exception as error:  # a runtime that refuses the file is the outcome
            reason = Refusal.of(error).reason
            return Outcome(name=case.name, status="invalid", reason=reason, seconds=seconds)
    wrong = [reason for reason, _ in judged if reason]
    return Outcome(
        name=case.name,
        status="wrong" if wrong else "ok",
        reason=wrong[0] if wrong else "",
        nodes=len(graph.graph.node),
        loops=loop_count(graph),
        difference=max(delta for _, delta in judged),
        seconds=seconds,
    )


def _parity_case(case: LayerCase, model: Any, batch: int) -> Case:
    """Return rows and Keras's answers, the outputs named by position.

    Ours computes in float32 whatever the policy says, and is held against Keras doing so; a peer's
    graph computes as the policy says, and is held against that.
    """
    signature = signature_of(model)
    feeds = dict(zip([t.name for t in signature.inputs], rows(case, batch), strict=True))
    if half_precision(model):
        outputs = model(list(feeds.values()) if len(feeds) > 1 else feeds[signature.inputs[0].name])
        leaves = import_keras().keras.tree.flatten(outputs)
        expected = {str(i): np.asarray(leaf).astype("float32") for i, leaf in enumerate(leaves)}
    else:
        expected = answers(model, signature, _outputs(model), feeds, reset_states=case.reset_states)
    return Case(name=f"batch {batch}", feeds=feeds, expected=expected)


def judge(session: Any, graph: Any, case: Case, *, halved: bool = False) -> tuple[str, float]:
    """Feed a peer's graph by position; return what is wrong, if anything, and the difference.

    `halved`: answers of half precision are expected.
    """
    inputs = list(case.feeds.values())
    if len(graph.graph.input) != len(inputs):
        raise ValueError(f"{len(graph.graph.input)} inputs where the model has {len(inputs)}")
    by_name = {value.name: rows for value, rows in zip(graph.graph.input, inputs, strict=True)}
    outputs = {str(i): value for i, value in enumerate(session(by_name).values())}
    if halved:
        outputs = {name: value.astype("float32") for name, value in outputs.items()}
    tolerance = HALF_TOLERANCE if halved else Tolerance()
    comparisons = compare_answers("peer", (case,), (outputs,), Policy(tolerance=tolerance))
    report = Report(comparisons=tuple(comparisons))
    return ("" if report.ok else report.worst.reason or "differs"), report.worst.max_abs


def _outputs(model: Any) -> Sequence[Tensor]:
    """Return the model's outputs as Keras declares them, named by position."""
    leaves = import_keras().keras.tree.flatten(model.outputs)
    return [
        Tensor(name=str(i), dtype="float32" if "float" in leaf.dtype else leaf.dtype, shape=())
        for i, leaf in enumerate(leaves)
    ]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the peers' progress and warnings."""
    logger = logging.getLogger("tf2onnx")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate


if __name__ == "__main__":
    measure_requested(lambda case: measure_peer(case, PEERS[sys.argv[1]]))
