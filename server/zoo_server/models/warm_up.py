"""The runs of a graph before its first request: a trial of one row, and what model_warmup asks for.

trial      zeros, twice: how long a run takes, and what only a first run costs; may fail
warm-up    config.pbtxt's samples (docs/protocol.md 5.3); one that fails ends the load
"""

import logging
import math
import time
from collections.abc import Sequence

import numpy as np

from zoo_server.datatypes import VARIABLE, DataType, from_raw
from zoo_server.errors import (
    ExecutionError,
    InvalidRequest,
    MemoryExhausted,
    ModelLoadError,
    WorkerLost,
)
from zoo_server.inference.cancellation import Cancellation
from zoo_server.inference.model import Graph
from zoo_server.inference.ragged import ragged_feeds
from zoo_server.model_config import (
    InputSettings,
    ModelSettings,
    OutputSettings,
    WarmUp,
    WarmUpInput,
    reshape_dims,
)
from zoo_server.repository.scan import ModelFiles
from zoo_server.schedulers.timer import Timer

_LOG = logging.getLogger(__name__)

#: Where the files of warm-up data lie, beside the versions.
WARM_UP_FOLDER = "warmup"

#: Larger rows are not tried: zeros of that size cost more than is learnt from them.
_MAX_TRIAL_BYTES = 1 << 28

#: Of one file of warm-up data.
_MAX_FILE_BYTES = 1 << 30

#: How long a trial may run: zeros may be what a graph loops on for ever.
_TRIAL_NS = 10 * 10**9


def try_out(graph: Graph, settings: ModelSettings, timer: Timer, cancellation: Cancellation) -> int:
    """Run one row of zeros and return how long the faster of two runs took, in ns; 0 if it fails.

    It shows how long a run takes before anybody waits for one. A graph that zeros do not suit is
    served all the same.
    """
    if _trial_bytes(settings) > _MAX_TRIAL_BYTES:
        _LOG.info("model '%s': no trial run: its rows are too large", settings.name)
        return 0
    stop = Cancellation()
    cancellation.on_cancel(stop.cancel)
    timer.at(time.perf_counter_ns() + _TRIAL_NS, stop.cancel)
    feeds = _zeros(settings)
    names = [tensor.name for tensor in settings.outputs]
    best = 0
    for _ in range(2):
        began = time.perf_counter_ns()
        try:
            graph.run(names, feeds, cancellation=stop)
        except MemoryExhausted as error:
            raise ModelLoadError(
                f"a run of one row wants more memory than there is: {error}"
            ) from None
        except (ExecutionError, InvalidRequest, WorkerLost) as error:
            if stop.raised:
                _LOG.warning("model '%s': a run of zeros did not end, and was ended", settings.name)
            else:
                _LOG.debug("model '%s': no trial run: %s", settings.name, error)
            return 0
        took = time.perf_counter_ns() - began
        best = min(best, took) if best else took
    return best


def warm_up(
    graph: Graph,
    settings: ModelSettings,
    samples: Sequence[WarmUp],
    files: ModelFiles,
    cancellation: Cancellation,
) -> None:
    """Run each sample as often as it says; ModelLoadError names the one that failed."""
    names = [tensor.name for tensor in settings.outputs]
    for sample in samples:
        feeds = {tensor.name: _data(tensor, sample, settings, files) for tensor in sample.inputs}
        if settings.ragged is not None:
            feeds = ragged_feeds(settings.ragged, [feeds])
        for _ in range(sample.count):
            try:
                graph.run(names, feeds, cancellation=cancellation)
            except (ExecutionError, InvalidRequest, WorkerLost) as error:
                raise ModelLoadError(
                    f"failed to run warmup sample '{sample.name}': {error}"
                ) from None
        _LOG.info("model '%s': warm-up '%s' has run", settings.name, sample.name)


def _data(
    tensor: WarmUpInput, sample: WarmUp, settings: ModelSettings, files: ModelFiles
) -> np.ndarray:
    """Return a sample's input as the graph takes it, the row repeated for each of the batch."""
    row = _row(tensor, files)
    known = {one.name: one for one in settings.inputs}.get(tensor.name)
    if known is not None:
        try:
            row = row.reshape(reshape_dims(tensor.dims, known.dims, known.graph_dims))
        except ValueError:
            raise ModelLoadError(
                f"warmup sample '{sample.name}' gives input '{tensor.name}' dims "
                f"{list(tensor.dims)}, which do not fit {list(known.dims)}"
            ) from None
    if not settings.max_batch_size:
        return row
    return np.repeat(row[np.newaxis], sample.batch_size, axis=0)


def _row(tensor: WarmUpInput, files: ModelFiles) -> np.ndarray:
    datatype = tensor.datatype
    if tensor.file:
        what = f"{WARM_UP_FOLDER}/{tensor.file}"
        path = files.folder / WARM_UP_FOLDER / tensor.file
        content = files.confinement.read(path, what, _MAX_FILE_BYTES)
        return _from_file(datatype, tensor.dims, content, what)
    if datatype.byte_size is None:
        return np.full(tensor.dims, "", object)
    if not tensor.random:
        return np.zeros(tensor.dims, datatype.numpy)
    # Of floats 0 to 1, of all others 0 and 1: an index, say, that every graph can look up.
    values = np.random.default_rng(0).random(tensor.dims)
    if datatype.numpy.kind == "f":
        return values.astype(datatype.numpy)
    return (values < 0.5).astype(datatype.numpy)


def _from_file(datatype: DataType, dims: tuple[int, ...], content: bytes, what: str) -> np.ndarray:
    """Return a file's elements, in the form of raw contents; what it holds beyond them is not read."""
    size = None if datatype.byte_size is None else math.prod(dims) * datatype.byte_size
    if size is not None and len(content) < size:
        raise ModelLoadError(
            f"warmup setting expects {size} bytes, but the data provided from {what} only has "
            f"{len(content)} bytes"
        )
    try:
        return from_raw(datatype, dims, content[:size])
    except ValueError as error:
        raise ModelLoadError(f"{what}: {error}") from None


def _zeros(settings: ModelSettings) -> dict[str, np.ndarray]:
    """Return what a run of one row takes, as zeros and empty words."""
    feeds: dict[str, np.ndarray] = {}
    for tensor in settings.inputs:
        if not tensor.optional:
            shape = _smallest(tensor.graph_dims, settings)
            text = tensor.datatype.byte_size is None
            feeds[tensor.name] = (
                np.full(shape, "", object) if text else np.zeros(shape, tensor.datatype.numpy)
            )
    for extra in settings.sequences.inputs if settings.sequences is not None else ():
        shape = _smallest(extra.dims, settings)
        feeds[extra.input] = np.zeros(shape, extra.datatype.numpy)
    return feeds if settings.ragged is None else ragged_feeds(settings.ragged, [feeds])


def _trial_bytes(settings: ModelSettings) -> int:
    """Return how much the inputs and outputs of one row take; a word counts as a pointer."""
    tensors: list[InputSettings | OutputSettings] = [*settings.inputs, *settings.outputs]
    return sum(
        math.prod(_smallest(tensor.graph_dims, settings)) * (tensor.datatype.byte_size or 8)
        for tensor in tensors
    )


def _smallest(dims: tuple[int, ...], settings: ModelSettings) -> tuple[int, ...]:
    shape = tuple(1 if dim == VARIABLE else dim for dim in dims)
    return (1, *shape) if settings.max_batch_size else shape
