"""Joins validated requests into one run of the graph, and splits its outputs among them.

    data of each ──one gather──> feeds ──run──> outputs ──views──> the rows of each

Tensor data is copied at most once on the way in, and not at all on the way out: the encoder of an
answer copies the rows into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from zoo_server import datatypes
from zoo_server.datatypes import DataType
from zoo_server.errors import ExecutionError
from zoo_server.inference.classification import classify
from zoo_server.inference.plan import Data, Plan, PlannedInput
from zoo_server.inference.request import OutputTensor
from zoo_server.inference.shared_memory import Destination, Source
from zoo_server.model_config import OutputSettings, reshape_dims

#: Tensors up to so many bytes are copied sooner than it is asked whether they have to be.
_SMALL = 1 << 12


class Planned(Protocol):
    """What `gather` reads of a checked request (plan.CheckedRequest, queued_request.QueuedRequest)."""

    plan: Plan
    data: Sequence[Data]


def gather(requests: Sequence[Planned]) -> dict[str, np.ndarray]:
    """Return what to feed the graph: the requests' rows, in order, in one array an input.

    The requests' plans have equal keys. InvalidRequest if a part of shared memory is gone by now.
    """
    first = requests[0].plan
    if len(requests) == 1:
        data = requests[0].data
        if len(data) == 1:
            return {first.inputs[0].name: _array(first.inputs[0], data[0])}
        return {
            planned.name: _array(planned, item)
            for planned, item in zip(first.inputs, data, strict=True)
        }
    rows = sum(request.plan.batch_size for request in requests)
    return {
        planned.name: _join(planned, [request.data[index] for request in requests], rows)
        for index, planned in enumerate(first.inputs)
    }


def _array(planned: PlannedInput, data: Data) -> np.ndarray:
    if isinstance(data, np.ndarray):
        return data
    array: np.ndarray
    try:
        if planned.nbytes is not None and planned.nbytes <= _SMALL:
            return np.ndarray(planned.shape, planned.dtype, bytes(cast("memoryview", data)))
        array = np.ndarray(planned.shape, planned.dtype, cast("memoryview", data))
    except TypeError:  # so that where nothing is shared, nobody asks whether it is
        array = np.ndarray(planned.shape, planned.dtype, _present(data))
    # A view into a message starts anywhere, and kernels may take an address for aligned.
    return array if array.flags.aligned else array.copy()


def _join(planned: PlannedInput, parts: list[Data], rows: int) -> np.ndarray:
    shape = (rows, *planned.shape[1:])
    if planned.nbytes is None:
        joined: np.ndarray = np.concatenate(cast("list[np.ndarray]", parts))
        return joined
    try:
        buffers = b"".join(cast("list[memoryview]", parts))  # arrays are buffers too
    except TypeError:
        buffers = b"".join([cast("memoryview", _present(part)) for part in parts])
    return np.frombuffer(buffers, planned.dtype).reshape(shape)


def _present(data: Data) -> bytes | memoryview | np.ndarray:
    """Return what lies in shared memory: it was looked at when the request came, and has waited."""
    return data.read() if isinstance(data, Source) else data


@dataclass(slots=True)
class Rows:
    """One request's part of a run's outputs."""

    run: "Run"
    begin: int
    end: int

    def array(self, name: str) -> np.ndarray:
        """Return this request's rows of an output, or all of it where the model does not batch."""
        array = self.run.output(name)
        return array[self.begin : self.end] if self.run.rows else array

    def tensor(
        self,
        settings: OutputSettings,
        classes: int,
        batch_size: int,
        destination: Destination | None = None,
    ) -> OutputTensor:
        """Return one output as requested; `batch_size` 0 where the model does not batch.

        SharedMemoryFailed if the values do not fit where they should go.
        """
        array = self.run.output(settings.name)
        if batch_size:
            array = array[self.begin : self.end]
        if classes:
            return classify(settings, array, classes, batch_size)
        raw = _wire_bytes(settings.datatype, array)
        if destination is not None:
            destination.write(settings.name, raw)
            raw = b""
        return OutputTensor(
            name=settings.name,
            datatype=settings.datatype.wire,
            shape=wire_shape(settings, array.shape, batch_size),
            raw=raw,
        )


def _wire_bytes(datatype: DataType, array: np.ndarray) -> bytes | memoryview:
    """Return an array's elements in wire form, without a copy where they have it already."""
    if datatype.byte_size is None or array.dtype != datatype.numpy:
        return datatypes.to_raw(datatype, array)
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


class Run:
    """The outputs of one run."""

    __slots__ = ("_buffers", "arrays", "key", "names", "rows")

    def __init__(self, names: tuple[str, ...], arrays: list[np.ndarray], rows: int) -> None:
        """`rows` is 0 where the model does not batch; ExecutionError if an output has others."""
        self.names = names
        self.arrays = arrays
        self.rows = rows
        self._buffers: list[tuple[bytes | memoryview, int] | None] = []
        shapes = []
        for array in arrays:
            shape = array.shape
            if not rows:
                shapes.append(shape)
            elif shape and shape[0] == rows:
                shapes.append(shape[1:])
            else:
                name = names[len(shapes)]
                raise ExecutionError(
                    f"output '{name}' has shape {list(shape)} for a batch of {rows}"
                )
        #: What the outputs are but for their rows, which differ from request to request.
        self.key = (names, tuple(shapes))

    @property
    def nbytes(self) -> int | None:
        """The bytes of all outputs together, None if there are strings among them."""
        size = 0
        for array in self.arrays:
            if array.dtype.hasobject:
                return None
            size += array.nbytes
        return size

    def output(self, name: str) -> np.ndarray:
        """Return an output by its name."""
        return self.arrays[self.names.index(name)]

    def buffers(self) -> list[tuple[bytes | memoryview, int] | None]:
        """Return each output's bytes and how many of them a row takes; None for strings."""
        if not self._buffers:
            self._buffers = [
                None if array.dtype.hasobject else _bytes(array) for array in self.arrays
            ]
        return self._buffers


def _bytes(array: np.ndarray) -> tuple[bytes | memoryview, int]:
    rows = array.shape[0] if array.ndim else 1
    nbytes = array.nbytes
    if nbytes <= _SMALL:
        return array.tobytes(), nbytes // rows if rows else 0
    try:
        view = array.data.cast("B")
    except (TypeError, ValueError):  # not contiguous, without elements, or of half floats
        view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    return view, nbytes // rows if rows else 0


def wire_shape(
    settings: OutputSettings, shape: tuple[int, ...], batch_size: int
) -> tuple[int, ...]:
    """Return an output's shape as the configuration shows it: config.pbtxt may reshape."""
    if settings.graph_dims == settings.dims:
        return shape
    batch, rest = (shape[:1], shape[1:]) if batch_size else ((), shape)
    return (*batch, *reshape_dims(rest, settings.graph_dims, settings.dims))
