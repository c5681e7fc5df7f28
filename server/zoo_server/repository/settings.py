"""What a served version looks like from outside: the values that checking a request needs.

Made once at load from a completed configuration (server/zoo_server/repository/autocomplete.py); no protobuf, so
that server/zoo_server/inference can use them as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from zoo_server.datatypes import VARIABLE, DataType
from zoo_server.model_config import Batching, Sequences


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSettings:
    """One input; `dims` and `graph_dims` are without the batch dimension."""

    name: str
    datatype: DataType
    dims: tuple[int, ...]
    #: What the graph takes, where config.pbtxt reshapes; else the same as `dims`.
    graph_dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputSettings:
    """One output; `dims` and `graph_dims` are without the batch dimension."""

    name: str
    datatype: DataType
    dims: tuple[int, ...]
    graph_dims: tuple[int, ...]
    #: One a class, or empty.
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """One version of one model."""

    name: str
    version: int
    platform: str
    #: 0: shapes are compared whole; else dimension 0 of every tensor is the batch, up to this.
    max_batch_size: int
    inputs: tuple[InputSettings, ...]
    outputs: tuple[OutputSettings, ...]
    batching: Batching
    #: None for a model whose requests stand alone.
    sequences: Sequences | None = None
    #: Threads of one run, where the configuration asks for a number of its own; else 0.
    threads: int = 0
    #: The completed ModelConfig, serialised, as ModelConfig answers it.
    config: bytes
    #: Names that callers may use for a version (TensorFlow Serving's version_label).
    version_labels: Mapping[str, int] = field(default_factory=dict)


def reshape_dims(
    actual: tuple[int, ...], dims: tuple[int, ...], target: tuple[int, ...]
) -> tuple[int, ...]:
    """Return `target` with its variable dimensions filled from those of `dims`, in order.

    `actual` is a shape that fits `dims`; the k-th variable dimension of the one is that of the other.
    """
    sizes = iter([size for size, dim in zip(actual, dims, strict=True) if dim == VARIABLE])
    return tuple(next(sizes) if dim == VARIABLE else dim for dim in target)
