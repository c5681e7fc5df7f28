"""What answers on the HTTP ports: builds the REST api and the page of metrics, and serves them.

    ports taken ──> gRPC answers ──> imports of HTTP ──> REST on one port, metrics on another

A part of the composition root; what it builds with is imported once `start` is called.
"""

import ssl
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from zoo_server.config import ServerConfig
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.limits import Admission
from zoo_server.models.catalog import Catalog
from zoo_server.protocols.grpc.transport.public import join_address
from zoo_server.protocols.rest.http_server import HttpListener, HttpTransport
from zoo_server.telemetry.readings import ModelReading


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """What the rest of the server lends."""

    catalog: Catalog
    memory: SharedMemory
    admission: Admission
    workers: Executor
    #: Returns what was counted of every served version.
    readings: Callable[[], Iterable[ModelReading]]
    #: Returns the ids of the server's processes.
    processes: Callable[[], Iterable[int]]
    #: Listening sockets to take over, by what they are for: "HTTP", "metrics".
    taken: Mapping[str, int]
    #: The server's.
    version: str
    #: None asks for none.
    token: bytes | None
    #: None serves in plain text.
    tls: ssl.SSLContext | None


class Web:
    """The HTTP ports of one server."""

    def __init__(self, config: ServerConfig, parts: WebParts) -> None:
        """Take the ports; AddressError if that fails."""
        self._config = config
        self._parts = parts
        self._servicer: object = None
        rows = (
            ("HTTP", config.http_port, "--http-port", self._rest),
            ("metrics", config.metrics_port, "--metrics-port", self._metrics),
        )
        listeners = {
            name: HttpListener(
                port=port, flag=flag, application=application, taken=parts.taken.get(name)
            )
            for name, port, flag, application in rows
            if port is not None
        }
        self._transport = HttpTransport(config.host, list(listeners.values()), parts.tls)
        ports = zip(listeners, self._transport.bind(), strict=True)
        #: Where each listens, as a client writes it: "HTTP" and "metrics", where they are not off.
        self.addresses = {name: join_address(config.host, port) for name, port in ports}

    def start(self, servicer: object) -> None:
        """Begin to answer; `servicer` has a method an RPC."""
        self._servicer = servicer
        self._transport.start()

    def stop(self, grace_seconds: float) -> None:
        """Refuse new connections, cut off what is under way after the grace, and return."""
        self._transport.stop(grace_seconds)

    def _rest(self) -> Any:
        from zoo_server.protocols.rest.application import RestParts, rest_application
        from zoo_server.protocols.rest.bodies import BodyLimits

        config, parts = self._config, self._parts
        return rest_application(
            RestParts(
                servicer=self._servicer,
                catalog=parts.catalog,
                memory=parts.memory,
                admission=parts.admission,
                workers=parts.workers,
                limits=BodyLimits(body=config.max_message_bytes, input=config.http_max_input_size),
                version=parts.version,
                token=parts.token,
            )
        )

    def _metrics(self) -> Any:
        from zoo_server.protocols.rest.plain import MetricsPage, TokenCheck
        from zoo_server.telemetry.metrics import CONTENT_TYPE, Metrics

        metrics = Metrics(self._parts.readings, self._parts.processes)
        page = MetricsPage(metrics.page, CONTENT_TYPE)
        token = self._parts.token
        return page if token is None else TokenCheck(page, token)
