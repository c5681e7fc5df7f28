"""The composition root: builds every part and hands it what it needs; nothing else does.

serve(config)     what `zoo serve` runs: logs, signals, exit status
running(config)   the same server inside a block, for tests and for embedding
work(place, …)    what each process of `zoo serve --workers N` runs (server/workers)

config ──> bind every port ──> Runtime ──> Catalog ──> OpenInference ──> gRPC ──> REST, metrics

What only HTTP needs is imported once gRPC answers.
"""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import grpc

from zoo_server.backends.onnxruntime.session import Runtime
from zoo_server.backends.onnxruntime.threads import ThreadBudget, measure
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError, OperatorError, ServerExiting
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.lifecycle import Event, LeaveRequest, Lifecycle, leaving_on_signals
from zoo_server.limits import Admission
from zoo_server.models.catalog import Catalog
from zoo_server.models.control import ControlMode, ModelControl
from zoo_server.models.loader import Loader, Workshop
from zoo_server.models.polling import Poller
from zoo_server.models.readiness import Readiness
from zoo_server.protocols import tls
from zoo_server.protocols.auth import TokenGuard, read_token
from zoo_server.protocols.grpc.decoded_size import Decoding
from zoo_server.protocols.grpc.handlers import SERVICE, inference_handlers, one_servicer
from zoo_server.protocols.grpc.health import Health, health_handlers
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.protocols.grpc.model_repository import ModelRepository
from zoo_server.protocols.grpc.reflection import reflection_handlers
from zoo_server.protocols.grpc.server_settings import ServerSettings
from zoo_server.protocols.grpc.service import EXTENSIONS, OpenInference
from zoo_server.protocols.grpc.shared_memory import SharedMemoryRegions
from zoo_server.protocols.grpc.stream import InferStreams
from zoo_server.protocols.grpc.transport import open_transport
from zoo_server.protocols.grpc.transport.public import TransportOptions, join_address
from zoo_server.protocols.grpc.transport.spread import spread_evenly
from zoo_server.protocols.rest.web import Web, WebParts
from zoo_server.protocols.tfs.predict import PredictPath
from zoo_server.protocols.tfs.service import SERVICES as TENSORFLOW_SERVICES
from zoo_server.protocols.tfs.service import TensorFlowServing, tensorflow_handlers
from zoo_server.protocols.tls import Tls, TlsFiles
from zoo_server.schedulers.sequence_batcher import MOST_WAITING
from zoo_server.schedulers.timer import Timer
from zoo_server.supervisors.supervisor_channel import Place, Seat
from zoo_server.supervisors.worker_group import Company
from zoo_server.telemetry import logs
from zoo_server.telemetry.traces import TraceSettings

_LOG = logging.getLogger(__name__)

DISTRIBUTION = "layer-zoo"

#: Exit statuses, as everywhere in `zoo`.
OK, BAD_USAGE = 0, 2

#: Threads for long runs and for calls that may wait; idle ones cost nothing but their stacks.
_WORKERS = 64

#: Of the threads that calls may hold, the share that open streams may, and that requests may which
#: wait in a sequence: what these wait for comes with other calls, and those need threads too.
_STREAMS_SHARE, _SEQUENCES_SHARE = 1 / 2, 1 / 4

#: How long answers that are already computed may take to leave once the server is idle.
_FLUSH_SECONDS = 2.0


class Server:
    """One server: built and bound, then started, then stopped; never started twice."""

    def __init__(self, config: ServerConfig, seat: Seat | None = None) -> None:
        """Take the port; AddressError if that fails.

        `seat` is the place of a server that is one process of several.
        """
        if seat is None and config.workers > 1:
            raise ConfigurationError(
                f"--workers is {config.workers}: inside one process it can only be 1; several are "
                "what `zoo serve` starts"
            )
        self._config = config
        self._seat = seat
        self._began = time.perf_counter()
        self._lifecycle = Lifecycle()
        self._admission = Admission()
        self._health = Health()
        self._poller: Poller | None = None
        self._streams: InferStreams | None = None
        self._budget = measure(config.threads).shared_by(config.workers)
        self._workers = ThreadPoolExecutor(_WORKERS, "worker")
        self._timer = Timer()
        papers = _tls(config)
        token = None if config.token_file is None else read_token(config.token_file)
        self._transport = open_transport(
            config.transport,
            TransportOptions(
                host=config.host,
                port=config.grpc_port,
                max_message_bytes=config.max_message_bytes,
                handler_threads=_handler_threads(self._budget),
                credentials=None if papers is None else papers.grpc,
                guard=None if token is None else TokenGuard(token),
                shared=seat is not None,
            ),
            self._workers,
        )
        # One of several binds when it can answer: connections would come to it at once.
        self.grpc_port = self._transport.bind() if seat is None else config.grpc_port
        self.catalog = Catalog(())
        self._company = Company(
            seat, self.catalog, lambda ready: self._health.publish(_serving(ready))
        )
        self._memory = SharedMemory(enabled=config.allow_shared_memory)
        self._decoding = Decoding(config.max_decoded_bytes)
        self._path = InferPath(
            self.catalog, self._admission, self._decoding, self._memory, self._company.hand_on
        )
        self._web = Web(
            config,
            WebParts(
                catalog=self.catalog,
                memory=self._memory,
                admission=self._admission,
                workers=self._workers,
                readings=self._company.readings,
                processes=self._company.processes,
                taken={} if seat is None else seat.place.listeners,
                version=_version(),
                token=token,
                tls=None if papers is None else papers.http,
            ),
        )

    @property
    def grpc_address(self) -> str:
        """Where gRPC listens, as a client writes it."""
        return join_address(self._config.host, self.grpc_port)

    @property
    def http_address(self) -> str:
        """Where REST listens; KeyError if it is off."""
        return self._web.addresses["HTTP"]

    @property
    def metrics_address(self) -> str:
        """Where the metrics are; KeyError if they are off."""
        return self._web.addresses["metrics"]

    def start(self) -> None:
        """Load the models and begin to answer; OperatorError if the server cannot run at all."""
        config, budget = self._config, self._budget
        runtime = Runtime(provider=config.provider, threads=budget.threads)
        _LOG.info("onnxruntime %s, %d threads (%s)", runtime.version, budget.threads, budget.why)
        workshop = Workshop(
            opener=runtime,
            workers=self._workers,
            timer=self._timer,
            waiting=threading.Semaphore(self._share(_SEQUENCES_SHARE) or MOST_WAITING),
            self_test=config.self_test,
        )
        mode = ControlMode(config.model_control_mode)
        self.control = control = ModelControl(
            config.repository, Loader(workshop), self.catalog, mode, changed=self._catalog_changed
        )
        control.start(config.load_model)
        self._catalog_changed()
        servicer = self._company.join(self._build_servicer(control), self._path)
        if self._seat is not None:
            self._transport.bind()
            spread_evenly(self.grpc_port, self._config.workers)
        self._transport.start(self._handlers(servicer))
        self._web.start(servicer)
        if mode is ControlMode.POLL:
            self._poller = Poller(control, config.repository_poll_secs)
            self._poller.start()
        self._lifecycle.on(Event.LOADED)
        self._say_ready()
        self._company.serves()

    def stop(self, drain_seconds: float) -> int:
        """Turn new calls away, wait for those under way, end; return how many were cut off.

        Stopping twice does nothing more.
        """
        if not self._lifecycle.on(Event.LEAVE):
            return 0
        if self._poller is not None:
            self._poller.stop()
        self._admission.close()
        self._health.close()
        if self._streams is not None:
            self._streams.close()
        left = self._admission.wait_until_idle(drain_seconds)
        if left:
            _LOG.warning("%d requests did not finish within %g s", left, drain_seconds)
        self._transport.stop(0 if left else _FLUSH_SECONDS)
        self._web.stop(0 if left else _FLUSH_SECONDS)
        self._company.leaves()
        self._timer.close()
        self._workers.shutdown(wait=not left, cancel_futures=True)
        self._lifecycle.on(Event.DRAINED)
        return left

    def _share(self, share: float) -> int:
        """Return how many threads are a share of those that calls may hold, 0 if they hold none."""
        return int(self._transport.held_threads * share)

    def _build_servicer(self, control: ModelControl) -> Any:
        """Return what answers every RPC but inference, over gRPC and over HTTP."""
        inference = OpenInference(
            self.catalog,
            server_name=self._config.server_name,
            server_version=_version(),
            extensions=(*EXTENSIONS, *_chosen_extensions(self._config)),
            count=self._company.counted,
        )
        return one_servicer(
            inference,
            ModelRepository(control),
            SharedMemoryRegions(self._memory),
            ServerSettings(self.catalog, logs.LogControl(self._config.log_level), TraceSettings()),
        )

    def _handlers(self, servicer: Any) -> list[grpc.GenericRpcHandler]:
        path = self._path
        self._streams = InferStreams(path, self._share(_STREAMS_SHARE))
        return [
            inference_handlers(servicer, path, self._streams, self._admission, self._company.waits),
            *tensorflow_handlers(
                TensorFlowServing(self.catalog),
                PredictPath(self.catalog, self._admission, self._decoding),
                self._admission,
            ),
            health_handlers(self._health),
            reflection_handlers(),
        ]

    def _catalog_changed(self) -> None:
        """Tell those who remember or watch models."""
        self._path.forget()
        self._company.changed()

    def _say_ready(self) -> None:
        """One line a model, and a last line that other programs can wait for.

        Of several processes the first says the former, and the supervisor the latter.
        """
        if self._seat is not None and self._seat.place.number > 1:
            return
        loaded = self.catalog.loaded()
        for model in loaded:
            _LOG.info(
                "serving %s version %d on %s",
                model.settings.name,
                model.settings.version,
                model.provider,
            )
        failed = len(self.catalog.entries()) - len(loaded)
        if failed:
            _LOG.warning(
                "ServerReady answers false: %d could not be loaded (see above), the others are "
                "served",
                failed,
            )
        if self._seat is not None:
            return
        addresses = {"gRPC": self.grpc_address, **self._web.addresses}
        _LOG.info(
            "ready: %s, %d models, %d unavailable (loaded in %.2f s)",
            ", ".join(f"{name} on {place}" for name, place in addresses.items()),
            len(loaded),
            failed,
            time.perf_counter() - self._began,
        )


@contextmanager
def running(config: ServerConfig) -> Iterator[Server]:
    """Serve for as long as the block runs; OperatorError if the server cannot start."""
    server = Server(config)
    try:
        server.start()
        yield server
    finally:
        server.stop(config.drain_seconds)


def serve(config: ServerConfig) -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit status."""
    logs.configure(config.log_level)
    if config.workers > 1:
        from zoo_server.supervisors.opening import supervise

        return supervise(config)
    with leaving_on_signals() as leave:
        return _serve(config, leave, None)


def work(place: str, arguments: Sequence[str]) -> int:
    """Serve as one process of several, until told to leave; return its exit status.

    Of the two signals only SIGTERM is for it: a terminal sends SIGINT to the supervisor as well.
    """
    config, where = ServerConfig.parse_arguments(arguments), Place.from_json(place)
    logs.configure(config.log_level, where.number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with leaving_on_signals(signal.SIGTERM) as leave:
        return _serve(config, leave, Seat(where, leave.ask))


def _serve(config: ServerConfig, leave: LeaveRequest, seat: Seat | None) -> int:
    server = None
    try:
        server = Server(config, seat)
        server.start()
        _spare_the_collector()
    except (OperatorError, ServerExiting) as error:
        _say_why(error, seat)
        if server is not None:
            server.stop(0)
        return BAD_USAGE if isinstance(error, OperatorError) else OK
    leave.wait()
    say = _LOG.info if seat is None else _LOG.debug
    say("leaving: no new requests, up to %g s for those under way", config.drain_seconds)
    left = server.stop(config.drain_seconds)
    say("stopped")
    if left:
        # A run inside onnxruntime cannot be stopped from outside, and Python would wait for its
        # thread; the drain time was the wait.
        logging.shutdown()
        os._exit(OK)
    return OK


def _say_why(error: Exception, seat: Seat | None) -> None:
    """Say why the server cannot start; one of several tells the supervisor, which says it once."""
    if seat is None:
        _LOG.error("%s", error)
    elif isinstance(error, OperatorError):
        seat.tell("failed", str(error).encode())


def _tls(config: ServerConfig) -> Tls | None:
    """Return what to serve TLS with, None for plain text; ConfigurationError for bad files."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return tls.load(
        TlsFiles(
            certificate=config.tls_certificate, key=config.tls_key, client_ca=config.tls_client_ca
        )
    )


def _spare_the_collector() -> None:
    """Keep Python's garbage collector off what was loaded, and from looking every few requests.

    The fast transport's calls leave no cycles behind (tests/server/protocols/grpc/test_transport.py), the public
    one's and HTTP's connections do, a few objects each; a collection over all that was imported takes
    milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _handler_threads(budget: ThreadBudget) -> int:
    """Enough that callers waiting for onnxruntime leave some for metadata and health."""
    return max(16, 4 * budget.threads)


def _serving(readiness: Readiness) -> dict[str, bool]:
    """What grpc.health.v1 answers for each name: the server's readiness is ServerReady's."""
    models = {name: bool(versions) for name, versions in readiness.models.items()}
    services = (SERVICE, *TENSORFLOW_SERVICES)
    return {
        **models,
        "": readiness.server,
        **{service.full_name: readiness.server for service in services},
    }


def _chosen_extensions(config: ServerConfig) -> Iterator[str]:
    """What the server's metadata lists because an option switched it on."""
    if config.model_control_mode == ControlMode.EXPLICIT:
        yield from ("model_repository", "model_repository(unload_dependents)")
    if config.allow_shared_memory:
        yield "system_shared_memory"


def _version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return "0"
