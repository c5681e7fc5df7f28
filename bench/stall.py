"""What one request does to everybody else: a ServerLive probe every 2 ms beside each of them.

    python -m bench.stall                       about a minute
    python -m bench.stall --only 'text|gate'    some of the rows

The server's loop answers short requests itself, so whatever else it does itself, everybody waits for.
Each row sends one kind of request that takes long in one way, several times, while a process of its
own asks ServerLive. What the probe sees of an idle server, at the beginning and at the end, is the
machine's own part. The models are made here; nothing is trained or downloaded.

No request is read, run or answered on the loop unless it is known to be short. What the probe still sees
of large ones is time that libraries keep the interpreter's lock for: grpcio while it copies a message
(`python -m bench.lock_holds` measures such calls alone), and the lock's own way of going round: a question takes
it several times, and each time threads that work may keep it for a while.
"""

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.messages import INFER, STREAM_INFER, channel
from bench.process import ServerProcess
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs

PREDICT = "/tensorflow.serving.PredictionService/Predict"
LIVE = "/inference.GRPCInferenceService/ServerLive"

_READY = re.compile(r"ready: gRPC on \S+:(\d+), HTTP on \S+:(\d+),")

_REFUSED = grpc.StatusCode.INVALID_ARGUMENT

#: Between two questions of the probe.
_PROBE_SECONDS = 0.002

#: How long the idle server is watched, before and after the rows.
_IDLE_SECONDS = 2.0

#: What a row takes at least, so that the probe is asked often enough.
_ROW_SECONDS = 1.5

_THREADS = 'parameters { key: "intra_op_thread_count" value { string_value: "2" } }\n'

Send = Callable[[grpc.Channel, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of request; `send` sends one and waits for its answer, which may be an error."""

    name: str
    send: Send


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the probe saw, in milliseconds."""

    count: int
    p99: float
    worst: float
    #: The most processor time of the server within one question: what an otherwise idle machine would have
    #: shown, at most. Whatever else ran on the machine is in `worst` alone.
    busiest: float


# -- models ---------------------------------------------------------------------------------------


def _unbatched(datatype: str) -> str:
    tensor = f"data_type: {datatype} dims: [ -1 ]"
    return (
        f'max_batch_size: 0\ninput [ {{ name: "x" {tensor} }} ]\n'
        f'output [ {{ name: "y" {tensor} }} ]\n'
    )


_SHAPES = {
    "echo": _unbatched("TYPE_FP32"),
    "text": _unbatched("TYPE_STRING"),
    "integers": _unbatched("TYPE_INT64"),
}


def _save(folder: Path, name: str, graph: onnx.GraphProto, config: str = "") -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    (folder / name / "1").mkdir(parents=True)
    onnx.save(model, folder / name / "1" / "model.onnx")
    (folder / name / "config.pbtxt").write_text(f'backend: "onnxruntime"\n{config}')


def _values(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))


def make_models(folder: Path) -> None:
    """Write the repository."""
    kinds = {
        "echo": TensorProto.FLOAT, "text": TensorProto.STRING, "integers": TensorProto.INT64,
    }  # fmt: skip
    for name, kind in kinds.items():
        node = helper.make_node("Identity", ["x"], ["y"])
        ends = [_values(end, kind, "n") for end in "xy"]
        _save(folder, name, helper.make_graph([node], name, ends[:1], ends[1:]), _SHAPES[name])
    # A row's run takes a time that its length decides: 24 sines an element.
    names = ["x", *(f"h{index}" for index in range(23)), "y"]
    nodes = [
        helper.make_node("Sin", [before], [after]) for before, after in itertools.pairwise(names)
    ]
    ends = [_values(end, TensorProto.FLOAT, "rows", "n") for end in "xy"]
    _save(
        folder,
        "variable",
        helper.make_graph(nodes, "variable", ends[:1], ends[1:]),
        "max_batch_size: 8\n",
    )
    _save(folder, "loop", _loop())
    _save(folder, "lstm", _lstm(), "max_batch_size: 8\n")
    # Two models that want every thread: a run of one takes long, of the other next to nothing.
    for name, size, layers in (("long", 1024, 48), ("brief", 16, 1)):
        weights = numpy_helper.from_array(np.eye(size, dtype=np.float32), "w")
        names = ["x", *(f"h{index}" for index in range(layers - 1)), "y"]
        nodes = [
            helper.make_node("MatMul", [before, "w"], [after])
            for before, after in itertools.pairwise(names)
        ]
        ends = [_values(end, TensorProto.FLOAT, "n", size) for end in "xy"]
        graph = helper.make_graph(nodes, name, ends[:1], ends[1:], [weights])
        _save(folder, name, graph, _THREADS)


def _loop() -> onnx.GraphProto:
    """Count to n, which is data: as slow as asked for."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["c"], ["d"]),
            helper.make_node("Add", ["t", "one"], ["u"]),
        ],
        "body",
        [
            _values("i", TensorProto.INT64),
            _values("c", TensorProto.BOOL),
            _values("t", TensorProto.INT64, 1),
        ],
        [_values("d", TensorProto.BOOL), _values("u", TensorProto.INT64, 1)],
        [numpy_helper.from_array(np.ones(1, np.int64), "one")],
    )
    nodes = [
        helper.make_node("Squeeze", ["x"], ["trips"]),
        helper.make_node("Loop", ["trips", "", "zero"], ["y"], body=body),
    ]
    ends = [_values(end, TensorProto.INT64, 1) for end in "xy"]
    zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
    return helper.make_graph(nodes, "loop", ends[:1], ends[1:], [zero])


def _lstm(units: int = 32) -> onnx.GraphProto:
    """A layer over sequences of any length, one number a step."""
    weights = {"w": (1, 4 * units, 1), "r": (1, 4 * units, units)}
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "w", "r"], ["", "last"], hidden_size=units),
        helper.make_node("Squeeze", ["last", "zero"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.full(shape, 0.01, np.float32), name)
        for name, shape in weights.items()
    ]
    return helper.make_graph(
        nodes,
        "lstm",
        [_values("x", TensorProto.FLOAT, "rows", "steps", 1)],
        [_values("y", TensorProto.FLOAT, "rows", units)],
        [*constants, numpy_helper.from_array(np.zeros(1, np.int64), "zero")],
    )


# -- requests -------------------------------------------------------------------------------------


def _request(
    model: str, datatype: str, shape: Sequence[int], raw: bytes | None
) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def _raw(model: str, array: np.ndarray) -> bytes:
    return _request(model, "FP32", array.shape, array.tobytes()).SerializeToString()


def _text(size: int) -> bytes:
    """Return a request of strings of two bytes, in raw form."""
    count = size // 6
    return _request("text", "BYTES", [count], b"\x02\0\0\0ab" * count).SerializeToString()


def _typed(model: str, datatype: str, field: str, values: np.ndarray) -> bytes:
    message = _request(model, datatype, values.shape, None)
    getattr(message.inputs[0].contents, field).extend(values)
    return message.SerializeToString()


def _predict(model: str, tensor: tf.TensorProto) -> bytes:
    message = tfs.PredictRequest()
    message.model_spec.name = model
    message.inputs["x"].CopyFrom(tensor)
    return message.SerializeToString()


def _shape(count: int) -> tf.TensorShapeProto:
    return tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=count)])


def _unary(message: bytes, method: str = INFER, expected: grpc.StatusCode | None = None) -> Send:
    """Return what sends a message; `expected` is the status of one that is to be refused."""

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(method)
        try:
            call(message, timeout=60)
        except grpc.RpcError as error:
            if error.code() is not expected:
                raise

    return send


def _stream(message: bytes) -> Send:
    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = opened.stream_stream(STREAM_INFER)
        for _answer in call(iter([message] * 2), timeout=60):
            pass

    return send


def _http(path: str, body: bytes, headers: dict[str, str]) -> Send:
    def send(_: grpc.Channel, port: int) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()

    return send


def _rest_echo(size: int) -> Send:
    head = (
        f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{size // 4}],"parameters":'
        f'{{"binary_data_size":{size}}}}}],"parameters":{{"binary_data_output":true}}}}'
    ).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    return _http("/v2/models/echo/infer", head + bytes(size), headers)


def _rest_json(count: int) -> Send:
    data = ",".join(["0.125"] * count)
    body = f'{{"inputs":[{{"name":"x","datatype":"FP32","shape":[{count}],"data":[{data}]}}]}}'
    return _http("/v2/models/echo/infer", body.encode(), {})


def _behind_a_long_run() -> Send:
    """A request that is known to be short, sent while another run holds every thread."""
    long = _raw("long", np.zeros((512, 1024), np.float32))
    brief = _raw("brief", np.zeros((1, 16), np.float32))

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        call(brief, timeout=60)
        first = call.future(long, timeout=60)
        time.sleep(0.05)
        others = [call.future(brief, timeout=60) for _ in range(3)]
        for future in (first, *others):
            future.result()

    return send


def _turns(count: int) -> bytes:
    raw = np.array([count], np.int64).tobytes()
    return _request("loop", "INT64", [1], raw).SerializeToString()


def _rows_then_steps() -> Send:
    """Both have as many elements; what the first took says nothing of the second."""
    many = _raw("lstm", np.zeros((8, 1_000, 1), np.float32))
    long = _raw("lstm", np.zeros((1, 8_000, 1), np.float32))

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        call(many, timeout=60)
        call(long, timeout=60)

    return send


def _cancelled() -> Send:
    """Without an end, and left by its caller; a short one, which is known, waits behind it."""
    endless, short = _turns(2**50), _turns(1)

    def send(opened: grpc.Channel, _: int) -> None:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(INFER)
        future = call.future(endless, timeout=60)
        time.sleep(0.1)
        future.cancel()
        call(short, timeout=60)

    return send


def _rest_loop(turns: int) -> Send:
    body = f'{{"inputs":[{{"name":"x","datatype":"INT64","shape":[1],"data":[{turns}]}}]}}'
    return _http("/v2/models/loop/infer", body.encode(), {})


def rows() -> list[Row]:
    """Return every row; the messages are built when a row is about to be sent."""
    floats = np.zeros
    table: list[tuple[str, Callable[[], Send]]] = [
        ("text: 8 MB of raw BYTES", lambda: _unary(_text(8 << 20))),
        ("fields: 2 MB of empty inputs", lambda: _unary(b"\x0a\x04echo" + b"\x2a\0" * (1 << 20), expected=_REFUSED)),
        (
            "fp32_contents: 32 MB",
            lambda: _unary(_typed("echo", "FP32", "fp32_contents", floats(8 << 20, np.float32))),
        ),
        ("gate: a short run behind a long one", _behind_a_long_run),
        (
            "variable: one row of 4 MB, many sines",
            lambda: _unary(_raw("variable", floats((1, 1 << 20), np.float32))),
        ),
        (
            "int64_contents: 8 MB",
            lambda: _unary(
                _typed("integers", "INT64", "int64_contents", np.full(4 << 20, 300, np.int64))
            ),
        ),
        (
            "bytes_contents: 4 MB",
            lambda: _unary(_request_text(1 << 20)),
        ),
        ("lstm: one sequence of 4 MB", lambda: _unary(_raw("lstm", floats((1, 1 << 20, 1), np.float32)))),
        ("lstm: many rows, then one long row of as many steps", _rows_then_steps),
        ("loop: its length is in the data", lambda: _unary(_turns(400_000))),
        ("loop: cancelled after 100 ms", _cancelled),
        ("REST: a loop whose length is in the data", lambda: _rest_loop(400_000)),
        ("raw: 16 MB echo", lambda: _unary(_raw("echo", floats(4 << 20, np.float32)))),
        ("raw: 64 MB echo", lambda: _unary(_raw("echo", floats(16 << 20, np.float32)))),
        ("stream: 8 MB of raw BYTES", lambda: _stream(_text(8 << 20))),
        (
            "Predict: 32 MB of float_val",
            lambda: _unary(_predict("echo", _floats(8 << 20)), PREDICT),
        ),
        ("Predict: 4 MB of string_val", lambda: _unary(_predict("text", _strings(1 << 20)), PREDICT)),
        ("REST: 16 MB echo", lambda: _rest_echo(16 << 20)),
        ("REST: 4 MB of JSON numbers", lambda: _rest_json(700_000)),
    ]  # fmt: skip
    return [Row(name=name, send=_lazily(build)) for name, build in table]


def _request_text(count: int) -> bytes:
    message = _request("text", "BYTES", [count], None)
    message.inputs[0].contents.bytes_contents.extend([b"ab"] * count)
    return message.SerializeToString()


def _floats(count: int) -> tf.TensorProto:
    values = np.zeros(count, np.float32)
    return tf.TensorProto(dtype=tf.DT_FLOAT, tensor_shape=_shape(count), float_val=values)


def _strings(count: int) -> tf.TensorProto:
    values = [b"ab"] * count
    return tf.TensorProto(dtype=tf.DT_STRING, tensor_shape=_shape(count), string_val=values)


def _lazily(build: Callable[[], Send]) -> Send:
    built: list[Send] = []

    def send(opened: grpc.Channel, port: int) -> object:
        if not built:
            built.append(build())
            return None
        return built[0](opened, port)

    return send


# -- the probe ------------------------------------------------------------------------------------


def probe(port: int, server: int) -> None:
    """Ask ServerLive until the standard input ends; write what was seen. Runs in its own process.

    `server` is the number of the server's process.
    """
    # Linux's clock of another process's processor time (clock_getcpuclockid(3)).
    clock = ~server << 3 | 2
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    took: list[float] = []
    used: list[float] = []
    with channel(port) as opened:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = opened.unary_unary(LIVE)
        call(b"", timeout=60)
        print("asking", flush=True)
        while not over.wait(_PROBE_SECONDS):
            began, used_before = time.perf_counter(), time.clock_gettime(clock)
            call(b"", timeout=60)
            took.append(time.perf_counter() - began)
            used.append(min(took[-1], time.clock_gettime(clock) - used_before))
    print(len(took), *(1e3 * value for value in (np.quantile(took, 0.99), max(took), max(used))))


def _watched(server: ServerProcess, port: int, work: Callable[[], None]) -> Seen:
    command = [sys.executable, "-m", "bench.stall", "--probe", str(port), str(server.pid)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        try:
            work()
        finally:
            process.stdin.close()
        count, p99, worst, busiest = process.stdout.read().split()
    return Seen(count=int(count), p99=float(p99), worst=float(worst), busiest=float(busiest))


def _measure(row: Row, server: ServerProcess, grpc_port: int, http_port: int) -> tuple[Seen, int]:
    sent = 0

    def work() -> None:
        nonlocal sent
        began = time.perf_counter()
        while not sent or time.perf_counter() - began < _ROW_SECONDS:
            row.send(opened, http_port)
            sent += 1

    with channel(grpc_port) as opened:
        row.send(opened, http_port)  # builds the message
        return _watched(server, grpc_port, work), sent


# -- the run --------------------------------------------------------------------------------------


def _start(command: str, folder: Path) -> tuple[ServerProcess, int, int]:
    log = folder / "server.log"
    arguments = [
        "serve", str(folder / "models"), "--grpc-port", "0", "--http-port", "0",
        "--metrics-port", "0",
    ]  # fmt: skip
    server = ServerProcess([command, *arguments], "0-1023", {}, log)
    try:
        server.wait_until(lambda: _READY.search(log.read_text()) is not None, 60)
    except TimeoutError:
        server.stop()
        raise SystemExit(f"the server does not start: {server.log_tail()}") from None
    ports = _READY.search(log.read_text())
    assert ports is not None
    return server, int(ports[1]), int(ports[2])


def main() -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.stall", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    parser.add_argument(
        "--command",
        default=str(Path(sys.executable).with_name("zoo")),
        metavar="FILE",
        help="the zoo command whose server is measured (default: this environment's)",
    )
    parser.add_argument("--probe", type=int, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.probe:
        probe(*chosen.probe)
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-") as work:
        make_models(Path(work) / "models")
        server, grpc_port, http_port = _start(chosen.command, Path(work))
        try:
            _print("idle, before", _idle(server, grpc_port), 0)
            for row in rows():
                if re.search(chosen.only, row.name):
                    _print(row.name, *_measure(row, server, grpc_port, http_port))
            _print("idle, after", _idle(server, grpc_port), 0)
        finally:
            server.stop()
    return 0


def _idle(server: ServerProcess, port: int) -> Seen:
    return _watched(server, port, lambda: time.sleep(_IDLE_SECONDS))


def _print(name: str, seen: Seen, sent: int) -> None:
    print(
        f"{name:40s} {sent:3d} sent {seen.count:5d} probes  p99 {seen.p99:8.1f}  "
        f"max {seen.worst:8.1f}  max of the server's {seen.busiest:8.1f} ms",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
