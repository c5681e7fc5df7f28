"""Proves ONNX files against Keras's answers, in the runtimes of this process.

    prove(files, cases, policy) -> one Proof a file

onnxruntime decides: a file that it refuses, or answers otherwise than Keras, is not proven. The ONNX
reference evaluator must agree wherever it answers; where it is too slow, computes an operator wrong
or cannot run the graph it is left out, and the proof says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import CheckFailed, MissingPackage
from zoo.parity.adversarial import POOLED_NAN, undefined
from zoo.parity.compare import (
    Arrays,
    Case,
    Comparison,
    Refusal,
    Report,
    Session,
    Tolerance,
    answer,
    compare_answers,
    shared_scales,
)
from zoo.parity.reference import pools_nan
from zoo.parity.runtimes import Runtime, available

#: Nothing is proven without it: the runtime that the server uses.
DECISIVE = "onnxruntime"

REFERENCE = "onnx-reference"

#: The reference evaluator is numpy: beyond this it would take minutes.
REFERENCE_BYTES = 4_000_000
REFERENCE_ELEMENTS = 100_000

#: It computes a ConvTranspose in a loop over batch, channels, kernel and pixels: so many a second or two.
REFERENCE_STEPS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How answers are judged.

    With `argmax` the rows of a model's output decide for a class, so that another class is wrong
    however small the difference.
    """

    tolerance: Tolerance = field(default_factory=Tolerance)
    argmax: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How one file was held against Keras.

    `versions` of the runtimes that were compared, `left_out` with the reason those that were not.
    `answers`: what each runtime gave for the case that `prove` was told to keep.
    """

    file: Path
    report: Report
    versions: Mapping[str, str]
    left_out: Mapping[str, str]
    answers: Mapping[str, Arrays] = field(default_factory=dict, repr=False)

    @property
    def notes(self) -> list[str]:
        """Which runtimes were left out and why, one line each."""
        return [f"{name} left out: {reason}" for name, reason in self.left_out.items()]

    def require(self) -> None:
        """Raise CheckFailed, naming the worst disagreement, unless the file is proven."""
        if self.report.ok:
            return
        worst = self.report.worst
        failed = sum(row.failed for row in self.report.comparisons)
        counts = f"{failed} of {len(self.report.comparisons)} comparisons failed"
        if not worst.output:
            raise CheckFailed(
                f"{self.file.name}: {worst.runtime} refuses the graph: {worst.reason}"
            )
        raise CheckFailed(
            f"{self.file.name}: {worst.runtime} and Keras disagree on {worst.output} "
            f"({worst.case}): {worst.reason}; {counts}"
        )


def prove(
    files: Iterable[Path],
    cases: Sequence[Case],
    policy: Policy,
    *,
    keep: Case | None = None,
    runtimes: Sequence[Runtime] | None = None,
) -> tuple[Proof, ...]:
    """Run the cases through each file in every installed runtime and compare with Keras's answers.

    The answers to the case `keep` come back with the proof. Raises MissingPackage without
    onnxruntime; whether a file is proven is for `Proof.require` to say.
    """
    chosen = available() if runtimes is None else runtimes
    if not any(runtime.name == DECISIVE and runtime.version() for runtime in chosen):
        raise MissingPackage("onnxruntime", "comparing with Keras", "cpu")
    return tuple(_prove(path, cases, policy, keep, chosen) for path in files)


def _prove(
    path: Path,
    cases: Sequence[Case],
    policy: Policy,
    keep: Case | None,
    runtimes: Sequence[Runtime],
) -> Proof:
    graph = read_graph(path)
    judged = left_open(cases, operators(graph))
    rows: list[Comparison] = []
    versions: dict[str, str] = {}
    left_out: dict[str, str] = {}
    kept: dict[str, Arrays] = {}
    for runtime in runtimes:
        version, mine = runtime.version(), [case for case in judged if case.concerns(runtime.name)]
        reason = "not installed" if version is None else exclusion(runtime.name, path, graph, mine)
        if reason:
            left_out[runtime.name] = reason
            continue
        answers = _answers(runtime, path, mine)
        compared = _compared(runtime.name, mine, answers, policy, shared_scales(judged))
        if runtime.name == REFERENCE:
            compared = _without_pooled_nan(path, mine, compared)
        refusals = [row for row in compared if not row.output]
        if refusals and runtime.name != DECISIVE:
            left_out[runtime.name] = f"cannot run the graph: {refusals[0].reason}"
            compared = [row for row in compared if row.output]
        if compared:
            rows += compared
            versions[runtime.name] = version or ""
        for case, outcome in zip(mine, answers, strict=True):
            if keep is not None and case.feeds is keep.feeds and not isinstance(outcome, Refusal):
                kept[runtime.name] = outcome
    report = Report(comparisons=tuple(rows))
    return Proof(file=path, report=report, versions=versions, left_out=left_out, answers=kept)


def _answers(runtime: Runtime, path: Path, cases: Sequence[Case]) -> list[Arrays | Refusal]:
    """Return what a runtime gives for each case; one that cannot load the file refuses them all."""
    session: Session
    try:
        session = runtime.load(path)
    except Exception as error:  # a foreign runtime may raise anything; it is its verdict
        return [Refusal.of(error) for _ in cases]
    with np.errstate(all="ignore"):  # what overflows in numpy is for the comparison to judge
        return [answer(session, case.feeds) for case in cases]


def _compared(
    runtime: str,
    cases: Sequence[Case],
    answers: Sequence[Arrays | Refusal],
    policy: Policy,
    scales: Mapping[str, float],
) -> list[Comparison]:
    return compare_answers(
        runtime,
        cases,
        answers,
        tolerance=policy.tolerance,
        argmax=policy.argmax,
        scales=scales,
    )


def _without_pooled_nan(
    path: Path, cases: Sequence[Case], compared: Sequence[Comparison]
) -> list[Comparison]:
    """Leave uncounted what the reference evaluator gives for rows whose NaN arises before a MaxPool.

    Only rows that no data set has, and only what differs: onnxruntime is not excused, and must
    still give Keras's answer.
    """
    differing = {row.case for row in compared if row.failed and row.adversarial and row.output}
    excused = {
        case.name for case in cases if case.name in differing and pools_nan(path, case.feeds)
    }
    return [
        replace(row, not_compared=POOLED_NAN) if row.failed and row.case in excused else row
        for row in compared
    ]


def left_open(cases: Sequence[Case], kinds: Iterable[str]) -> list[Case]:
    """Return the cases, with what the adversarial ones leave open in a graph of these operators."""
    present = frozenset(kinds)
    result = []
    for case in cases:
        if case.adversarial:
            arrays = (*case.feeds.values(), *case.expected.values())
            case = replace(case, undefined={**undefined(arrays, present), **case.undefined})
        result.append(case)
    return result


def exclusion(runtime: str, path: Path, graph: Any, cases: Sequence[Case]) -> str:
    """Return why a runtime is left out of a file's proof, empty if it is not."""
    if runtime != REFERENCE:
        return ""
    too_large = path.is_file() and path.stat().st_size > REFERENCE_BYTES
    if too_large or any(
        feed.size / max(len(feed), 1) > REFERENCE_ELEMENTS
        for case in cases
        for feed in case.feeds.values()
    ):
        return "it would take minutes on a model of this size"
    if graph is not None and transposed_steps(path, graph, cases) > REFERENCE_STEPS:
        return "it would take minutes on ConvTranspose of this size"
    return reference_lacks(graph)


def transposed_steps(path: Path, graph: Any, cases: Sequence[Case]) -> int:
    """Return how often the reference evaluator's loops for ConvTranspose run on the largest case."""
    nodes = [node for node in graph.node if node.op_type == "ConvTranspose"]
    if not nodes or not cases:
        return 0
    import onnx

    model = onnx.load(path)
    feeds = max(
        (case.feeds for case in cases), key=lambda feeds: sum(f.size for f in feeds.values())
    )
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for dim, size in zip(dims, np.shape(feeds.get(value.name, ())), strict=False):
            dim.dim_value = size
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    known = (*inferred.value_info, *inferred.input)
    shapes = {v.name: [dim.dim_value for dim in v.type.tensor_type.shape.dim] for v in known}
    shapes |= {tensor.name: list(tensor.dims) for tensor in inferred.initializer}
    steps = 0
    for node in nodes:
        x, w = (shapes.get(name, []) for name in node.input[:2])
        if len(w) > 2:
            pixels = x[2:] if len(x) > 2 and all(x) else [64] * (len(w) - 2)
            steps += (x or [1])[0] * w[1] * int(np.prod(w[2:])) * int(np.prod(pixels))
    return steps


def reference_lacks(graph: Any) -> str:
    """Return what in a graph the reference evaluator is known to compute wrong, empty for nothing.

    Measured with onnx 1.23.2 on graphs that onnxruntime runs as Keras does: a Loop's result loses
    its batch of one, and recurrent operators answer as with their default activations.
    """
    for node in graph.node if graph is not None else ():
        if node.op_type in ("Loop", "Scan"):
            return f"it computes {node.op_type} wrong"
        if any(attribute.name == "activations" for attribute in node.attribute):
            return f"it computes {node.op_type} with default activations only"
    return ""


def operators(graph: Any) -> set[str]:
    """Return the kinds of a graph's nodes."""
    return {node.op_type for node in graph.node} if graph is not None else set()


def read_graph(path: Path) -> Any:
    """Return a file's graph without its external data, None for a file that is no ONNX model."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(path, load_external_data=False).graph
    except (DecodeError, OSError):
        return None  # the runtimes will say what they think of it
