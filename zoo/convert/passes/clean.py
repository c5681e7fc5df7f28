"""Runs the passes in order, until none changes the graph.

    groups            Conv's missing group attribute
    output_padding    ConvTranspose's negative padding -> output_padding
    shapes            computed shapes -> constants
    folding           constants of constants
    neutral           + 0, * 1, Identity
    gemm              MatMul, Add -> Gemm
    flatten_weights   Transpose, Reshape, Gemm -> Reshape, Gemm
    large_layout      Transpose, Reshape of a weight whose values are read later -> such a weight
    large_scale       Conv of such a weight, Mul, Add -> Conv
    dead              unused nodes and initializers

Each is right by itself, under the condition that its module's docstring states, so the order is
one of economy: what an earlier pass makes constant, the later ones see. Those of the graph as a
whole (signature, constants, canonical, annotate, random_numbers) run once each, where conversion.py and the
export call them.
"""

from __future__ import annotations

from collections.abc import Callable

from onnx import ModelProto

from zoo.convert.passes.dead import drop_dead
from zoo.convert.passes.flatten_weights import permute_rows_after_flatten
from zoo.convert.passes.folding import fold_constants
from zoo.convert.passes.gemm import matmul_add_to_gemm
from zoo.convert.passes.groups import set_groups
from zoo.convert.passes.large_layout import fold_layout
from zoo.convert.passes.large_scale import fold_scale
from zoo.convert.passes.large_weights import LargeWeights
from zoo.convert.passes.neutral import drop_neutral
from zoo.convert.passes.output_padding import negative_pads_to_output_padding
from zoo.convert.passes.shapes import fold_shapes
from zoo.convert.passes.view import View

#: Each rewrites what it finds first, or all of it, and returns whether anything changed.
PASSES: tuple[Callable[[View], bool], ...] = (
    set_groups,
    negative_pads_to_output_padding,
    fold_shapes,
    fold_constants,
    drop_neutral,
    matmul_add_to_gemm,
    permute_rows_after_flatten,
    fold_layout,
    fold_scale,
)


def clean(model: ModelProto, large: LargeWeights | None = None) -> None:
    """Run every pass until none changes the graph, then drop what is not read."""
    drop_dead(model)
    changed = True
    while changed:
        changed = False
        view = View(model, large)
        for run in PASSES:
            while run(view):
                changed = True
                view.refresh()
        drop_dead(model)
