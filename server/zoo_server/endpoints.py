"""The ports of a process, and what answers on them: gRPC, REST, the metrics' page.

    Endpoints ──> Transport      gRPC: the servicers of Open Inference, TensorFlow Serving, health, reflection
              └─> HttpTransport  REST and the metrics, each on its port

Modules that only HTTP needs are imported once gRPC answers.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import grpc

from zoo_server.config import ServerConfig
from zoo_server.dataplane import DataPlane
from zoo_server.limits import InFlight, MemoryBudget
from zoo_server.protocols import tls
from zoo_server.protocols.auth import TokenGuard, Tokens
from zoo_server.protocols.grpc.handlers import SERVICE, inference_handlers
from zoo_server.protocols.grpc.health import Health, health_handlers
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.protocols.grpc.reflection import reflection_handlers
from zoo_server.protocols.grpc.service import InferenceServicer
from zoo_server.protocols.grpc.stream import InferStreams
from zoo_server.protocols.grpc.transport import Transport, open_transport
from zoo_server.protocols.grpc.transport.public import TransportOptions
from zoo_server.protocols.ports import join_address
from zoo_server.protocols.rest.asgi import Application, MetricsPage, TokenCheck, right_to_read
from zoo_server.protocols.rest.connections import ConnectionLimits
from zoo_server.protocols.rest.http_server import HttpListener, HttpTransport
from zoo_server.protocols.tfs.predict import PredictPath
from zoo_server.protocols.tfs.service import SERVICES as TENSORFLOW_SERVICES
from zoo_server.protocols.tfs.service import TensorFlowServing, tensorflow_handlers
from zoo_server.telemetry.server_counts import ServerCounts
from zoo_server.topology import Topology

_LOG = logging.getLogger(__name__)

#: Our services over gRPC, by their descriptors.
SERVICES = (SERVICE, *TENSORFLOW_SERVICES)

#: Of the threads that calls may hold, the share that open streams may: what they wait for comes with other
#: calls, and those need threads too.
_STREAMS_SHARE = 1 / 2

#: RPCs that find a model, for which it may have to be loaded first.
_FINDING = frozenset({"ModelMetadata", "ModelConfig"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallParts:
    """The parts of the server that the calls of every port use."""

    path: InferPath
    in_flight: InFlight
    memory_budget: MemoryBudget
    counts: ServerCounts
    #: Run what may take long.
    workers: Executor
    health: Health


class EntryPoints(Protocol):
    """What lets calls into one process: its ports, or what a program that embeds the server has."""

    streams: InferStreams

    @property
    def grpc_port(self) -> int:
        """The port of gRPC."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where calls are answered, by what is: "gRPC", "HTTP", "metrics"."""

    @property
    def reloads(self) -> Sequence[Callable[[], None]]:
        """What to call every CHECK_SECONDS, so that new certificates and tokens are read."""

    def share_of_threads(self, share: float) -> int:
        """Return how many threads are a share of those that calls may hold, 0 if they hold none."""

    def bind(self) -> None:
        """Bind the ports; AddressError if that fails. What is bound is released by `stop`."""

    def start(self, dataplane: DataPlane, is_reachable: Callable[[], bool]) -> None:
        """Begin to answer; `is_reachable` tells, for the metrics, whether the repository is."""

    def stop(self, seconds: float) -> None:
        """Release the ports; answers that are computed have so many seconds to leave."""


class Endpoints:
    """The ports of one process: bound, then started, then stopped."""

    def __init__(
        self,
        config: ServerConfig,
        topology: Topology,
        calls: CallParts,
        handler_threads: int,
        on_failure: Callable[[], None],
    ) -> None:
        """Read certificates and tokens; ConfigurationError if they cannot be used.

        `handler_threads` is what gRPC's calls may hold; `on_failure` is called, from any thread, when a
        port's loop ends although it was not stopped.
        """
        self._config = config
        self._topology = topology
        self._calls = calls
        self._on_failure = on_failure
        self._tls = tls.load(config)
        self._tokens = None if config.token_file is None else Tokens(config.token_file)
        self._http = self._open_http()
        self._http_ports: dict[str, int] = {}
        self._transport = self._open_grpc(handler_threads)
        self.streams = InferStreams(calls.path, self.share_of_threads(_STREAMS_SHARE))
        self._grpc_port = config.grpc_port

    @property
    def grpc_port(self) -> int:
        """The port of gRPC."""
        return self._grpc_port

    @property
    def addresses(self) -> dict[str, str]:
        """Where calls are answered, by what is: "gRPC", "HTTP", "metrics"."""
        ports = {"gRPC": self.grpc_port, **self._http_ports}
        return {name: join_address(self._config.host, port) for name, port in ports.items()}

    @property
    def reloads(self) -> Sequence[Callable[[], None]]:
        """What to call every CHECK_SECONDS, so that new certificates and tokens are read."""
        return [each.reload for each in (self._tls, self._tokens) if each is not None]

    def share_of_threads(self, share: float) -> int:
        """Return how many threads are a share of those that calls may hold, 0 if they hold none."""
        return int(self._transport.held_threads * share)

    def bind(self) -> None:
        """Bind the ports; AddressError if that fails. What is bound is released by `stop`."""
        self._http_ports = dict(zip(self._http.names, self._http.bind(), strict=True))
        # One of several binds when it can answer: connections would come to it at once.
        if not self._topology.shares_port:
            self._grpc_port = self._transport.bind()

    def start(self, dataplane: DataPlane, is_reachable: Callable[[], bool]) -> None:
        """Begin to answer; `is_reachable` tells, for the metrics, whether the repository is."""
        if self._topology.shares_port:
            self._transport.bind()
        handlers = self._handlers(dataplane)
        self._transport.start([*handlers, reflection_handlers(SERVICES)])
        self._http.start(
            {
                "HTTP": lambda: self._http_application(dataplane, handlers),
                "metrics": lambda: self._metrics(dataplane, is_reachable),
            }
        )

    def stop(self, seconds: float) -> None:
        """Release the ports; answers that are computed have so many seconds to leave."""
        with ExitStack() as both:
            both.callback(self._http.stop, seconds)
            both.callback(self._transport.stop, seconds)

    def _open_grpc(self, handler_threads: int) -> Transport:
        config = self._config
        options = TransportOptions(
            host=config.host,
            port=config.grpc_port,
            max_message_bytes=config.max_message_bytes,
            handler_threads=handler_threads,
            max_connections=config.max_connections,
            max_connections_of_a_peer=config.max_connections_per_peer,
            credentials=None if self._tls is None else self._tls.grpc,
            guard=None if self._tokens is None else TokenGuard(self._tokens),
            on_refusal=self._calls.counts.refused,
            shared=self._topology.shares_port,
            on_failure=partial(self._loop_ended, "gRPC"),
        )
        return open_transport(config.transport, options, self._calls.workers)

    def _open_http(self) -> HttpTransport:
        config, descriptors = self._config, self._topology.listeners
        ports = {"HTTP": config.http_port, "metrics": config.metrics_port}
        return HttpTransport(
            config.host,
            [
                HttpListener(
                    name=name,
                    port=port,
                    flag=f"--{name.lower()}-port",
                    descriptor=descriptors.get(name),
                )
                for name, port in ports.items()
                if port is not None
            ],
            None if self._tls is None else self._tls.http,
            partial(self._loop_ended, "HTTP"),
            ConnectionLimits(
                most=config.max_connections, most_of_a_peer=config.max_connections_per_peer
            ),
        )

    def _loop_ended(self, name: str, error: BaseException) -> None:
        _LOG.critical("the loop of %s has ended: its ports are deaf", name, exc_info=error)
        self._on_failure()

    def _handlers(self, dataplane: DataPlane) -> list[grpc.GenericRpcHandler]:
        predict = PredictPath(
            dataplane, self._calls.in_flight, self._calls.memory_budget, self._calls.workers
        )
        predict.callers = self._calls.path.callers
        return [
            inference_handlers(
                InferenceServicer(dataplane),
                self._calls.path,
                self.streams,
                self._calls.in_flight,
                self._topology.blocking_rpcs | (_FINDING if self._config.is_lazy else frozenset()),
            ),
            *tensorflow_handlers(
                TensorFlowServing(dataplane),
                predict,
                self._calls.in_flight,
            ),
            health_handlers(self._calls.health),
        ]

    def _http_application(
        self, dataplane: DataPlane, handlers: Sequence[grpc.GenericRpcHandler]
    ) -> Application:
        """Return the application of the HTTP port, with all that it imports."""
        from zoo_server.protocols.rest.application import cross_origin, rest_application
        from zoo_server.protocols.rest.bodies import Bodies, BodyLimits

        calls, bodies = self._calls, Bodies(BodyLimits.of(self._config))
        application = rest_application(
            dataplane,
            self._config,
            calls.in_flight,
            calls.workers,
            calls.counts,
            bodies,
            self._tokens,
            calls.path.callers,
        )
        if self._config.grpc_web:
            from zoo_server.protocols.grpc_web.application import GrpcWeb

            guard = None if self._tokens is None else TokenGuard(self._tokens)
            application = GrpcWeb(application, handlers, guard, bodies, calls.workers, calls.counts)
        return cross_origin(application, self._config)

    def _metrics(self, dataplane: DataPlane, is_reachable: Callable[[], bool]) -> Application:
        """Return the application of the metrics port, with all that it imports."""
        from zoo_server.telemetry.metrics import CONTENT_TYPE, Metrics

        metrics = Metrics(
            lambda: dataplane.statistics("", ""),
            self._topology.processes,
            self._topology.restarts,
            is_reachable,
            dataplane.counts,
        )
        page = MetricsPage(metrics.page, CONTENT_TYPE)
        if self._tokens is None:
            return page
        return TokenCheck(page, self._tokens, right_to_read, self._calls.counts)


#: Makes the entry points of a server, from its options, its topology, what their calls use, the threads
#: that calls may hold, and what to call if one of them ends.
EntryPointsFactory = Callable[
    [ServerConfig, Topology, CallParts, int, Callable[[], None]], EntryPoints
]
