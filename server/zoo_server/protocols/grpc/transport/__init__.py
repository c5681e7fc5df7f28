"""The gRPC transports: two servers with one interface and one behaviour.

fast      a lean server on grpcio's C core; the default
public    grpcio's own server: what `fast` falls back to
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Protocol

import grpc

from zoo_server.protocols.grpc.transport.public import PublicTransport, TransportOptions

_LOG = logging.getLogger(__name__)


class Transport(Protocol):
    """One listening gRPC server."""

    @property
    def held_threads(self) -> int:
        """How many threads calls may hold while they wait; 0 where waiting takes none."""

    def bind(self) -> int:
        """Take the port and return its number; AddressError says why that fails."""

    def start(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Begin to answer."""

    def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, cancel what is still under way after the grace, and return."""


def open_transport(name: str, options: TransportOptions, workers: Executor) -> Transport:
    """Return the transport asked for; the public one, with a line in the log, if `fast` cannot be.

    `workers` runs handlers that may take long.
    """
    if name == "fast":
        try:
            from zoo_server.protocols.grpc.transport import core
            from zoo_server.protocols.grpc.transport.fast import FastTransport

            core.check()
            return FastTransport(options, workers)
        except Exception as error:  # whatever a changed private module may raise
            _LOG.warning(
                "the fast transport does not work with grpcio %s (%s: %s): using the public one",
                grpc.__version__,
                type(error).__name__,
                error,
            )
    return PublicTransport(options)
