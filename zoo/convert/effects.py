"""Finds why a traced model's answer may change from call to call: random numbers, variables that it writes.

The frozen graph would hold one draw, or one count, for ever. Random numbers from a seed that is a
constant are the same in every call, and stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from zoo.errors import CheckFailed

if TYPE_CHECKING:
    import keras
    import tensorflow as tf
    from tensorflow.core.framework.function_pb2 import FunctionDef
    from tensorflow.types.experimental import ConcreteFunction

#: TensorFlow's operators that draw; those called Stateless draw the same from the same seed.
DRAWS = re.compile(
    r"(Stateless|Stateful)?(Random\w*|\w*Multinomial|ParameterizedTruncatedNormal|TruncatedNormal"
    r"|StandardNormal\w*|Uniform(Int|FullInt)?|SampleDistortedBoundingBox\w*)(V\d)?"
)
#: Not draws: what they look up depends on the machine alone.
HELPERS = re.compile(r"StatelessRandomGetAlg|RandomStandardNormalInitializer")

WRITES = re.compile(r"Assign(Add|Sub)?VariableOp|ResourceScatter\w+")


def refuse_random(model: keras.Model, graph: tf.Graph, outputs: Iterable[tf.Tensor]) -> None:
    """Raise CheckFailed, naming the layer, if an output depends on numbers drawn anew each call."""
    operators = ancestors(value.op for value in outputs)
    functions: dict[str, FunctionDef] = {}
    for operator in operators:
        name = operator.name
        drawn = _draws_anew(operator)
        if not drawn and operator.type not in ("ReadVariableOp", "Placeholder", "Const"):
            drawn = _draws_inside(operator, graph, functions)
        if drawn:
            layer = layer_of(model, name)
            where = f"layer {layer}" if layer else f"{model.name} ({name})"
            raise CheckFailed(
                f"{where} draws random numbers at inference ({drawn}), and a file would repeat one "
                "draw for ever: draw only if training, give the numbers as an input, or let the "
                "file draw numbers from 0 to 1 and normal ones (export_model's random=True)"
            )


def _draws_anew(operator: tf.Operation) -> str:
    """Return an operator's type if each run gives other numbers, else nothing."""
    kind: str = operator.type
    if not DRAWS.fullmatch(kind) or HELPERS.fullmatch(kind):
        return ""
    if not kind.startswith("Stateless"):
        return kind
    # The first input of all but the one that makes a key is a shape, and others are parameters.
    first = 0 if kind.startswith("StatelessRandomGetKey") else 1
    seeds = [value for value in list(operator.inputs)[first:] if value.dtype.is_integer]
    computed = any(o.type == "Placeholder" for o in ancestors(value.op for value in seeds))
    return kind if computed else ""


def _draws_inside(
    operator: tf.Operation, graph: tf.Graph, functions: dict[str, FunctionDef]
) -> str:
    """Return the type of an operator that draws in a function that this one calls."""
    names = [
        item.func.name
        for item in operator.node_def.attr.values()
        if item.WhichOneof("value") == "func"
    ]
    if names and not functions:
        functions |= {f.signature.name: f for f in graph.as_graph_def().library.function}
    seen = set()
    while names:
        name = names.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name].node_def:
            if DRAWS.fullmatch(node.op) and not HELPERS.fullmatch(node.op):
                return str(node.op)
            names += [a.func.name for a in node.attr.values() if a.WhichOneof("value") == "func"]
    return ""


def written_variables(
    model: keras.Model, concrete: ConcreteFunction, outputs: Iterable[tf.Tensor]
) -> tuple[keras.Variable, ...]:
    """Return the model's variables that a call assigns, and on which its outputs depend."""
    written = {
        operator.inputs[0].name
        for operator in concrete.graph.get_operations()
        if WRITES.fullmatch(operator.type)
    }
    if not written:
        return ()
    read = {o.outputs[0].name for o in ancestors(v.op for v in outputs) if o.type == "Placeholder"}
    handles = {
        id(outer): inner.name for outer, inner in concrete.graph.captures if inner.name in written
    }
    return tuple(
        variable
        for variable in model.variables
        if handles.get(id(getattr(variable.value, "handle", None))) in read
    )


def writes_variables(graph: tf.Graph) -> bool:
    """Whether a traced graph, or a function that it calls, assigns a variable."""
    definition = graph.as_graph_def()
    functions = (node for f in definition.library.function for node in f.node_def)
    return any(WRITES.fullmatch(node.op) for node in (*definition.node, *functions))


def ancestors(operators: Iterable[tf.Operation]) -> list[tf.Operation]:
    """Return operators and all that their values are computed from."""
    todo, seen = list(operators), {}
    while todo:
        operator = todo.pop()
        if operator.name in seen:
            continue
        seen[operator.name] = operator
        todo += [value.op for value in operator.inputs]
    return list(seen.values())


def layer_of(model: keras.Model, name: str) -> str | None:
    """Return the layer in whose scope an operator lies."""
    scopes = [re.sub(r"_\d+$", "", part) for part in name.split("/")]
    layers = {layer.name: type(layer).__name__ for layer in model._flatten_layers()}
    for part in (*name.split("/"), *scopes):
        if part in layers and part != model.name:
            return f"{part} ({layers[part]})"
    return None
