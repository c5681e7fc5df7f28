"""How long one call of a library keeps the interpreter's lock, measured alone beside a thread that wants it.

    python -m bench.lock_holds       about half a minute

grpcio copies a message while it receives and while it sends it, and onnxruntime converts strings one by one. No
other thread of the process runs meanwhile, so that these are the least that bench.stall can show. The thread asks
for the lock every half millisecond; what counts is the longest it did not get it, or the process's own
processor time in that while if that is less: what neighbours of the machine take is in the first alone.
"""

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import onnxruntime
from onnx import TensorProto, helper

from zoo_server.backends.onnxruntime.strings import StringRun
from zoo_server.datatypes import object_array
from zoo_server.malloc import heap
from zoo_server.protocols.grpc.transport import core

_REPEATS = 7
_ASKS_SECONDS = 0.0005

#: So that the thread has asked once more after a call has ended.
_SETTLE_SECONDS = 0.003

_CALL_SECONDS = 60.0

#: As the fast transport sets it.
_SWITCH_SECONDS = 0.0003

_CALLER = """
import sys, grpc
port, size, count = map(int, sys.argv[1:])
options = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]
with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
    ask = channel.unary_unary("/bench/Copy")
    for _ in range(count):
        ask(bytes(size), timeout=60)
"""


class LockWatch:
    """A thread that asks for the lock again and again."""

    def __init__(self) -> None:
        self._longest = 0.0
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        while True:
            began, used = time.perf_counter(), time.process_time()
            time.sleep(_ASKS_SECONDS)
            waited = time.perf_counter() - began - _ASKS_SECONDS
            self._longest = max(self._longest, min(waited, time.process_time() - used))

    def longest_ms(self, work: Callable[[], object]) -> float:
        """Return the longest that the lock was kept during some work."""
        time.sleep(_SETTLE_SECONDS)
        self._longest = 0.0
        work()
        time.sleep(_SETTLE_SECONDS)
        return 1e3 * self._longest


class CopyServer:
    """The fast transport's core alone: takes a message and sends it back."""

    def __init__(self) -> None:
        self._queue = core.CompletionQueue()
        options = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1))
        self._server = core.Server(options, False)
        self._server.register_completion_queue(self._queue)
        self.port: int = self._server.add_http2_port(b"127.0.0.1:0")
        self._server.start()

    def _wait(self, tag: object) -> core.Event:
        event: core.Event = self._queue.poll(time.time() + _CALL_SECONDS)
        if event.completion_type == core.TIMED_OUT or event.tag != tag:
            raise RuntimeError(f"no '{tag}' within {_CALL_SECONDS:g} s")
        return event

    def measure(self, watch: LockWatch) -> tuple[float, float]:
        """Take one call; return how long receiving and sending its message kept the lock, in ms."""
        self._server.request_call(self._queue, self._queue, "call")
        call = self._wait("call").call
        received: list[bytes | None] = []

        def receive() -> None:
            call.start_server_batch((core.ReceiveMessage(core.NO_FLAGS),), "message")
            received.append(self._wait("message").batch_operations[0].message())

        def send() -> None:
            operations = (
                core.SendInitialMetadata(None, core.NO_FLAGS),
                core.SendMessage(received[0], core.NO_FLAGS),
                core.SendStatus(None, core.OK, b"", core.NO_FLAGS),
                core.ReceiveClose(core.NO_FLAGS),
            )
            call.start_server_batch(operations, "sent")

        holds = watch.longest_ms(receive), watch.longest_ms(send)
        self._wait("sent")
        return holds


@contextmanager
def _caller(port: int, size: int, count: int) -> Iterator[None]:
    command = [sys.executable, "-c", _CALLER, str(port), str(size), str(count)]
    process = subprocess.Popen(command)
    try:
        yield
        process.wait(_CALL_SECONDS)
    finally:
        process.kill()
        process.wait()


def _identity() -> onnxruntime.InferenceSession:
    ends = [helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in "xy"]
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "strings", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


def _print(name: str, holds: list[float]) -> None:
    print(f"| {name} | {statistics.median(holds):.1f} | {max(holds):.1f} |", flush=True)


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.lock_holds", description=__doc__)
    parser.add_argument("--new-pages", action="store_true", help="as glibc is by itself")
    if not parser.parse_args().new_pages:
        heap.keep_freed_pages()
    sys.setswitchinterval(_SWITCH_SECONDS)
    watch, server = LockWatch(), CopyServer()
    print("| call | median ms | max ms |\n| --- | ---: | ---: |")
    for megabytes in (8, 16, 32, 64):
        with _caller(server.port, megabytes << 20, _REPEATS):
            holds = [server.measure(watch) for _ in range(_REPEATS)]
        _print(f"grpcio receives {megabytes} MB", [received for received, _ in holds])
        _print(f"grpcio sends {megabytes} MB", [sent for _, sent in holds])
    session = _identity()
    in_parts = StringRun(session, onnxruntime)
    count = (8 << 20) // 6
    feeds = {"x": object_array(["ab"] * count, (count,))}
    runs: dict[str, Callable[[], object]] = {
        f"onnxruntime takes and gives {count:,} strings": lambda: session.run(["y"], feeds),
        "the same in parts": lambda: in_parts(["y"], feeds, None),
    }
    for name, work in runs.items():
        _print(name, [watch.longest_ms(work) for _ in range(_REPEATS)])
    return 0


if __name__ == "__main__":
    sys.exit(main())
