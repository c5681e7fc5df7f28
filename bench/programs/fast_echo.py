"""Our fast transport with a handler that sends every message back: the limit of our own wire.

Usage: fast_echo.py PORT
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from server.poller import prefer_older_poller

prefer_older_poller()

import grpc  # noqa: E402  the poller is chosen before grpc is imported

from server.transport import open_transport  # noqa: E402
from server.transport.public import TransportOptions  # noqa: E402


class Handlers(grpc.GenericRpcHandler):
    def service(self, _details):
        return _HANDLER


def _never(_message, _context):
    raise AssertionError("the burst is what is called")


def _burst(calls, _bears_ns, *, stays):
    for call in calls:
        call.reply(call.message)


_never.burst = _burst
_HANDLER = grpc.unary_unary_rpc_method_handler(_never)


def main():
    options = TransportOptions(
        host="127.0.0.1", port=int(sys.argv[1]), handler_threads=4, max_message_bytes=2**31 - 1
    )
    transport = open_transport("fast", options, ThreadPoolExecutor(4))
    transport.bind()
    transport.start([Handlers()])
    threading.Event().wait()


if __name__ == "__main__":
    main()
