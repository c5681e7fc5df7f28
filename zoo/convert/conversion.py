"""Keras to ONNX: the one door to tf2onnx.

    trace (zoo/tracing) -> tf2onnx -> captures to initializers -> signature
    -> recurrent operators (zoo/recurrent) -> clean (zoo/graph) -> other operator sets
    -> canonical names -> ONNX checker with full shape inference, allowed operators only

`from_function` rather than `from_keras`: the latter is broken with Keras 3. tf2onnx logs what it
cannot convert and still writes a file, so its logged errors are errors here.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from zoo.convert.function import Traced, input_key, output_key, trace
from zoo.convert.handlers import EXTRA_OPSETS, handlers
from zoo.convert.interface import Interface, Tensor, interface
from zoo.convert.opsets import IR_VERSIONS, OPSET, check_opset
from zoo.convert.passes.canonical import canonicalize
from zoo.convert.passes.clean import clean
from zoo.convert.passes.constants import captures_to_initializers
from zoo.convert.passes.signature import output_dims, restore_inputs, sign
from zoo.convert.patches import patched
from zoo.convert.recurrent.operators import Operators, Writer, expand
from zoo.convert.recurrent.plan import Plan
from zoo.convert.recurrent.portable import NoPortableForm, Portable
from zoo.errors import CheckFailed
from zoo.publish.properties import zoo_version
from zoo_server import datatypes

#: tf2onnx 1.17 writes up to this one; newer ones come from onnx's version converter.
TF2ONNX_OPSET = 18

#: Operators of other domains that every onnxruntime has. TensorFlow's own names in the default
#: domain, which tf2onnx writes where it fails, are caught by the checker.
ALLOWED = {"ai.onnx.ml": {"LabelEncoder"}}

#: What a portable form has none of.
RECURRENT = {"GRU", "LSTM", "Loop", "RNN", "Scan"}

#: A protobuf message cannot be larger; weights beyond would need files beside the model.
MAX_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A checked ONNX model, and how its face relates to Keras's.

    `portable` is the same model without recurrent operators, None if it has none, if it was not
    asked for, or if `no_portable` says why there cannot be one.
    """

    onnx: onnx.ModelProto
    portable: onnx.ModelProto | None
    no_portable: str
    face: Interface
    outputs: tuple[Tensor, ...]


def convert(
    model: Any,
    *,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset: int = OPSET,
    reset_states: bool = False,
    portable: bool = False,
) -> Conversion:
    """Convert a built Keras model; nothing is compared yet (zoo/export/from_model.py does).

    Inputs and outputs come in Keras's order under Keras's names unless others are given; the first
    dimension is `batch` where Keras leaves it open. Raises CheckFailed with the reason if the
    model cannot be converted right, UsageError for an unknown opset.
    """
    check_opset(opset)
    face = interface(model, input_names=input_names, output_names=output_names)
    _check_size(model)
    with patched(model, reset_states=reset_states) as tokens:
        traced = trace(model, face, tokens)
        raw = _from_function(model, traced, min(opset, TF2ONNX_OPSET))
    second, reason = None, ""
    if portable:
        try:
            second = _portable(raw, traced, face, opset)
        except NoPortableForm as error:
            reason = str(error)
    return Conversion(
        onnx=_finish(raw, traced, face, opset, Operators),
        portable=second,
        no_portable=reason,
        face=face,
        outputs=traced.outputs,
    )


def serialized(model: onnx.ModelProto) -> bytes:
    """Return the file's bytes, the same for the same model."""
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _portable(
    raw: onnx.ModelProto, traced: Traced, face: Interface, opset: int
) -> onnx.ModelProto | None:
    """Return the form without recurrent operators, None for a graph that has none.

    Raises NoPortableForm if it has some that cannot be written otherwise.
    """
    looping = sorted({node.op_type for node in raw.graph.node} & RECURRENT)
    if not looping and not any(isinstance(item, Plan) for item in traced.tokens.values()):
        return None
    if looping:
        raise NoPortableForm(
            f"the portable form has no {looping[0]}, which masks and foreign cells become"
        )
    copy = onnx.ModelProto()
    copy.CopyFrom(raw)
    return _finish(copy, traced, face, opset, Portable)


def _finish(
    model: onnx.ModelProto, traced: Traced, face: Interface, opset: int, writer: type[Writer]
) -> onnx.ModelProto:
    """Bring tf2onnx's graph into its final form."""
    names = {input_key(i): t for i, t in enumerate(traced.inputs)}
    answers = {output_key(i): t for i, t in enumerate(traced.outputs)}
    restore_inputs(model, {key: t.dtype for key, t in names.items()}, traced.captures)
    captures_to_initializers(model, names, traced.captures)
    taken = face.input_dims()
    dims: dict[str, Sequence[int | str | None]] = {k: taken[t.name] for k, t in names.items()}
    sign(model, dims | {key: t.shape for key, t in answers.items()})
    expand(model, traced.tokens, writer)
    clean(model)
    fixed = {key: (t.name, t.shape) for key, t in answers.items()}
    sign(model, dims | output_dims(model, fixed))
    if opset > TF2ONNX_OPSET:
        model = _converted(model, opset)
    del model.graph.value_info[:]
    canonicalize(model, {key: t.name for key, t in (names | answers).items()})
    model.ir_version = IR_VERSIONS[opset]
    model.producer_name = "layer-zoo"
    model.producer_version = zoo_version()
    check_graph(model)
    return model


def _check_size(model: Any) -> None:
    size = sum(math.prod(weight.shape) * 4 for weight in model.weights)
    if size > MAX_BYTES:
        raise CheckFailed(
            f"{model.name} has {size / 1e9:.1f} GB of weights, and an ONNX file holds 2.1 GB"
        )


class _Errors(logging.Handler):
    """Collects what tf2onnx logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The last line of an exception says what happened; the ones before, where.
        lines = record.getMessage().strip().splitlines()
        self.messages.append(lines[0] if record.exc_info is None else f"{lines[0]}: {lines[-1]}")
        if record.exc_info and record.exc_info[1] is not None:
            self.messages[-1] = f"{lines[0]}: {record.exc_info[1]}"


def _from_function(model: Any, traced: Traced, opset: int) -> onnx.ModelProto:
    """Run tf2onnx; its exceptions and its logged errors are failures alike."""
    import tf2onnx

    errors = _Errors()
    logger = logging.getLogger("tf2onnx")
    # tf2onnx's own handlers would print its progress; its errors reach the user as ours.
    propagate, level = logger.propagate, logger.level
    logger.addHandler(errors)
    logger.propagate = False
    logger.setLevel(logging.ERROR)
    try:
        converted, _ = tf2onnx.convert.from_function(
            traced.function,
            input_signature=traced.specification,
            opset=opset,
            custom_op_handlers=handlers(traced.tokens, traced.captures),
            extra_opset=list(EXTRA_OPSETS),
        )
    except Exception as error:  # whatever tf2onnx raises means the same to the user
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CheckFailed(f"tf2onnx cannot convert {model.name}: {first}") from error
    finally:
        logger.removeHandler(errors)
        logger.propagate, logger.level = propagate, level
    if errors.messages:
        raise CheckFailed(_reason(model, errors.messages))
    return converted


#: How tf2onnx names what it does not know: [TensorFlow's name, with the layers' scopes: operator].
UNKNOWN = re.compile(r"Tensorflow op \[(?P<name>[^\]]*): (?P<kind>\w+)\] is not supported")
FAILED = re.compile(r"Failed to convert node '(?P<name>[^']*)'[^:]*: *(?P<reason>.*)")


#: What to do instead of what ONNX lacks, by layer.
CURES = {
    "TextVectorization": "clean and split the text before, and look its words up by a StringLookup",
    "Hashing": "hash before, and give the model the buckets",
    "HashedCrossing": "cross and hash before, and give the model the buckets",
}


def _reason(model: Any, messages: Sequence[str]) -> str:
    """Say which layer and operator cannot be converted, and what to do."""
    for message in messages:
        found = UNKNOWN.search(message) or FAILED.search(message)
        if not found:
            continue
        facts = found.groupdict()
        layer = _layer(model, facts["name"])
        where = f"layer {layer}" if layer else f"{model.name} ({facts['name']})"
        if not facts.get("kind"):
            return f"{where} cannot be converted: {facts['reason']}"
        cures = [cure for kind, cure in CURES.items() if layer and layer.endswith(f"({kind})")]
        cure = next(iter(cures), "do its work before or after")
        return (
            f"{where} needs TensorFlow's {facts['kind']}, which ONNX lacks: "
            f"take it out of the model; {cure}"
        )
    return f"tf2onnx cannot convert {model.name}: {'; '.join(dict.fromkeys(messages))}"


def _layer(model: Any, name: str) -> str | None:
    """Return the layer in whose scope an operator lies."""
    scopes = [re.sub(r"_\d+$", "", part) for part in name.split("/")]
    layers = {layer.name: type(layer).__name__ for layer in model._flatten_layers()}
    for part in (*name.split("/"), *scopes):
        if part in layers and part != model.name:
            return f"{part} ({layers[part]})"
    return None


def _converted(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """Bring a graph to a newer operator set; checker and parity judge the result."""
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises RuntimeError and others, by operator
        first = str(error).strip().splitlines()[-1]
        raise CheckFailed(
            f"the graph cannot be brought to opset {opset}: {first}; opset {TF2ONNX_OPSET} is the "
            "newest that needs no conversion"
        ) from error


def check_graph(model: onnx.ModelProto) -> None:
    """Run the ONNX checker with full shape inference, and refuse operators few runtimes have."""
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first = str(error).strip().splitlines()[0]
        raise CheckFailed(f"the exported graph is not valid ONNX: {first}") from error
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


def facts(model: onnx.ModelProto) -> Mapping[str, Any]:
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


def _tensor(value: onnx.ValueInfoProto) -> dict[str, Any]:
    """Return name, element type (as on the wire) and dimensions, symbols as text."""
    tensor = value.type.tensor_type
    (datatype,) = [row for row in datatypes.DATA_TYPES if row.onnx_enum == tensor.elem_type]
    return {
        "name": value.name,
        "datatype": datatype.wire,
        "shape": [dim.dim_param or dim.dim_value for dim in tensor.shape.dim],
    }
