"""From a repository on disk to a catalog: each model alone, so that a bad one stops no other.

scan ──> config.pbtxt ──> versions ──> open the graph ──> complete and check ──> LoadedModel
"""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from server.errors import ExecutionError, ModelLoadError
from server.inference.catalog import Catalog, CatalogEntry, ModelState
from server.inference.model import Graph, LoadedModel
from server.repository import completion, configuration
from server.repository.scan import FoundModel, scan
from server.repository.scheduling import threads_of
from server.repository.settings import ModelSettings
from server.scheduling.timer import Timer
from server.tensors import VARIABLE, TensorSpec

_LOG = logging.getLogger(__name__)


#: A graph file below this may be too small for threads of its own: it is timed.
_SMALL_BYTES = 1 << 20

#: A run of one row that takes less is over before a thread pool would have woken.
_SMALL_RUN_NS = 1_000_000


class LoadedGraph(Graph, Protocol):
    """A graph that also says what it takes and gives."""

    threads: int

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class GraphOpener(Protocol):
    """What opens graphs: server.runtime.session.Runtime, or a fake in a test."""

    #: The most threads of one run.
    threads: int

    def open(self, path: Path, threads: int) -> LoadedGraph:
        """Load a graph, to run with so many; ModelLoadError says why it cannot be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """What every model's runs share."""

    opener: GraphOpener
    #: Where runs go that a transport's own thread must not be held for.
    workers: Executor
    timer: Timer


def load_repository(repository: Path, workshop: Workshop) -> Catalog:
    """Load every model of a repository; one that cannot be served is listed with its reason.

    ConfigurationError if the repository itself cannot be read.
    """
    found = scan(repository)
    if not found:
        _LOG.warning("no models in '%s': nothing to serve", repository)
    return Catalog(entry for model in found for entry in load_model(model, workshop))


def load_model(found: FoundModel, workshop: Workshop) -> Iterator[CatalogEntry]:
    """Yield an entry for each version that should be served."""
    try:
        if found.fault is not None:
            raise ModelLoadError(found.fault)
        config = configuration.read(found)
        batching_written = configuration.mentions_batching(found)
        versions = configuration.choose_versions(config, found.versions)
    except Exception as error:  # whatever it is, the other models are served
        yield _failed(found.name, None, error)
        return
    _say_idle(found.name, config)
    for version in versions:
        try:
            model = _load_version(found, config, version, workshop, batching_written)
        except Exception as error:
            yield _failed(found.name, version, error)
        else:
            yield CatalogEntry(
                name=found.name, version=version, state=ModelState.READY, model=model
            )


def _load_version(
    found: FoundModel,
    written: configuration.ModelConfig | None,
    version: int,
    workshop: Workshop,
    batching_written: bool,
) -> LoadedModel:
    began = time.perf_counter()
    path = configuration.model_file(found, written, version)
    asked = threads_of(written) if written is not None else 0
    opener = workshop.opener
    graph = opener.open(path, asked or _first_guess(path, opener.threads))
    signature = completion.Signature(inputs=graph.inputs, outputs=graph.outputs)
    config, derived = completion.complete(
        found.name, written, signature, batching_written=batching_written
    )
    if derived:
        _LOG.info("model '%s' version %d: derived %s", found.name, version, derived)
    settings = completion.settings_of(
        config,
        signature,
        version=version,
        read_labels=lambda filename: configuration.read_labels(found.folder, filename),
    )
    took = trial(graph, settings)
    if not asked and graph.threads < opener.threads and took >= _SMALL_RUN_NS:
        graph = opener.open(path, opener.threads)
        took = trial(graph, settings)
    model = LoadedModel(settings, graph, workshop.workers, workshop.timer)
    if took:
        model.cost.learn(1, took)
    model.load_seconds = time.perf_counter() - began
    return model


def _first_guess(path: Path, threads: int) -> int:
    """Return the threads to try first: handing a tiny run to a pool costs more than the run."""
    try:
        return 1 if path.stat().st_size < _SMALL_BYTES else threads
    except OSError:
        return threads  # opening it says what is wrong


def trial(graph: Graph, settings: ModelSettings) -> int:
    """Run one row of zeros and return how long the faster of two runs took, in ns; 0 if it fails.

    It shows how long a run takes before anybody waits for one, and pays what only a first run costs.
    A graph that zeros do not suit is served all the same.
    """
    feeds = {
        tensor.name: np.zeros(_smallest(tensor.graph_dims, settings), tensor.datatype.numpy)
        for tensor in settings.inputs
        if not tensor.optional
    }
    for tensor in settings.inputs:
        if tensor.datatype.byte_size is None and tensor.name in feeds:
            feeds[tensor.name][...] = ""
    names = [tensor.name for tensor in settings.outputs]
    best = 0
    for _ in range(2):
        began = time.perf_counter_ns()
        try:
            graph.run(names, feeds)
        except ExecutionError as error:
            _LOG.debug("model '%s': no trial run: %s", settings.name, error)
            return 0
        took = time.perf_counter_ns() - began
        best = min(best, took) if best else took
    return best


def _smallest(dims: tuple[int, ...], settings: ModelSettings) -> tuple[int, ...]:
    shape = tuple(1 if dim == VARIABLE else dim for dim in dims)
    return (1, *shape) if settings.max_batch_size else shape


def _say_idle(name: str, config: configuration.ModelConfig | None) -> None:
    idle = configuration.idle_settings(config)
    if idle:
        _LOG.info("model '%s': %s accepted, not acted upon", name, ", ".join(idle))


def _failed(name: str, version: int | None, error: Exception) -> CatalogEntry:
    """Log why and keep it for RepositoryIndex; what is no ModelLoadError is our bug."""
    place = f"model '{name}'" + (f" version {version}" if version is not None else "")
    if isinstance(error, ModelLoadError):
        reason = str(error)
        _LOG.error("%s is not served: %s", place, reason)
    else:
        reason = f"failed to load: unexpected {type(error).__name__}, see the server's log"
        _LOG.error("%s is not served", place, exc_info=error)
    return CatalogEntry(name=name, version=version, state=ModelState.UNAVAILABLE, reason=reason)
