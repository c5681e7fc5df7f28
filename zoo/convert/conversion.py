"""Converts a Keras model to a checked ONNX model.

trace (function, patches) -> tf2onnx (from_function, handlers) -> captures to initializers
-> signature -> recurrent operators (recurrent) -> clean (passes) -> newer operator sets, text
-> canonical names -> ONNX checker with full shape inference, allowed operators only
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import onnx
from onnx import ModelProto, ValueInfoProto

from zoo.convert.from_function import TF2ONNX_OPSET, from_function
from zoo.convert.function import Traced, input_key, output_key, trace
from zoo.convert.opsets import IR_VERSIONS, OPSET, check_opset
from zoo.convert.passes.canonical import canonicalize
from zoo.convert.passes.clean import clean
from zoo.convert.passes.constants import captures_to_initializers
from zoo.convert.passes.large_weights import LargeWeights, inputs_as_large, large_as_inputs
from zoo.convert.passes.signature import output_dims, restore_inputs, write_signature
from zoo.convert.patches import patched
from zoo.convert.recurrent.operators import Operators, Writer, expand
from zoo.convert.recurrent.plan import Plan
from zoo.convert.recurrent.portable import NoPortableVariant, Portable
from zoo.convert.signature import Signature, Tensor
from zoo.convert.specification import signature_of
from zoo.convert.states import check_states
from zoo.convert.text import TEXT_OPSET, expand_text, has_text, state_types
from zoo.convert.weights import initializers, large_variables
from zoo.errors import CheckFailed, first_line
from zoo_server import datatypes
from zoo_server.version import VERSION

if TYPE_CHECKING:
    import keras

#: Operators of other domains that every onnxruntime has. TensorFlow's own names in the default
#: domain, which tf2onnx writes where it fails, are caught by the checker.
ALLOWED = {"ai.onnx.ml": {"LabelEncoder"}}

#: What a portable variant has none of.
RECURRENT = {"GRU", "LSTM", "Loop", "RNN", "Scan"}

#: A protobuf message cannot be larger; a larger model has its weights in a file beside it.
MAX_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A checked ONNX model, and the signature that Keras gives it.

    `portable` is the same model without recurrent operators, None if it has none, if it was not
    requested, or if `no_portable` says why there cannot be one. `written`: the variables that
    every call of the Keras model assigns and reads; the graph has their values of now. `large` gives
    the weights that are read when a graph is written.
    """

    onnx: ModelProto
    portable: ModelProto | None
    no_portable: str
    signature: Signature
    outputs: tuple[Tensor, ...]
    written: tuple[keras.Variable, ...] = ()
    large: LargeWeights = field(default_factory=LargeWeights)


def convert(
    model: keras.Model,
    *,
    signature: Signature | None = None,
    opset: int = OPSET,
    reset_states: bool = False,
    portable: bool = False,
) -> Conversion:
    """Convert a built Keras model; nothing is compared yet (zoo/parity/prove.py does).

    Inputs and outputs come in Keras's order under Keras's names unless `signature` has others; the
    first dimension is `batch` where that leaves it open. Raises CheckFailed with the reason if the
    model cannot be converted right, UsageError for an unknown opset.
    """
    check_opset(opset)
    signature = signature or signature_of(model)
    traced, raw = _traced(model, signature, min(opset, TF2ONNX_OPSET), reset_states)
    large = LargeWeights()
    variant, reason = None, ""
    if portable:
        try:
            variant = _portable(raw, traced, signature, opset, large)
        except NoPortableVariant as error:
            reason = str(error)
    return Conversion(
        onnx=_finish(raw, traced, signature, opset, Operators, large),
        portable=variant,
        no_portable=reason,
        signature=signature,
        outputs=traced.outputs,
        written=traced.written,
        large=large,
    )


def _traced(
    model: keras.Model, signature: Signature, opset: int, reset_states: bool
) -> tuple[Traced, ModelProto]:
    """Trace a model and run tf2onnx, without the values of a large model's weights.

    With them where that fails: a model may assign a weight in its call, or read it otherwise.
    """

    def run(large: tuple[keras.Variable, ...]) -> tuple[Traced, ModelProto]:
        with patched(model, signature, reset_states=reset_states) as tokens:
            traced = trace(model, signature, tokens, large)
            check_states(signature, traced.outputs)
            return traced, from_function(model, traced, opset)

    large = large_variables(model)
    try:
        return run(large)
    except CheckFailed:
        if not large or sum(math.prod(w.shape) * 4 for w in model.weights) > MAX_BYTES:
            raise
    return run(())


def serialized(model: ModelProto) -> bytes:
    """Return the file's bytes, the same for the same model."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _portable(
    raw: ModelProto, traced: Traced, signature: Signature, opset: int, large: LargeWeights
) -> ModelProto | None:
    """Return the variant without recurrent operators, None for a graph that has none.

    Raises NoPortableVariant if it has some that cannot be written otherwise.
    """
    looping = sorted({node.op_type for node in raw.graph.node} & RECURRENT)
    if not looping and not any(isinstance(item, Plan) for item in traced.tokens.values()):
        return None
    if looping:
        raise NoPortableVariant(
            f"the portable form has no {looping[0]}, which masks and foreign cells become"
        )
    copy = ModelProto()
    copy.CopyFrom(raw)
    return _finish(copy, traced, signature, opset, Portable, large)


def _finish(
    model: ModelProto,
    traced: Traced,
    signature: Signature,
    opset: int,
    writer: type[Writer],
    large: LargeWeights,
) -> ModelProto:
    """Bring tf2onnx's graph into its final form."""
    inputs = {input_key(i): t for i, t in enumerate(traced.inputs)}
    outputs = {output_key(i): t for i, t in enumerate(traced.outputs)}
    restore_inputs(model, {key: t.dtype for key, t in inputs.items()}, traced.captures)
    weights = initializers(traced.large, large)
    captures_to_initializers(model, inputs, traced.captures, weights)
    state_types(model)
    by_name = signature.input_dims()
    dims: dict[str, Sequence[int | str | None]] = {k: by_name[t.name] for k, t in inputs.items()}
    write_signature(model, dims | {key: t.shape for key, t in outputs.items()})
    expand(model, traced.tokens, writer)
    clean(model, large)
    shapes = {key: (t.name, t.shape) for key, t in outputs.items()}
    write_signature(model, dims | output_dims(model, shapes))
    if has_text(model):
        opset = max(opset, TEXT_OPSET)
    if opset > TF2ONNX_OPSET:
        source, model = model, _at_opset(large_as_inputs(model), opset)
        inputs_as_large(model, source)
    expand_text(model)
    del model.graph.value_info[:]
    canonicalize(model, {key: t.name for key, t in (inputs | outputs).items()})
    model.ir_version = IR_VERSIONS[opset]
    model.producer_name = "layer-zoo"
    model.producer_version = VERSION
    check_graph(model)
    return model


def _at_opset(model: ModelProto, opset: int) -> ModelProto:
    """Bring a graph to a newer operator set; checker and parity judge the result."""
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises RuntimeError and others, by operator
        first = str(error).strip().splitlines()[-1]
        raise CheckFailed(
            f"the graph cannot be brought to opset {opset}: {first}; opset {TF2ONNX_OPSET} is the "
            "newest that needs no conversion"
        ) from error


def check_graph(model: ModelProto) -> None:
    """Run the ONNX checker with full shape inference, and refuse operators few runtimes have."""
    try:
        onnx.checker.check_model(large_as_inputs(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise CheckFailed(f"the exported graph is not valid ONNX: {first_line(error)}") from error
    except ValueError as error:  # what serializing says of more than 2 GB
        raise CheckFailed(f"the exported graph is too large for one file: {error}") from error
    foreign = {
        f"{node.domain}.{node.op_type}"
        for node in model.graph.node
        if node.domain not in ("", "ai.onnx")
        and node.op_type not in ALLOWED.get(node.domain, set())
    }
    if foreign:
        raise CheckFailed(
            f"the exported graph needs operators outside the standard: {', '.join(sorted(foreign))}"
        )


def facts(model: ModelProto) -> Mapping[str, object]:
    """Return the facts about a graph that the manifest records."""
    (domain,) = [o.version for o in model.opset_import if o.domain == ""]
    return {
        "opset": domain,
        "ir_version": model.ir_version,
        "nodes": len(model.graph.node),
        "operators": dict(sorted(Counter(node.op_type for node in model.graph.node).items())),
        "inputs": [_tensor(value) for value in model.graph.input],
        "outputs": [_tensor(value) for value in model.graph.output],
    }


def _tensor(value: ValueInfoProto) -> dict[str, object]:
    """Return name, element type (as on the wire) and dimensions, symbols as text."""
    tensor = value.type.tensor_type
    (datatype,) = [row for row in datatypes.DATA_TYPES if row.onnx_enum == tensor.elem_type]
    return {
        "name": value.name,
        "datatype": datatype.wire,
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
    }
