"""Our fast transport with a handler that sends every message back: the limit of our own wire.

Usage: fast_echo.py PORT [REPOSITORY], of which the second is ignored.
"""

import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from zoo_server.protocols.grpc.poller import prefer_older_poller

prefer_older_poller()

import grpc  # noqa: E402  the poller is chosen before grpc is imported

from zoo_server.protocols.grpc.transport import open_transport  # noqa: E402
from zoo_server.protocols.grpc.transport.public import TransportOptions  # noqa: E402


class Handlers(grpc.GenericRpcHandler):
    """The echo, whatever the method."""

    def service(self, _: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return the handler of a call."""
        return _HANDLER


class Echo:
    """Answers what is ready at once as one burst."""

    def __call__(self, _message: bytes, _context: grpc.ServicerContext) -> bytes:
        """Never called: the transport sees that there is a burst."""
        raise AssertionError("the burst is what is called")

    def burst(self, calls: Sequence[Any], _inline_budget_ns: int, *, stays: bool) -> None:
        """Send every message back."""
        for call in calls:
            call.reply(call.message)


_HANDLER: "grpc.RpcMethodHandler[Any, Any]" = grpc.unary_unary_rpc_method_handler(Echo())


def main() -> None:
    """Serve until a signal comes."""
    options = TransportOptions(
        host="127.0.0.1", port=int(sys.argv[1]), handler_threads=4, max_message_bytes=2**31 - 1
    )
    transport = open_transport("fast", options, ThreadPoolExecutor(4))
    transport.bind()
    transport.start([Handlers()])
    threading.Event().wait()


if __name__ == "__main__":
    main()
