"""Checked requests to one run of the graph, and the run's outputs back to each of them.

    data of each ──one gather──> feeds ──run──> outputs ──views──> the rows of each

Tensor data is copied at most once on the way in, and not at all on the way out: whoever encodes an
answer copies its rows into it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from server import tensors
from server.errors import ExecutionError
from server.inference.classification import classify
from server.inference.messages import OutputTensor
from server.inference.shared_memory import Destination
from server.inference.validation import CheckedRequest, Data, PlannedInput
from server.repository.settings import OutputSettings, reshape_dims

Array = np.ndarray[Any, Any]


def gather(requests: Sequence[CheckedRequest]) -> dict[str, Array]:
    """Return what to feed the graph: the requests' rows, in order, in one array an input.

    The requests' plans have equal keys.
    """
    first = requests[0].plan
    if len(requests) == 1:
        data = requests[0].data
        return {
            planned.name: _array(planned, item)
            for planned, item in zip(first.inputs, data, strict=True)
        }
    rows = sum(request.plan.batch_size for request in requests)
    return {
        planned.name: _joined(planned, [request.data[index] for request in requests], rows)
        for index, planned in enumerate(first.inputs)
    }


def _array(planned: PlannedInput, data: Data) -> Array:
    if isinstance(data, np.ndarray):
        return data
    array = np.frombuffer(data, planned.dtype).reshape(planned.shape)
    # A view into a message starts anywhere, and kernels may take an address for aligned.
    return array if array.flags.aligned else array.copy()


def _joined(planned: PlannedInput, parts: list[Data], rows: int) -> Array:
    shape = (rows, *planned.shape[1:])
    if planned.nbytes is None:
        joined: Array = np.concatenate(parts)
        return joined
    buffers = cast("list[memoryview]", parts)  # arrays are buffers too
    return np.frombuffer(b"".join(buffers), planned.dtype).reshape(shape)


@dataclass(slots=True)
class Rows:
    """One request's part of a run's outputs."""

    run: "Run"
    begin: int
    end: int

    def tensor(
        self,
        settings: OutputSettings,
        classes: int,
        batch_size: int,
        destination: Destination | None = None,
    ) -> OutputTensor:
        """Return one output as asked for; `batch_size` 0 where the model does not batch.

        SharedMemoryFailed if the values do not fit where they should go.
        """
        array = self.run.outputs[settings.name]
        if batch_size:
            array = array[self.begin : self.end]
        if classes:
            return classify(settings, array, classes, batch_size)
        raw = b""
        if destination is None:
            raw = tensors.to_raw(settings.datatype, array)
        else:
            destination.write(settings.name, settings.datatype, array)
        return OutputTensor(
            name=settings.name,
            datatype=settings.datatype.wire,
            shape=wire_shape(settings, array.shape, batch_size),
            raw=raw,
        )


class Run:
    """The outputs of one run, by name."""

    def __init__(self, outputs: dict[str, Array], rows: int) -> None:
        """`rows` is 0 where the model does not batch; ExecutionError if an output has others."""
        self.outputs = outputs
        self._buffers: dict[str, tuple[memoryview, int]] | None = None
        #: Without the rows, which differ from request to request.
        self.shapes = tuple([array.shape[rows > 0 :] for array in outputs.values()])
        if rows:
            for name, array in outputs.items():
                if array.ndim == 0 or array.shape[0] != rows:
                    raise ExecutionError(
                        f"output '{name}' has shape {list(array.shape)} for a batch of {rows}"
                    )

    def buffers(self) -> dict[str, tuple[memoryview, int]]:
        """Return each output's bytes and how many of them a row takes; not for strings."""
        if self._buffers is None:
            self._buffers = {
                name: _bytes(array)
                for name, array in self.outputs.items()
                if not array.dtype.hasobject
            }
        return self._buffers


def _bytes(array: Array) -> tuple[memoryview, int]:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    rows = array.shape[0] if array.ndim else 1
    return flat.data, array.nbytes // rows if rows else 0


def wire_shape(
    settings: OutputSettings, shape: tuple[int, ...], batch_size: int
) -> tuple[int, ...]:
    """Return an output's shape as the configuration shows it: config.pbtxt may reshape."""
    if settings.graph_dims == settings.dims:
        return shape
    batch, rest = (shape[:1], shape[1:]) if batch_size else ((), shape)
    return (*batch, *reshape_dims(rest, settings.graph_dims, settings.dims))
