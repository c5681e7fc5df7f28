"""One Keras model to one ONNX file, which appears only once it is proven equal.

    convert (zoo/convert/conversion.py) -> write under a hidden name -> onnxruntime and the ONNX reference
    against Keras, batch 1 and 7 -> rename

Nothing is left behind on failure. `zoo.export_model` is this module's `export_model`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import onnx

from zoo.convert.conversion import Conversion, convert, facts, serialized
from zoo.convert.opsets import OPSET
from zoo.convert.passes.annotate import annotate
from zoo.convert.patches import half_precision
from zoo.errors import CheckFailed, StorageError, UsageError
from zoo.parity import runtimes
from zoo.parity.compare import Case, Comparison, Report, Session, Tolerance, verify
from zoo.parity.samples import SEED, cases, given_rows
from zoo.publish.manifest import variant_entry
from zoo.publish.properties import stable_name
from zoo.publish.variants import PORTABLE_SUFFIX, Variant
from zoo.quantize.decision import NONE, check_wish

#: For models of any depth.
TOLERANCE = Tolerance(
    scaled=1e-4,
    relative=0.0,
    reason=(
        "a hundredth of a percent of the largest answer: rounding alone reaches 5e-6 of it in "
        "networks of a hundred layers, and mistakes are seldom below 1e-2"
    ),
)

#: The reference evaluator is numpy: beyond this it would take minutes, and is left out aloud.
REFERENCE_BYTES = 4_000_000
REFERENCE_ELEMENTS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written and how it was proven. Plain values; `to_json` gives them as a dict."""

    path: Path
    bytes: int
    sha256: str
    opset: int
    ir_version: int
    nodes: int
    inputs: tuple[dict[str, Any], ...]
    outputs: tuple[dict[str, Any], ...]
    samples: str
    parity: tuple[Comparison, ...]
    notes: tuple[str, ...]
    seconds: float
    portable: Path | None = None
    smaller: tuple[Variant, ...] = ()
    portable_parity: tuple[Comparison, ...] = ()
    cases: tuple[Case, ...] = field(default=(), repr=False)

    @property
    def max_abs(self) -> float:
        """The largest difference from Keras in any runtime, of any file."""
        return max((row.max_abs for row in (*self.parity, *self.portable_parity)), default=0.0)

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values."""
        values = asdict(replace(self, cases=(), smaller=()))
        del values["cases"]
        return values | {
            "path": str(self.path),
            "portable": str(self.portable) if self.portable else None,
            "smaller": [variant_entry(variant) for variant in self.smaller],
            "max_abs": self.max_abs,
        }


def export_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    opset: int = OPSET,
    samples: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    reset_states: bool = False,
    portable: bool = False,
    quantize: str = NONE,
    max_loss: float | None = None,
    tolerance: Tolerance = TOLERANCE,
) -> ExportReport:
    """Write a built Keras model as an ONNX file, proven equal to Keras.

    `samples`: rows to compare on, as an array, a list in Keras's order, or a mapping by input
    name; without, seeded random rows are used and the report says so. A model that is not built
    yet is called on one sample first. `reset_states` allows stateful layers, exported as from
    their reset state. `portable` also writes PATH's stem + .portable.onnx, without recurrent
    operators, if the model has any.

    `quantize` ("int8", "fp16", or "auto" for what wins) also writes smaller variants beside it as
    stem + .int8.onnx and .fp16.onnx: ranges come from one half of the samples, and on the other
    the answers may differ from fp32's by `max_loss` (zoo/quantize says in which unit).

    Raises CheckFailed with one reason, and writes nothing, if the model cannot be exported right,
    or a variant asked for by name loses too much; UsageError for arguments that do not fit; StorageError if the disk refuses.
    """
    started = time.monotonic()
    target = Path(path)
    if not target.parent.is_dir():
        raise UsageError(f"{target.parent}: there is no such folder")
    check_wish(quantize, with_rows=samples is not None)
    _build(model, samples)
    made = convert(
        model,
        input_names=input_names,
        output_names=output_names,
        opset=opset,
        reset_states=reset_states,
        portable=portable,
    )
    for file in filter(None, (made.onnx, made.portable)):
        annotate(file, {"name": stable_name(model)})
    if made.no_portable:
        raise CheckFailed(f"{model.name}: {made.no_portable}: leave --portable out")
    compared = cases(model, made.signature, made.outputs, samples, reset_states=reset_states)
    second = target.with_name(target.stem + PORTABLE_SUFFIX) if made.portable else None
    with ExitStack() as stack:
        ready = {target: stack.enter_context(_written(target, serialized(made.onnx)))}
        first, notes = prove(ready[target], made.onnx, compared, tolerance)
        again = Report(comparisons=())
        if second is not None and made.portable is not None:
            ready[second] = stack.enter_context(_written(second, serialized(made.portable)))
            again, more = prove(ready[second], made.portable, compared, tolerance)
            notes += [f"portable: {note}" for note in more]
        smaller = _smaller(target, made, samples, quantize, max_loss)
        for variant in smaller:
            if variant.content is not None:
                beside = target.with_name(variant.file)
                ready[beside] = stack.enter_context(_written(beside, variant.content))
        for path, temporary in ready.items():
            _keep(temporary, path)
    told = [*_notes(model, samples), *notes]
    report = _report(target, second, made, first.comparisons, told, started, samples)
    return replace(
        report, cases=compared, portable_parity=again.comparisons, smaller=tuple(smaller)
    )


def _smaller(
    target: Path, made: Conversion, samples: Any, asked: str, max_loss: float | None
) -> list[Variant]:
    """Return the quantised variants asked for, published or not, as measured on the samples."""
    if asked == NONE:
        return []
    from zoo.quantize.evidence import of_rows
    from zoo.quantize.variants import smaller_variants

    batch = made.signature.inputs[0].shape[0]
    evidence = of_rows(given_rows(made.signature, samples), SEED, batch)
    return smaller_variants(made.onnx, evidence, asked=asked, max_loss=max_loss, file=target.name)


def prove(
    path: Path, model: onnx.ModelProto, compared: Sequence[Case], tolerance: Tolerance = TOLERANCE
) -> tuple[Report, list[str]]:
    """Compare a file with Keras in every runtime; return the report and what was left out.

    Raises CheckFailed where a runtime cannot run the graph, or answers otherwise.
    """
    notes: list[str] = []
    sessions: dict[str, Session] = {}
    for runtime in runtimes.available():
        if runtime.name not in ("onnxruntime", "onnx-reference"):
            continue
        if runtime.version() is None:
            notes.append(f"{runtime.name} is not installed: not compared")
            continue
        too_large = path.stat().st_size > REFERENCE_BYTES or any(
            feed.size / len(feed) > REFERENCE_ELEMENTS
            for case in compared
            for feed in case.feeds.values()
        )
        if runtime.name == "onnx-reference" and too_large:
            notes.append("onnx-reference left out: it would take minutes on a model of this size")
            continue
        if runtime.name == "onnx-reference" and (lacking := reference_lacks(model)):
            notes.append(f"onnx-reference left out: {lacking}")
            continue
        try:
            sessions[runtime.name] = runtime.load(path)
        except Exception as error:  # a foreign runtime may raise anything; it is its verdict
            if runtime.name == "onnx-reference":
                notes.append(f"onnx-reference cannot run the graph: {_first_line(error)}")
                continue
            raise CheckFailed(f"{runtime.name} refuses the graph: {_first_line(error)}") from error
    if "onnxruntime" not in sessions:
        raise CheckFailed("onnxruntime is not installed, and nothing is exported unproven")
    decisive = verify(compared, {"onnxruntime": sessions.pop("onnxruntime")}, tolerance=tolerance)
    rows = list(decisive.comparisons)
    for row in verify(compared, sessions, tolerance=tolerance).comparisons:
        # A comparison without an output is one in which the runtime raised: it lacks something.
        if row.output:
            rows.append(row)
        else:
            notes.append(f"{row.runtime} cannot run the graph: {row.reason}")
    report = Report(comparisons=tuple(rows))
    if not report.ok:
        worst = report.worst
        raise CheckFailed(
            f"{worst.runtime} and Keras disagree on {worst.output or 'the graph'} "
            f"({worst.case}): {worst.reason}"
        )
    return report, list(dict.fromkeys(notes))


def reference_lacks(model: onnx.ModelProto) -> str | None:
    """Return what in a graph the reference evaluator is known to compute wrong, if anything.

    Measured with onnx 1.23.2 on graphs that onnxruntime runs as Keras does: a Loop's result loses
    its batch of one, and recurrent operators answer as with their default activations.
    """
    for node in model.graph.node:
        if node.op_type in ("Loop", "Scan"):
            return f"it computes {node.op_type} wrong"
        if any(attribute.name == "activations" for attribute in node.attribute):
            return f"it computes {node.op_type} with default activations only"
    return None


def _build(model: Any, samples: Any) -> None:
    """Call a model that was never built on one row, so that its shapes are known."""
    if samples is None or (getattr(model, "built", True) and getattr(model, "_called", True)):
        return
    import keras

    row = samples
    if isinstance(samples, dict) and len(samples) == 1:
        (row,) = samples.values()
    try:
        model(keras.tree.map_structure(lambda rows: keras.ops.convert_to_tensor(rows[:1]), row))
    except Exception as error:  # Keras refuses rows by whatever its backend raises
        raise UsageError(f"samples that do not fit: Keras says {_first_line(error)}") from error


def _notes(model: Any, samples: Any) -> list[str]:
    policies = half_precision(model)
    notes = [f"{', '.join(policies)}: exported and compared in float32"] if policies else []
    if samples is None:
        notes.append(f"no samples given: compared on random rows (seed {SEED})")
    return notes


def _report(
    path: Path,
    portable: Path | None,
    made: Conversion,
    rows: Sequence[Comparison],
    notes: Sequence[str],
    started: float,
    samples: Any,
) -> ExportReport:
    data = path.read_bytes()
    graph = facts(made.onnx)
    return ExportReport(
        path=path,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        opset=graph["opset"],
        ir_version=graph["ir_version"],
        nodes=graph["nodes"],
        inputs=tuple(graph["inputs"]),
        outputs=tuple(graph["outputs"]),
        samples=f"random rows, seed {SEED}" if samples is None else "given rows",
        parity=tuple(rows),
        notes=tuple(notes),
        seconds=time.monotonic() - started,
        portable=portable,
    )


@contextmanager
def _written(target: Path, content: bytes) -> Iterator[Path]:
    """Yield the content's file under a hidden name beside the target, gone at the end."""
    temporary = target.with_name(f".tmp-{os.getpid()}-{target.name}")
    try:
        try:
            with temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"{target}: {reason}: nothing was written") from error
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _keep(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: {error.strerror or error}: nothing was written") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
