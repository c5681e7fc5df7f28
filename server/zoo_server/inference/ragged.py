"""Ragged batching: requests of different sizes in one run, without padding.

    [1, 3] and [1, 5] ──> [8], and where each of them ends ──run──> to each its part

A ragged input goes to the graph in one dimension, the requests' elements in order. What the graph needs to tell
them apart it gets in batch inputs, which are made here; an output may be split by the shapes that an input had.
The meanings are Triton's (backend's backend_input_collector.cc, backend_output_responder.cc).
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from zoo_server.datatypes import VARIABLE
from zoo_server.errors import ExecutionError, InvalidRequest
from zoo_server.inference.execution import Planned, Rows, Run, gather
from zoo_server.model_config import BatchInput, BatchInputKind, BatchOutput, RaggedBatching

Shape = tuple[int, ...]

_ACCUMULATED = (
    BatchInputKind.ACCUMULATED_ELEMENT_COUNT,
    BatchInputKind.ACCUMULATED_ELEMENT_COUNT_WITH_ZERO,
)


def gather_ragged(ragged: RaggedBatching, batch: Sequence[Planned]) -> dict[str, np.ndarray]:
    """Return what to feed the graph with for requests that share a run; as `gather`."""
    return ragged_feeds(ragged, [gather([member]) for member in batch])


def ragged_feeds(
    ragged: RaggedBatching, requests: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Return what to feed the graph with, from each request's arrays as they were sent.

    InvalidRequest if there are more elements than a batch input can count.
    """
    feeds = {}
    for name in requests[0]:
        parts = [arrays[name] for arrays in requests]
        if name in ragged.inputs:
            parts = [part.reshape(-1) for part in parts]
        feeds[name] = parts[0] if len(parts) == 1 else np.concatenate(parts)
    for batch_input in ragged.batch_inputs:
        if batch_input.source not in requests[0]:
            continue  # of a warm-up alone: the run says what it lacks
        array = _batch_input(batch_input, [arrays[batch_input.source].shape for arrays in requests])
        feeds |= dict.fromkeys(batch_input.targets, array)
    return feeds


def _batch_input(batch_input: BatchInput, shapes: Sequence[Shape]) -> np.ndarray:
    """Return what the graph is told of the source's shapes, one a request."""
    kind, dtype = batch_input.kind, batch_input.datatype.numpy
    counts = [math.prod(shape) for shape in shapes]
    if kind is BatchInputKind.MAX_ELEMENT_COUNT_AS_SHAPE:
        return np.zeros(max(counts), dtype)
    if kind in (BatchInputKind.ITEM_SHAPE, BatchInputKind.ITEM_SHAPE_FLATTEN):
        values = np.array([shape[1:] for shape in shapes for _ in range(shape[0])], np.int64)
    else:
        values = np.array(counts, np.int64)
    if kind is BatchInputKind.ITEM_SHAPE_FLATTEN:
        values = values.reshape(-1)
    elif kind in _ACCUMULATED:
        values = np.cumsum(values)
    if kind is BatchInputKind.ACCUMULATED_ELEMENT_COUNT_WITH_ZERO:
        values = np.concatenate(([0], values))
    if values.max(initial=0) > batch_input.largest:
        raise InvalidRequest(
            f"batch input '{batch_input.targets[0]}' counts to {batch_input.largest}, and the inputs "
            f"'{batch_input.source}' of this run come to {values.max()}"
        )
    return values.astype(dtype)


def split_ragged(
    ragged: RaggedBatching,
    batch: Sequence[Planned],
    names: tuple[str, ...],
    arrays: Sequence[np.ndarray],
) -> list[Rows]:
    """Return each request's outputs; ExecutionError if an output does not have a part for each."""
    sizes = [member.plan.batch_size for member in batch]
    parts = []
    for name, array in zip(names, arrays, strict=True):
        scattered = ragged.batch_outputs.get(name)
        if scattered is not None:
            parts.append(_scattered(name, scattered, batch, array))
        elif array.shape[:1] == (sum(sizes),):
            parts.append(np.split(array, np.cumsum(sizes)[:-1]))
        else:
            raise ExecutionError(
                f"output '{name}' has shape {list(array.shape)} for a batch of {sum(sizes)}"
            )
    return [
        Rows(Run(names, [part[index] for part in parts], rows), 0, rows)
        for index, rows in enumerate(sizes)
    ]


def _scattered(
    name: str, scattered: BatchOutput, batch: Sequence[Planned], array: np.ndarray
) -> list[np.ndarray]:
    """Split an output's elements among requests: a variable dimension is the source's at that place."""
    shapes = []
    for member in batch:
        source = next(one for one in member.plan.inputs if one.name == scattered.source).shape
        rest = zip(scattered.dims, source[1:], strict=False)
        filled = [have if dim == VARIABLE else dim for dim, have in rest]
        shapes.append((source[0], *filled, *scattered.dims[len(filled) :]))
    counts = [math.prod(shape) for shape in shapes]
    if array.size != sum(counts):
        raise ExecutionError(
            f"output '{name}' has {array.size} elements, and by the shapes of '{scattered.source}' there "
            f"are {sum(counts)}"
        )
    pieces = np.split(array.reshape(-1), np.cumsum(counts)[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]
