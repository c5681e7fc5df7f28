"""The composition root: builds every part of the server, starts it and stops it.

    config ──> every port bound ──> Runtime ──> Catalog ──> servicers ──> gRPC ──> REST, metrics

Resources are released in reverse order, when the server stops or a part of it fails. Modules that only
HTTP needs are imported once gRPC answers. `running` serves inside a block, for tests and for embedding.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from zoo_server.backends.onnxruntime.runtime import Runtime
from zoo_server.backends.onnxruntime.threads import measure
from zoo_server.config import ServerConfig
from zoo_server.dataplane import DataPlaneParts, ServerMetadata
from zoo_server.endpoints import (
    SERVICES,
    CallParts,
    Endpoints,
    EntryPoints,
    EntryPointsFactory,
)
from zoo_server.errors import ConfigurationError, ServerExiting
from zoo_server.inference.execution import Run
from zoo_server.inference.pictures import PictureThreads
from zoo_server.inference.run_watch import RunWatch
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.limits import InFlight, MemoryBudget
from zoo_server.memory_trimmer import TRIM_SECONDS, MemoryTrimmer
from zoo_server.models.catalog import Catalog
from zoo_server.models.composition import model_control
from zoo_server.models.control import ControlMode, ModelControl
from zoo_server.models.load_threads import LoadThreads
from zoo_server.models.loader import Loader
from zoo_server.models.model_runtime import GraphOpener, ModelRuntime, OpenerFactory
from zoo_server.models.periodic import PeriodicThread
from zoo_server.options import OFF
from zoo_server.protocols.callers import CallerLimits
from zoo_server.protocols.grpc.health import Health
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.protocols.watched_files import CHECK_SECONDS
from zoo_server.schedulers.rate_limiter import RateLimiter
from zoo_server.schedulers.response_cache import SWEEP_SECONDS, ResponseCache
from zoo_server.schedulers.sequence_batcher import MOST_WAITING
from zoo_server.schedulers.timer import Timer
from zoo_server.telemetry import logs
from zoo_server.telemetry.requests import Listener, RequestJournal, log_request
from zoo_server.telemetry.server_counts import Refusal, ServerCounts
from zoo_server.telemetry.traces import TraceSettings
from zoo_server.topology import SingleProcess, TopologyFactory
from zoo_server.triton_options import resource_counts

_LOG = logging.getLogger(__name__)

#: Threads for long runs and for calls that may wait; idle ones cost nothing but their stacks.
_WORKERS = 64

#: Of the threads that calls may hold, the share that requests may which wait in a sequence: what these
#: wait for comes with other calls, and those need threads too.
_SEQUENCES_SHARE = 1 / 4

#: Between two looks at which models are idle, in seconds.
_LONGEST_SWEEP = 10.0

#: How long answers that are already computed may take to leave once the server is idle.
_FLUSH_SECONDS = 2.0

#: How long runs may take to end that are told to, once the drain is over.
_TERMINATION_SECONDS = 1.0

#: How long `stop` waits for a model that is just being loaded: onnxruntime cannot be interrupted.
_LOAD_SECONDS = 2.0


class Server:
    """One server: built and bound, then started, then stopped; never started twice.

    What it is made of can be looked at: `config`, `catalog`, `in_flight`, `memory_budget`, `path`, and
    once it is started `control` and `dataplane`.
    """

    def __init__(
        self,
        config: ServerConfig,
        topology: TopologyFactory = SingleProcess,
        on_failure: Callable[[], None] = lambda: None,
        opener: OpenerFactory = Runtime,
        entry_points: EntryPointsFactory = Endpoints,
    ) -> None:
        """Bind the ports; OperatorError if that fails, and then none stays bound.

        `on_failure` is called, from any thread, when a port's loop ends although the server was not
        stopped. `opener` returns the object that opens and runs graphs. `entry_points` are what lets
        calls in, where that is not the server's own ports.
        """
        self.config = config
        self._opener = opener
        self._began = time.perf_counter()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        #: Set while no `start` is under way.
        self._settled = threading.Event()
        self._settled.set()
        #: How many requests were cut off.
        self._cut_off = 0
        self.in_flight = InFlight()
        self._health = Health([service.full_name for service in SERVICES])
        self.catalog = Catalog(())
        self._topology = topology(self.catalog, self._health.show)
        self._memory = SharedMemory(enabled=config.allow_shared_memory)
        self.memory_budget = MemoryBudget(config.max_decoded_bytes)
        self.response_cache = _response_cache(config)
        self.counts = ServerCounts(self.response_cache, config.workers)
        self._loads = LoadThreads(config.model_load_thread_count, config.model_load_timeout)
        self._workers = ThreadPoolExecutor(_WORKERS, "worker")
        self._budget = measure(config.threads).shared_by(config.workers)
        self._picture_threads = ThreadPoolExecutor(self._budget.threads, "picture")
        self._watch = RunWatch()
        self.path = InferPath(
            self.catalog,
            self.in_flight,
            self.memory_budget,
            self._workers,
            self._memory,
            self._topology.forward,
        )
        self.path.reads_small_here = not config.is_lazy
        self.path.callers = _caller_limits(config, self.counts)
        with ExitStack() as resources:
            self._journal = _journal(config, resources)
            resources.callback(self._end_workers)
            self._timer = Timer()
            resources.callback(self._timer.close)
            resources.callback(self._topology.leaving)
            self._endpoints = self._entry_points(entry_points, on_failure)
            resources.callback(lambda: self._endpoints.stop(self._flush_seconds))
            self._endpoints.bind()
            self._resources = resources.pop_all()
        #: What lets calls in, and starts what is new.
        self._entrances = ExitStack()
        self._entrances.callback(self._endpoints.streams.close)
        self._entrances.callback(self._health.close)
        self._entrances.callback(self.in_flight.close)

    @property
    def grpc_port(self) -> int:
        """The port of gRPC."""
        return self._endpoints.grpc_port

    @property
    def grpc_address(self) -> str:
        """Where gRPC listens, as a client writes it."""
        return self._endpoints.addresses["gRPC"]

    @property
    def http_address(self) -> str:
        """Where REST listens; KeyError if it is off."""
        return self._endpoints.addresses["HTTP"]

    @property
    def metrics_address(self) -> str:
        """Where the metrics are; KeyError if they are off."""
        return self._endpoints.addresses["metrics"]

    def start(self) -> None:
        """Load the models and begin to answer; if that fails, the server is stopped.

        OperatorError if it cannot run at all, ServerExiting if it is stopped meanwhile.
        """
        self._settled.clear()
        try:
            self._start()
        except BaseException:
            self._settled.set()
            self.stop(0)
            raise
        self._settled.set()

    def stop(self, drain_seconds: float) -> int:
        """Turn new calls away, wait for those under way, end; return how many were cut off.

        While models load that ends after the present one; if it takes long, it counts as cut off.
        Stopping twice does nothing more.
        """
        with self._lock:
            if self._stopping.is_set():
                return 0
            self._stopping.set()
        if not self._settled.wait(_LOAD_SECONDS):
            _LOG.warning("a model is still being loaded, which is cut off")
            return 1
        self._entrances.close()
        loads = self._loads.close(_LOAD_SECONDS)
        if loads:
            _LOG.warning("%d models are still being loaded, which are cut off", loads)
        self._cut_off = left = self.in_flight.wait_until_idle(drain_seconds) + loads
        if self._watch.close():
            self.in_flight.wait_until_idle(_TERMINATION_SECONDS)
        if left:
            _LOG.warning("%d requests did not finish within %g s", left, drain_seconds)
        self._resources.close()
        return left

    # -- parts -----------------------------------------------------------------------------------

    def _entry_points(
        self, factory: EntryPointsFactory, on_failure: Callable[[], None]
    ) -> EntryPoints:
        return factory(
            self.config,
            self._topology,
            CallParts(
                path=self.path,
                in_flight=self.in_flight,
                memory_budget=self.memory_budget,
                counts=self.counts,
                workers=self._workers,
                health=self._health,
            ),
            # Enough that callers waiting for onnxruntime leave some for metadata and health.
            max(16, 4 * self._budget.threads),
            on_failure,
        )

    def _start(self) -> None:
        config = self.config
        self.control = control = self._load()
        self.dataplane = self._topology.join(self._parts(), self.path)
        self._endpoints.start(self.dataplane, lambda: not control.repository_problem)
        if config.model_control_mode == ControlMode.POLL:
            self._repeat("polling the model repository", control.poll, config.repository_poll_secs)
        for reload in self._endpoints.reloads:
            self._repeat("reading tokens and certificates", reload, CHECK_SECONDS)
        trimmer = MemoryTrimmer(lambda: not self.in_flight.count, lambda: self.in_flight.entered)
        self._repeat("giving memory back", trimmer.trim_if_idle, TRIM_SECONDS)
        self._topology.log_ready(self._endpoints.addresses, time.perf_counter() - self._began)
        self._topology.serving()

    def _load(self) -> ModelControl:
        """Load the models; ServerExiting if the server is stopped meanwhile."""
        config, budget = self.config, self._budget
        opener = self._opener(provider=config.provider, threads=budget.threads)
        self._resources.callback(opener.close)
        _LOG.info("onnxruntime %s, %d threads (%s)", opener.version, budget.threads, budget.why)
        cache = self.response_cache
        if cache is not None:
            self._repeat("forgetting cached responses", cache.sweep, SWEEP_SECONDS)
        control = model_control(
            config,
            Loader(self._model_runtime(opener), self._loads, self.catalog),
            self._loads,
            self.catalog,
            self._model_changed,
        )
        if control.residency is not None and config.keep_alive:
            pause = min(_LONGEST_SWEEP, config.keep_alive / 4)
            self._repeat("evicting models", control.residency.evict_unused, pause)
        control.start(config.load_model, seconds=config.startup_wait, leave=self._stopping)
        if self._stopping.is_set():
            raise ServerExiting("Server exiting")
        self._topology.changed()
        return control

    def _model_runtime(self, opener: GraphOpener) -> ModelRuntime:
        """Return what all models share."""
        config = self.config
        return ModelRuntime(
            opener=opener,
            workers=self._workers,
            timer=self._timer,
            waiting=threading.Semaphore(
                self._endpoints.share_of_threads(_SEQUENCES_SHARE) or MOST_WAITING
            ),
            watch=self._watch,
            pictures=PictureThreads(
                threads=self._picture_threads,
                budget=self.memory_budget,
                watch=self._watch,
                most_waiting=config.max_queue_size,
            ),
            max_queue_size=config.max_queue_size,
            self_test=config.self_test,
            journal=self._journal,
            cache=self.response_cache,
            limiter=_rate_limiter(config),
        )

    def _repeat(self, name: str, call: Callable[[], None], seconds: float) -> None:
        thread = PeriodicThread(name, call, seconds)
        thread.start()
        self._entrances.callback(thread.stop)

    def _model_changed(self, name: str, readiness: bool) -> None:
        """Tell those who remember a model, and those who watch what is ready."""
        self.path.forget_model(name)
        if readiness:
            self._topology.changed()

    def _parts(self) -> DataPlaneParts:
        """Return what the data plane of this process speaks for."""
        config = self.config
        return DataPlaneParts(
            catalog=self.catalog,
            control=self.control,
            memory=self._memory,
            metadata=ServerMetadata.of(config),
            logs=logs.LogControl(config.log_level),
            traces=TraceSettings(),
            counts=self.counts,
        )

    # -- facts -----------------------------------------------------------------------------------

    @property
    def _flush_seconds(self) -> float:
        return 0 if self._cut_off else _FLUSH_SECONDS

    def _end_workers(self) -> None:
        for threads in (self._picture_threads, self._workers):
            threads.shutdown(wait=not self._cut_off, cancel_futures=True)


@contextmanager
def running(config: ServerConfig, opener: OpenerFactory = Runtime) -> Iterator[Server]:
    """Serve for as long as the block runs; OperatorError if the server cannot start."""
    if config.workers > 1:
        raise ConfigurationError(
            f"--workers is {config.workers}: inside one process it can only be 1; several are what "
            "`zoo serve` starts"
        )
    server = Server(config, opener=opener)
    try:
        server.start()
        yield server
    finally:
        server.stop(config.drain_seconds)


def _journal(config: ServerConfig, resources: ExitStack) -> RequestJournal | None:
    """Return what tells of each request, None if nobody asks; `resources` ends it."""
    listeners: list[Listener] = [log_request] if config.access_log else []
    if config.otel_endpoint is not None:
        from zoo_server.telemetry.spans import Spans

        spans = Spans(config.otel_endpoint, config.server_name)
        resources.callback(spans.close)
        listeners.append(spans)
    if not listeners:
        return None
    journal = RequestJournal(listeners)
    resources.callback(journal.close)
    return journal


def _caller_limits(config: ServerConfig, counts: ServerCounts) -> CallerLimits | None:
    """Return what each caller is granted, None for anything."""
    most, per_second = config.max_requests_per_caller, config.max_requests_per_second_per_caller
    if not (most or per_second):
        return None
    return CallerLimits(
        most,
        per_second,
        by_token=config.token_file is not None,
        on_refusal=partial(counts.refused, Refusal.QUOTA),
    )


def _rate_limiter(config: ServerConfig) -> RateLimiter | None:
    """Return what lets instances run, None where each runs at once."""
    if config.rate_limit == OFF:
        return None
    return RateLimiter(resource_counts(config.rate_limit_resource))


def _response_cache(config: ServerConfig) -> ResponseCache[Run] | None:
    """Return this process's share of the cache, None if there is to be none."""
    share = config.response_cache_bytes // config.workers
    return ResponseCache(share) if share else None
