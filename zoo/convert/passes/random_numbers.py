"""Puts RandomUniformLike or RandomNormalLike in the place of inputs that are random numbers.

Right where the graph with inputs is: what the new nodes give has the shape that an output of that
graph told, which goes. They have no seed, so each call of a session draws anew.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnx import ModelProto, TensorProto, helper

from zoo.convert.passes.canonical import canonicalize
from zoo.convert.passes.dead import drop_dead
from zoo.convert.passes.order import order_nodes
from zoo.convert.passes.signature import BATCH

#: The sources of random numbers: from 0 to 1, and of mean 0 and variance 1.
UNIFORM, NORMAL = "uniform", "normal"

OPERATORS = {UNIFORM: "RandomUniformLike", NORMAL: "RandomNormalLike"}


def name_of(place: int) -> str:
    """Return what the input of the numbers at a place is called while the file is proven."""
    return f"zoo_draw_{place}"


def shape_of(place: int) -> str:
    """Return what the output is called that tells in which shape they were asked for."""
    return f"zoo_draw_{place}_shape"


def draw_inside(model: ModelProto, draws: Sequence[str]) -> ModelProto:
    """Return the model with operators that draw where it has the inputs of these sources."""
    drawing = ModelProto()
    drawing.CopyFrom(model)
    graph = drawing.graph
    gone = {name for at in range(len(draws)) for name in (name_of(at), shape_of(at))}
    symbols = {
        dim.dim_param
        for value in graph.input
        if value.name in gone
        for dim in value.type.tensor_type.shape.dim
    }
    for values in (graph.input, graph.output):
        kept = [value for value in values if value.name not in gone]
        del values[:]
        values.extend(kept)
    for at, kind in enumerate(draws):
        zeros = f"{name_of(at)}/zeros"
        value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.0])
        graph.node.append(helper.make_node("ConstantOfShape", [shape_of(at)], [zeros], value=value))
        graph.node.append(helper.make_node(OPERATORS[kind], [zeros], [name_of(at)]))
    for output in graph.output:
        for axis, dim in enumerate(output.type.tensor_type.shape.dim):
            if dim.dim_param in symbols:
                dim.dim_param = f"{output.name}_{axis}" if axis else BATCH
    order_nodes(graph)
    drop_dead(drawing)
    canonicalize(drawing)
    return drawing
