"""A transport of gRPC that serves a test's own handlers."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from tests.server.protocols.grpc.transport_callers import Handlers
from zoo_server.protocols.grpc.transport import open_transport
from zoo_server.protocols.grpc.transport.public import TransportOptions


@pytest.fixture
def served(transport):
    """Serve handlers: `with served(Name=handler) as channel:`."""

    @contextmanager
    def serve(grace=5.0, channel_options=(), **handlers):
        options = {"max_message_bytes": 100_000, **handlers.pop("options", {})}
        workers = ThreadPoolExecutor(8, "worker")
        server = open_transport(
            transport,
            TransportOptions(host="127.0.0.1", port=0, handler_threads=8, **options),
            workers,
        )
        port = server.bind()
        server.start([Handlers(**handlers)])
        try:
            with grpc.insecure_channel(f"127.0.0.1:{port}", channel_options) as channel:
                channel.server, channel.port = server, port
                yield channel
        finally:
            server.stop(grace)
            workers.shutdown()

    return serve
