"""The parts of the server that loading and running a model needs: the opener of graphs, threads, caches."""

import threading
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zoo_server.datatypes import TensorSpec
from zoo_server.inference.cancellation import Cancellation
from zoo_server.inference.execution import Run
from zoo_server.inference.model import Graph
from zoo_server.inference.pictures import PictureThreads
from zoo_server.inference.run_watch import RunWatch
from zoo_server.model_config import GraphTraits, Isolation, SessionSettings
from zoo_server.schedulers.rate_limiter import RateLimiter
from zoo_server.schedulers.response_cache import ResponseCache
from zoo_server.schedulers.timer import Timer
from zoo_server.telemetry.requests import RequestJournal


class TypedGraph(Graph, Protocol):
    """A graph that also names and types its inputs and outputs."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class LoadedGraph(TypedGraph, Protocol):
    """A graph as its opener returns it: with the threads of one run and what its operators say."""

    threads: int
    traits: GraphTraits


class GraphOpener(Protocol):
    """What opens graphs: zoo_server.backends.onnxruntime.runtime.Runtime, or a fake in a test."""

    #: Of the library that runs them.
    version: str
    #: The most threads of one run.
    threads: int

    def open(
        self, path: Path, threads: int, cancellation: Cancellation, settings: SessionSettings
    ) -> LoadedGraph:
        """Load a graph, to run with so many threads; ModelLoadError says why it cannot be served."""

    def isolated(self, isolation: Isolation) -> "GraphOpener":
        """Return an opener that loads each graph in a process of its own, with these limits."""

    def close(self) -> None:
        """End the processes that isolated graphs have."""


class OpenerFactory(Protocol):
    """Returns what opens graphs: zoo_server.backends.onnxruntime.runtime.Runtime itself, or a fake."""

    def __call__(self, *, provider: str, threads: int) -> GraphOpener: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRuntime:
    """The parts of the server that all models use."""

    opener: GraphOpener
    #: Where runs go that a transport's own thread must not be held for.
    workers: Executor
    timer: Timer
    #: A place for each request that may wait in the sequences of any model.
    waiting: threading.Semaphore
    #: Ends runs that nobody waits for, and all once the server leaves.
    watch: RunWatch
    #: What reads the pictures that requests bring.
    pictures: PictureThreads
    #: How many requests may wait for a model whose configuration gives no bound, 0 for any number.
    max_queue_size: int = 0
    #: A version with test vectors is served only if it answers them right.
    self_test: bool = False
    #: Hears of every request; None for nobody.
    journal: RequestJournal | None = None
    #: Lets instances run for which a resource may have to become free; None for all at once.
    limiter: RateLimiter | None = None
    #: Where the answers of models are kept whose configuration says so; None for nowhere.
    cache: ResponseCache[Run] | None = None
