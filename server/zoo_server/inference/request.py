"""Requests and answers as plain values, which every wire protocol is converted to and from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from zoo_server.inference.shared_memory import Destination, Source

#: An input's elements: raw wire bytes, a part of shared memory with such bytes, typed numbers in one
#: dimension, or BYTES elements.
TensorData = bytes | memoryview | Source | np.ndarray | Sequence[bytes]

#: A request parameter's value, as the wire types it.
ParameterValue = bool | int | float | str


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTensor:
    """One input as sent; `shape` includes the batch dimension where the model has one."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: TensorData


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRequest:
    """One output as requested; `classes` > 0 asks for that many best classes instead of values."""

    name: str
    classes: int = 0
    #: Where the values go, if not into the answer.
    destination: Destination | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """One inference request."""

    id: str
    inputs: tuple[InputTensor, ...]
    #: Empty: every output, in the configuration's order.
    outputs: tuple[OutputRequest, ...] = ()
    parameters: Mapping[str, ParameterValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTensor:
    """One output as answered: `raw` is in wire form, empty if it went to shared memory.

    It may be a view of the run's output: whoever keeps it keeps all of that.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview
