"""Tiny ONNX graphs, repositories made of them, and a real server in this process or its own."""

import http.client
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import grpc_service_pb2_grpc
from zoo_server.backends.onnxruntime.session import Runtime
from zoo_server.config import TRANSPORTS, ServerConfig
from zoo_server.datatypes import DATA_TYPES
from zoo_server.models.loader import OpenerFactory
from zoo_server.server import Server, running

SIMPLE_CONFIG = """
platform: "onnxruntime_onnx"
max_batch_size: 8
input [{ name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
       { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }]
output [{ name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
        { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }]
"""


class Graphs:
    """Builders of tiny models: opset 17, IR 8."""

    def model(self, nodes: list, inputs: list, outputs: list, initializers: tuple = ()) -> bytes:
        graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializer=list(initializers))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        return model.SerializeToString()

    def value(self, name: str, kind: int, shape: list) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def identity(self, kind: int = TensorProto.FLOAT, shape: tuple = ("batch", 4)) -> bytes:
        """x -> y, unchanged."""
        return self.model(
            [helper.make_node("Identity", ["x"], ["y"])],
            [self.value("x", kind, list(shape))],
            [self.value("y", kind, list(shape))],
        )

    def simple(self, first: object = "batch") -> bytes:
        """INPUT0, INPUT1 -> their sum and difference: Triton's example model."""
        shape = [first, 16]
        kind = TensorProto.INT32
        return self.model(
            [
                helper.make_node("Add", ["INPUT0", "INPUT1"], ["OUTPUT0"]),
                helper.make_node("Sub", ["INPUT0", "INPUT1"], ["OUTPUT1"]),
            ],
            [self.value("INPUT0", kind, shape), self.value("INPUT1", kind, shape)],
            [self.value("OUTPUT0", kind, shape), self.value("OUTPUT1", kind, shape)],
        )

    def with_default(self) -> bytes:
        """y = x + bias, where the graph holds a default for the input bias."""
        bias = numpy_helper.from_array(np.full((1, 4), 10, np.float32), "bias")
        return self.model(
            [helper.make_node("Add", ["x", "bias"], ["y"])],
            [
                self.value("x", TensorProto.FLOAT, ["batch", 4]),
                self.value("bias", TensorProto.FLOAT, ["rows", 4]),
            ],
            [self.value("y", TensorProto.FLOAT, ["batch", 4])],
            (bias,),
        )

    def sums(self) -> bytes:
        """y = x + before, after = y: with its state kept, a running sum."""
        rows = ["batch", 1]
        return self.model(
            [
                helper.make_node("Add", ["x", "before"], ["after"]),
                helper.make_node("Identity", ["after"], ["y"]),
            ],
            [self.value(name, TensorProto.FLOAT, rows) for name in ("x", "before")],
            [self.value(name, TensorProto.FLOAT, rows) for name in ("y", "after")],
        )

    def fails_when_run(self) -> bytes:
        """Gather from 3 elements by the index given: a bad index fails inside the run."""
        table = numpy_helper.from_array(np.arange(3, dtype=np.float32), "table")
        return self.model(
            [helper.make_node("Gather", ["table", "x"], ["y"])],
            [self.value("x", TensorProto.INT64, ["batch", 1])],
            [self.value("y", TensorProto.FLOAT, ["batch", 1])],
            (table,),
        )

    def which_are_set(self) -> bytes:
        """x -> where it is not 0: the data decides the shape of the answer."""
        return self.model(
            [helper.make_node("NonZero", ["x"], ["y"])],
            [self.value("x", TensorProto.BOOL, ["n"])],
            [self.value("y", TensorProto.INT64, [1, "found"])],
        )

    def slow(self) -> bytes:
        """Count to n in a loop: as slow as asked for."""
        one = numpy_helper.from_array(np.ones(1, np.int64), "one")
        body = helper.make_graph(
            [
                helper.make_node("Identity", ["cond"], ["cond_out"]),
                helper.make_node("Add", ["total", "one"], ["total_out"]),
            ],
            "body",
            [
                self.value("i", TensorProto.INT64, []),
                self.value("cond", TensorProto.BOOL, []),
                self.value("total", TensorProto.INT64, [1]),
            ],
            [
                self.value("cond_out", TensorProto.BOOL, []),
                self.value("total_out", TensorProto.INT64, [1]),
            ],
            initializer=[one],
        )
        zero = numpy_helper.from_array(np.zeros(1, np.int64), "zero")
        return self.model(
            [
                helper.make_node("Squeeze", ["n"], ["trips"]),
                helper.make_node("Loop", ["trips", "", "zero"], ["y"], body=body),
            ],
            [self.value("n", TensorProto.INT64, [1])],
            [self.value("y", TensorProto.INT64, [1])],
            (zero,),
        )


class Repository:
    """A model repository under construction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def add(
        self, name: str, model: bytes | None, config: str | None = None, version: int = 1
    ) -> Path:
        """Write NAME/VERSION/model.onnx and config.pbtxt; None writes neither."""
        folder = self.path / name / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        if model is not None:
            (folder / "model.onnx").write_bytes(model)
        if config is not None:
            (self.path / name / "config.pbtxt").write_text(config)
        return self.path / name


class Wire:
    """A running server, and a channel with stubs to it."""

    def __init__(self, server: Server, channel: grpc.Channel) -> None:
        self.server = server
        self.address = server.grpc_address
        self.channel = channel
        self.stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def infer(self, model: str, version: str = "", **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """Ask with raw contents; return numeric outputs by name."""
        request = infer_request(model, version, **arrays)
        answer = self.stub.ModelInfer(request)
        dtypes = {row.wire: row.numpy for row in DATA_TYPES}
        return {
            tensor.name: np.frombuffer(raw, dtypes[tensor.datatype]).reshape(tuple(tensor.shape))
            for tensor, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
        }


def infer_request(model: str, version: str = "", **arrays: np.ndarray) -> pb.ModelInferRequest:
    """Build a request with raw contents from numeric arrays."""
    wire = {row.numpy: row.wire for row in reversed(DATA_TYPES) if row.wire != "BF16"}
    request = pb.ModelInferRequest(model_name=model, model_version=version)
    for name, array in arrays.items():
        request.inputs.add(name=name, datatype=wire[array.dtype], shape=array.shape)
        request.raw_input_contents.append(array.tobytes())
    return request


@contextmanager
def _serve(path: Path, opener: OpenerFactory = Runtime, **options: Any) -> Iterator[Wire]:
    # HTTP where a test asks for it: its ports would cost each of the others a tenth of a second.
    defaults = {"grpc_port": 0, "http_port": None, "metrics_port": None, "drain_seconds": 2.0}
    config = ServerConfig(repository=path, **{**defaults, **options})
    with running(config, opener) as server, grpc.insecure_channel(server.grpc_address) as channel:
        yield Wire(server, channel)


class ServerProcess:
    """A server in its own process, with its log."""

    def __init__(self, arguments: list[str], first: str = "") -> None:
        """`first` is a program of its own, run before the server's."""
        program = first + (
            "\nimport argparse, sys; from zoo_server.main import serve; from zoo_server.config import *;"
            "parser = argparse.ArgumentParser(); parser.add_argument('repository');"
            "add_arguments(parser);"
            "sys.exit(serve(ServerConfig.from_arguments(parser.parse_args())))"
        )
        ports = ["--http-port", "off", "--metrics-port", "off"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *ports, *arguments],
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._queue.put(line)
        self._queue.put(None)

    def wait_for(self, pattern: str, seconds: float = 20) -> re.Match[str]:
        """Read the log until a line matches; fail with the log if it ends before."""
        while True:
            line = self._queue.get(timeout=seconds)
            if line is None:
                pytest.fail("the server ended:\n" + "".join(self.lines))
            self.lines.append(line)
            if match := re.search(pattern, line):
                return match

    def address(self) -> str:
        return self.wait_for(r"ready: gRPC on (\S+),").group(1)

    def workers(self) -> list[int]:
        """Return the process ids of its workers, the oldest first."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self, seconds: float = 20) -> tuple[int, str]:
        """Wait for the end; return exit status and the whole log."""
        status = self.process.wait(seconds)
        self._reader.join()
        while (line := self._queue.get_nowait()) is not None:
            self.lines.append(line)
        return status, "".join(self.lines)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="session")
def graphs() -> Graphs:
    """Builders of tiny models."""
    return Graphs()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty model repository."""
    return Repository(tmp_path / "models")


@pytest.fixture(scope="session", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each way of serving gRPC: every test that touches the wire runs over both."""
    return str(request.param)


@pytest.fixture(scope="session")
def serve(transport: str) -> Callable[..., AbstractContextManager[Wire]]:
    """Serve a repository in this process: `with serve(path, provider="cpu") as wire:`."""
    return partial(_serve, transport=transport)


@pytest.fixture
def server_process(transport: str) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers in their own processes; all are ended with the test."""
    with ExitStack() as stack:

        def start(*arguments: object, first: str = "") -> ServerProcess:
            process = ServerProcess(
                [str(argument) for argument in (*arguments, "--transport", transport)], first
            )
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def two(
    repository: Repository, graphs: Graphs, server_process: Callable[..., ServerProcess]
) -> Callable[..., ServerProcess]:
    """Start two workers that serve `m`, on a free port, with what else a test wants."""
    repository.add("m", graphs.identity())

    def start(*options: object) -> ServerProcess:
        return server_process(repository.path, "--grpc-port", "0", "--workers", "2", *options)

    return start


@pytest.fixture(scope="session")
def connected() -> Callable[..., AbstractContextManager[list[grpc.Channel]]]:
    """Open connections of their own: `with connected(address) as channels:`.

    All of sixteen go to one of two workers once in 32768 times.
    """
    return _connected


@contextmanager
def _connected(
    address: str, count: int = 16, credentials: grpc.ChannelCredentials | None = None
) -> Iterator[list[grpc.Channel]]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with ExitStack() as stack:
        channels = [
            stack.enter_context(
                grpc.insecure_channel(address, options)
                if credentials is None
                else grpc.secure_channel(address, credentials, options)
            )
            for _ in range(count)
        ]
        for channel in channels:
            grpc.channel_ready_future(channel).result(timeout=10)
        yield channels


@pytest.fixture(scope="session")
def make_request() -> Callable[..., pb.ModelInferRequest]:
    """Build a request with raw contents from numeric arrays."""
    return infer_request


def every_kind(path: Path, graphs: Graphs) -> Repository:
    """Return a repository of an identity a datatype, and some special models."""
    repository = Repository(path)
    for row in DATA_TYPES:
        if row.wire != "BF16":
            repository.add(f"identity_{row.wire.lower()}", graphs.identity(row.onnx_enum))
    repository.add("simple", graphs.simple(), SIMPLE_CONFIG)
    repository.add("fixed", graphs.identity(shape=(2, 3)))
    repository.add("scalar", graphs.identity(shape=()))
    repository.add("variable", graphs.identity(shape=("batch", "length")))
    repository.add("unbatched", graphs.identity(shape=("n", "m")), "max_batch_size: 0")
    repository.add("fails", graphs.fails_when_run())
    repository.add(
        "optional",
        graphs.with_default(),
        'max_batch_size: 4 input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] },'
        ' { name: "bias" data_type: TYPE_FP32 dims: [ 4 ] optional: true }]',
    )
    repository.add(
        "reshaped",
        graphs.identity(shape=("batch", 2, "k")),
        'max_batch_size: 4 input [{ name: "x" data_type: TYPE_FP32 dims: [ 1, 2, -1 ]'
        ' reshape { shape: [ 2, -1 ] } }] output [{ name: "y" data_type: TYPE_FP32'
        " dims: [ 2, -1, 1 ] reshape { shape: [ 2, -1 ] } }]",
    )
    folder = repository.add(
        "classes",
        graphs.identity(),
        'max_batch_size: 4 output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ]'
        ' label_filename: "labels.txt" }]',
    )
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    for version in (1, 2, 3):
        repository.add("versions", graphs.identity(), "version_policy { all {} }", version)
    return repository


@pytest.fixture(scope="session")
def wire(
    tmp_path_factory: pytest.TempPathFactory, graphs: Graphs, transport: str
) -> Iterator[Wire]:
    """One server for all tests that only ask: an identity a datatype, and some special models."""
    repository = every_kind(tmp_path_factory.mktemp("wire") / "models", graphs)
    with _serve(repository.path, transport=transport) as served:
        yield served


@dataclass(frozen=True)
class HttpAnswer:
    """What came back; `json` of an empty or binary body fails."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        assert set(self.json) == {"error"}
        return self.json["error"]


class HttpCaller:
    """Asks over HTTP, one connection at a time."""

    def __init__(self, address: str, timeout: float = 30) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=timeout)

    def ask(
        self, method: str, path: str, body: bytes | list[bytes] | None = None, **headers: str
    ) -> HttpAnswer:
        """Ask; header names with _ for -; a body in pieces is sent in chunks."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request(method, path, body, named)
        answer = self._connection.getresponse()
        return HttpAnswer(answer.status, answer.headers, answer.read())

    def get(self, path: str, **headers: str) -> HttpAnswer:
        return self.ask("GET", path, **headers)

    def close(self) -> None:
        self._connection.close()


class Rest(HttpCaller):
    """A running server in this process."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.http_address)
        self.server = server

    def infer(self, model: str, request: object, data: bytes = b"", **headers: str) -> HttpAnswer:
        """Ask with a JSON header, and bytes behind it if there are any."""
        header = json.dumps(request).encode()
        if data:
            headers["Inference_Header_Content_Length"] = str(len(header))
        return self.ask("POST", f"/v2/models/{model}/infer", header + data, **headers)

    def metrics(self) -> str:
        """Return the page of metrics."""
        connection = http.client.HTTPConnection(self.server.metrics_address, timeout=30)
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        assert answer.status == 200
        page = answer.read().decode()
        connection.close()
        return page


@contextmanager
def _serve_rest(path: Path, **options: Any) -> Iterator[Rest]:
    options = {"grpc_port": 0, "http_port": 0, "metrics_port": 0, "drain_seconds": 2.0, **options}
    with running(ServerConfig(repository=path, **options)) as server:
        rest = Rest(server)
        try:
            yield rest
        finally:
            rest.close()


@pytest.fixture(scope="session")
def serve_rest() -> Callable[..., AbstractContextManager[Rest]]:
    """Serve a repository with HTTP and metrics: `with serve_rest(path) as rest:`."""
    return _serve_rest


@pytest.fixture(scope="session")
def rest(tmp_path_factory: pytest.TempPathFactory, graphs: Graphs) -> Iterator[Rest]:
    """One server for all tests that only ask over HTTP."""
    repository = every_kind(tmp_path_factory.mktemp("rest") / "models", graphs)
    repository.add("slow", graphs.slow())
    with _serve_rest(repository.path) as served:
        yield served


class RestProcess(HttpCaller):
    """A server in its own process, asked over HTTP; what it holds is its own, not the tests'."""

    def __init__(self, *arguments: str) -> None:
        self.process = ServerProcess([*arguments, "--grpc-port", "0", "--http-port", "0"])
        self.address = self.process.wait_for(r"ready: .*HTTP on ([^\s,]+)").group(1)
        self._status = Path(f"/proc/{self.process.process.pid}/status")
        super().__init__(self.address, timeout=10)

    def _kb(self, name: str) -> int:
        match = re.search(rf"^{name}:\s+(\d+) kB", self._status.read_text(), re.MULTILINE)
        assert match is not None
        return int(match.group(1))

    def rise_kb(self, work: Callable[[], object]) -> int:
        """Return by how much the server's memory rose at most while it did some work."""
        self._status.with_name("clear_refs").write_text("5")  # the peak is that of from now on
        before = self._kb("VmRSS")
        work()
        return self._kb("VmHWM") - before

    def growth_kb(self, work: Callable[[], object]) -> int:
        """Return how much more memory the server holds after some work than before."""
        before = self._kb("VmRSS")
        work()
        return self._kb("VmRSS") - before

    def close(self) -> None:
        super().close()
        self.process.close()


@pytest.fixture(scope="session")
def start_rest_process(
    tmp_path_factory: pytest.TempPathFactory, graphs: Graphs
) -> Iterator[Callable[[], RestProcess]]:
    """Start servers in their own processes, open to everything that REST offers."""
    repository = every_kind(tmp_path_factory.mktemp("rest") / "models", graphs)
    repository.add("spare", graphs.identity())
    arguments = (str(repository.path), "--model-control-mode", "explicit", "--load-model", "*")
    with ExitStack() as stack:

        def start() -> RestProcess:
            process = RestProcess(*arguments, "--allow-shared-memory")
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture(scope="session")
def rest_process(start_rest_process: Callable[[], RestProcess]) -> RestProcess:
    """One such server for all tests that only ask."""
    return start_rest_process()
