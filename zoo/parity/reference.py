"""Runs files in the ONNX reference evaluator (numpy), and says which files and rows it is left out of.

It is left out of a proof where it would take minutes, or computes an operator wrong.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zoo.parity.adversarial import POOLED_NAN
from zoo.parity.compare import Arrays, Case, Comparison, Session
from zoo.parity.external_data import bytes_on_disk
from zoo.version import installed_version

if TYPE_CHECKING:
    from onnx import GraphProto

REFERENCE = "onnx-reference"

#: The reference evaluator is numpy: beyond this it would take minutes.
REFERENCE_BYTES = 4_000_000
REFERENCE_ELEMENTS = 100_000

#: It computes a ConvTranspose in a loop over batch, channels, kernel and pixels: so many a second or two.
REFERENCE_STEPS = 1_000_000


class OnnxReference:
    """onnx.reference.ReferenceEvaluator."""

    name = REFERENCE

    def version(self) -> str | None:
        """Return the version of the onnx package."""
        return installed_version("onnx")

    def load(self, model: Path) -> Session:
        """Load the graph; its outputs come back by name."""
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(os.fspath(model))
        names = list(evaluator.output_names)

        def run(feeds: Arrays) -> Arrays:
            return dict(zip(names, evaluator.run(names, dict(feeds)), strict=True))

        return run


def exclusion(runtime: str, path: Path, graph: GraphProto | None, cases: Sequence[Case]) -> str:
    """Return why a runtime is left out of a file's proof, empty if it is not."""
    if runtime != REFERENCE:
        return ""
    too_large = bytes_on_disk(path) > REFERENCE_BYTES
    if too_large or any(
        feed.size / max((1, *feed.shape[:1])) > REFERENCE_ELEMENTS
        for case in cases
        for feed in case.feeds.values()
    ):
        return "it would take minutes on a model of this size"
    if graph is not None and _transposed_steps(path, graph, cases) > REFERENCE_STEPS:
        return "it would take minutes on ConvTranspose of this size"
    return _computed_wrong(path, graph)


def _ranks(path: Path, names: Sequence[str]) -> list[int | None]:
    """Return how many dimensions values of a file's graph have, None where that is not known."""
    if not names:
        return []
    import onnx

    inferred = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    known = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*inferred.value_info, *inferred.input)
        if value.type.tensor_type.HasField("shape")
    }
    return [known.get(name) for name in names]


def _transposed_steps(path: Path, graph: GraphProto, cases: Sequence[Case]) -> int:
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


def _computed_wrong(path: Path, graph: GraphProto | None) -> str:
    """Return what in a graph the evaluator is known to compute wrong, empty for nothing.

    Measured with onnx 1.23.2 on graphs that onnxruntime runs as Keras does: a Loop's result loses
    its batch of one, StringNormalizer takes accents away, recurrent operators answer as with their default activations, and GlobalMaxPool
    takes the first axes after the batch for pixels unless there are four axes.
    """
    pooled = [n.input[0] for n in (graph.node if graph else ()) if n.op_type == "GlobalMaxPool"]
    if any(rank != 4 for rank in _ranks(path, pooled)):
        return "it computes GlobalMaxPool wrong of other than four dimensions"
    for node in graph.node if graph is not None else ():
        if node.op_type in ("Loop", "Scan", "StringNormalizer"):
            return f"it computes {node.op_type} wrong"
        if any(attribute.name == "activations" for attribute in node.attribute):
            return f"it computes {node.op_type} with default activations only"
    return ""


def without_pooled_nan(
    runtime: str, path: Path, cases: Sequence[Case], compared: Sequence[Comparison]
) -> list[Comparison]:
    """Leave uncounted what the reference evaluator gives for rows whose NaN arises before a MaxPool.

    Only rows that no data set has, and only what differs: onnxruntime is not excused, and must
    still give Keras's answer.
    """
    if runtime != REFERENCE:
        return list(compared)
    differing = {row.case for row in compared if row.failed and row.adversarial and row.output}
    excused = {
        case.name for case in cases if case.name in differing and _pools_nan(path, case.feeds)
    }
    return [
        replace(row, not_compared=POOLED_NAN) if row.failed and row.case in excused else row
        for row in compared
    ]


def _pools_nan(model: Path, feeds: Arrays) -> bool:
    """Tell whether a NaN arrives at a MaxPool of the graph when the evaluator runs these feeds.

    Infinities become NaN on the way (Inf - Inf), where neither the row nor the answer has one.
    """
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(os.fspath(model))
    pooled = [node.input[0] for node in evaluator.proto_.graph.node if node.op_type == "MaxPool"]
    if not pooled:
        return False
    with np.errstate(all="ignore"):
        values = evaluator.run(pooled, dict(feeds))
    return any(bool(np.isnan(value).any()) for value in values)
