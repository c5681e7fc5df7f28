"""The model_warmup part of config.pbtxt: the samples that are run before a version is ready.

The names and meanings are Triton's (docs/protocol.md 5.3).
"""

import math
from collections.abc import Sequence

from zoo_proto import model_config_pb2
from zoo_server.datatypes import TensorSpec, by_config
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import WarmUp, WarmUpInput
from zoo_server.repository import layout

#: What the inputs of one sample may take together.
MAX_SAMPLE_BYTES = 1 << 30


def warm_ups_of(
    config: model_config_pb2.ModelConfig, inputs: Sequence[TensorSpec]
) -> tuple[WarmUp, ...]:
    """Return the samples, in order; ModelLoadError for one that does not fit the graph.

    A sample whose batch size is 0 is passed over, as in Triton.
    """
    specs = {spec.name: spec for spec in inputs}
    rows = max(1, config.max_batch_size)
    return tuple(
        _sample(written, specs, rows) for written in config.model_warmup if written.batch_size
    )


def _sample(
    written: model_config_pb2.ModelWarmup, specs: dict[str, TensorSpec], rows: int
) -> WarmUp:
    where = f"warmup sample '{written.name[:80]}'"
    if written.batch_size > rows:
        raise ModelLoadError(f"{where} has batch_size {written.batch_size}, at most {rows} may be")
    inputs = tuple(
        _input(where, name, written.inputs[name], specs) for name in sorted(written.inputs)
    )
    size = sum(
        math.prod(tensor.dims) * (tensor.datatype.byte_size or 8) * written.batch_size
        for tensor in inputs
    )
    if size > MAX_SAMPLE_BYTES:
        raise ModelLoadError(f"{where} would take more than {MAX_SAMPLE_BYTES} bytes")
    return WarmUp(
        name=written.name,
        batch_size=written.batch_size,
        count=max(1, written.count),
        inputs=inputs,
    )


def _input(
    where: str, name: str, written: model_config_pb2.ModelWarmup.Input, specs: dict[str, TensorSpec]
) -> WarmUpInput:
    spec = specs.get(name)
    if spec is None:
        raise ModelLoadError(f"{where} gives input '{name[:80]}', which is not in the graph")
    datatype = by_config(model_config_pb2.DataType.Name(written.data_type))
    if datatype is not spec.datatype:
        raise ModelLoadError(
            f"{where} gives input '{name}' as {datatype.config}, expecting {spec.datatype.config}"
        )
    dims = tuple(written.dims)
    if any(dim < 0 for dim in dims):
        raise ModelLoadError(
            f"warmup setting expects all variable-size dimensions are specified for input '{name}'"
        )
    kind = written.WhichOneof("input_data_type")
    if kind is None:
        raise ModelLoadError(f"{where} expects input '{name}' to have input_data_type set")
    file = written.input_data_file
    if kind == "input_data_file" and not layout.is_plain_name(file):
        raise ModelLoadError(f"{where}: input_data_file '{file[:80]}' is not a plain file name")
    return WarmUpInput(
        name=name, datatype=datatype, dims=dims, random=kind == "random_data", file=file
    )
