"""Export one case and say how it went: ok, refused with the reason, or wrong.

Right means that onnxruntime gives Keras's answers at batch 1 and 7 (or the batch that the case
fixes) within 1e-4 of the largest. Ours cannot be `wrong` silently: what differs is refused. The
peers check nothing, so their files are judged here: `invalid` is a file that cannot be loaded or
fed, of which nobody was told.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from zoo.errors import CheckFailed, ZooError
from zoo.export import convert, serialized
from zoo.export_file import TOLERANCE, prove
from zoo.framework import seed_everything, start
from zoo.layers.case import Case
from zoo.runtimes.onnxruntime_session import OnnxRuntime
from zoo.tracing.interface import interface
from zoo.tracing.samples import answers, cases
from zoo.verify import Case as Parity
from zoo.verify import verify

SEED = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one exporter did on one case."""

    name: str
    status: str
    reason: str = ""
    nodes: int = 0
    loops: int = 0
    difference: float = 0.0
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        return asdict(self)


def build(case: Case) -> Any:
    """Return the case's model with random weights, the same every time."""
    keras = start().keras
    seed_everything(SEED)
    if case.batch is None:
        inputs = [keras.Input(shape, dtype=case.dtype) for shape in case.shapes]
    else:
        shapes = [(case.batch, *shape) for shape in case.shapes]
        inputs = [keras.Input(batch_shape=shape, dtype=case.dtype) for shape in shapes]
    answer = case.call(keras, inputs[0] if len(inputs) == 1 else inputs)
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, answer)
    randomize(model)
    return model


def randomize(model: Any) -> None:
    """Give weights random values: zero biases are folded away, and would hide mistakes."""
    generator = np.random.default_rng(SEED)
    for weight in model.weights:
        if "float" not in str(weight.dtype) or weight.path.endswith("seed_generator_state"):
            continue
        values = generator.normal(scale=0.5, size=weight.shape)
        if "variance" in weight.path or "gamma" in weight.path:
            values = np.abs(values) + 0.5
        weight.assign(values.astype("float32"))


def rows(case: Case, batch: int) -> list[np.ndarray]:
    """Return seeded rows for each input; unknown dimensions differ between batches."""
    generator = np.random.default_rng((SEED, batch))
    found = []
    for shape in case.shapes:
        size = (batch, *(6 + batch if dim is None else dim for dim in shape))
        if case.values == "words":
            values: Any = generator.choice(np.array(case.words, object), size=size)
        elif case.values == "integers":
            values = generator.integers(0, case.below, size).astype(case.dtype)
        elif case.values == "pixels":
            values = generator.uniform(0, 255, size).astype(case.dtype)
        else:
            values = generator.normal(size=size).astype(case.dtype)
        found.append(values)
    return found


def measure(case: Case) -> Outcome:
    """Export a case with the zoo's exporter."""
    model = build(case)
    started = time.perf_counter()
    try:
        made = convert(model, reset_states=case.reset_states)
        seconds = time.perf_counter() - started
        compared = []
        for batch in (case.batch,) if case.batch else (1, 7):
            feeds = dict(zip([t.name for t in made.face.inputs], rows(case, batch), strict=True))
            compared.append(
                Parity(
                    name=f"batch {batch}",
                    feeds=feeds,
                    expected=answers(
                        model, made.face, made.outputs, feeds, reset_states=case.reset_states
                    ),
                )
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(serialized(made.onnx))
            report, notes = prove(path, made.onnx, compared)
    except ZooError as error:
        return Outcome(name=case.name, status="refused", reason=str(error))
    except Exception as error:  # a bug of ours is one case's outcome, and fails the command
        return Outcome(name=case.name, status="crashed", reason=_line(error))
    return Outcome(
        name=case.name,
        status="ok",
        nodes=len(made.onnx.graph.node),
        loops=_loops(made.onnx),
        difference=report.worst.max_abs,
        seconds=seconds,
        notes=tuple(notes),
    )


def measure_keras(case: Case) -> Outcome:
    """Export a case with Keras's own export."""
    model = build(case)

    def write(path: Path) -> None:
        inputs = [start().tf.constant(values) for values in rows(case, case.batch or 1)]
        model(inputs[0] if len(inputs) == 1 else inputs)
        model.export(str(path), format="onnx", verbose=False)

    return _peer(case, model, write)


def measure_tf2onnx(case: Case) -> Outcome:
    """Export a case with plain tf2onnx.convert.from_function, training=False."""
    model = build(case)

    def write(path: Path) -> None:
        import tf2onnx

        tf = start().tf
        face = interface(model)
        signature = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in face.inputs]

        def infer(*tensors: Any) -> Any:
            return model(face.pack(tensors), training=False)

        function = tf.function(infer, input_signature=signature)
        tf2onnx.convert.from_function(function, signature, opset=17, output_path=str(path))

    return _peer(case, model, write)


def _peer(case: Case, model: Any, write: Callable[[Path], None]) -> Outcome:
    """Let a peer write its file, then do for it what it does not: load, feed, compare."""
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = Path(folder) / "model.onnx"
        started = time.perf_counter()
        try:
            write(path)
        except Exception as error:  # whatever a peer raises, it at least says so
            return Outcome(name=case.name, status="refused", reason=_line(error))
        seconds = time.perf_counter() - started
        try:
            graph = onnx.load(path)
            session = OnnxRuntime().load(path)
            found = [_judge(case, model, session, graph, b) for b in _batches(case)]
        except Exception as error:  # a runtime that refuses the file is the finding
            return Outcome(name=case.name, status="invalid", reason=_line(error), seconds=seconds)
    bad = [reason for reason, _ in found if reason]
    return Outcome(
        name=case.name,
        status="wrong" if bad else "ok",
        reason=bad[0] if bad else "",
        nodes=len(graph.graph.node),
        loops=_loops(graph),
        difference=max(delta for _, delta in found),
        seconds=seconds,
    )


def _batches(case: Case) -> tuple[int, ...]:
    return (case.batch,) if case.batch else (1, 7)


def _judge(case: Case, model: Any, session: Any, graph: Any, batch: int) -> tuple[str, float]:
    """Feed a peer's graph by position and compare by position: it keeps no names."""
    face = interface(model)
    inputs = rows(case, batch)
    if len(graph.graph.input) != len(inputs):
        raise ValueError(f"{len(graph.graph.input)} inputs where the model has {len(inputs)}")
    named = dict(zip([t.name for t in face.inputs], inputs, strict=True))
    made = convert_outputs(model)
    expected = answers(model, face, made, named, reset_states=case.reset_states)
    by_name = {value.name: rows for value, rows in zip(graph.graph.input, inputs, strict=True)}
    answer = list(session(by_name).values())
    compared = Parity(
        name=f"batch {batch}",
        feeds=named,
        expected={str(i): value for i, value in enumerate(expected.values())},
    )
    report = verify(
        (compared,),
        {"peer": lambda _: {str(i): value for i, value in enumerate(answer)}},
        tolerance=TOLERANCE,
    )
    return ("" if report.ok else report.worst.reason or "differs"), report.worst.max_abs


def convert_outputs(model: Any) -> Sequence[Any]:
    """Return the model's outputs as Keras declares them."""
    from zoo.tracing.interface import Tensor

    keras = start().keras
    leaves = keras.tree.flatten(model.outputs)
    return [
        Tensor(name=str(i), dtype="float32" if "float" in leaf.dtype else leaf.dtype, shape=())
        for i, leaf in enumerate(leaves)
    ]


def _loops(model: onnx.ModelProto) -> int:
    return sum(node.op_type in ("Loop", "Scan", "If") for node in model.graph.node)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0][:200]}"


@contextlib.contextmanager
def _quiet() -> Any:
    """Silence the peers' progress and warnings."""
    logger = logging.getLogger("tf2onnx")
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        logger.propagate = propagate


__all__ = [
    "CheckFailed",
    "Outcome",
    "build",
    "cases",
    "measure",
    "measure_keras",
    "measure_tf2onnx",
]
