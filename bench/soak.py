"""Resident memory over many requests of mixed shape and wire.

    python -m bench.soak                                ten million requests, about half an hour
    python -m bench.soak --requests 200000              to see that everything works

programs/openloop.c sends gRPC calls and ab (Debian: apache2-utils) HTTP requests, one kind after the other,
in rounds: batches of one to sixteen rows, vectors of any length, streams, TensorFlow Serving's Predict, REST in JSON
and binary, and requests that are refused. After each round the server rests, and its resident memory is read.
What is to be flat is that memory from the tenth part of the requests on.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from bench import graphs, messages
from bench.goodput import generator
from bench.load import LoadError, split_cores
from bench.process import ServerProcess, stop_servers_on_sigterm
from bench.repository import IDENTITY, TINY, configuration
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs

_PREDICT = "/tensorflow.serving.PredictionService/Predict"

_CONNECTIONS, _IN_FLIGHT, _DEADLINE_MS = 8, 128, 60_000

#: The messages of one stream.
_OF_A_STREAM = 100

#: Until memory is read: what a burst took is given back after ten seconds without calls.
_REST_SECONDS = 12.0

#: The part of the requests after which memory is to be flat.
_SETTLED = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of request."""

    #: A gRPC method, or a path of the HTTP port.
    path: str
    body: bytes
    #: Of each call.
    requests: int = 1
    #: Headers for ab; empty for gRPC.
    headers: tuple[str, ...] = ()


def _of_grpc(random: np.random.Generator) -> Iterator[Kind]:
    for rows in (1, int(random.integers(2, 17))):
        array = random.random((rows, *TINY.input[1]), np.float32)
        infer = messages.request(TINY.name, TINY.input[0], array)
        yield Kind(path=messages.INFER, body=messages.frame([infer]))
    stream = messages.frame([infer] * _OF_A_STREAM)
    yield Kind(path=messages.STREAM_INFER, body=stream, requests=_OF_A_STREAM)
    predict = tfs.PredictRequest(model_spec=tfs.ModelSpec(name=TINY.name))
    sizes = [tf.TensorShapeProto.Dim(size=size) for size in array.shape]
    tensor = tf.TensorProto(dtype=tf.DT_FLOAT, tensor_shape=tf.TensorShapeProto(dim=sizes))
    tensor.tensor_content = array.tobytes()
    predict.inputs[TINY.input[0]].CopyFrom(tensor)
    yield Kind(path=_PREDICT, body=messages.frame([predict.SerializeToString()]))
    for _ in range(2):
        vector = random.random(int(10 ** random.uniform(0, 4.5)), np.float32)
        infer = messages.request(IDENTITY.name, IDENTITY.input[0], vector)
        yield Kind(path=messages.INFER, body=messages.frame([infer]))
    unknown = messages.request(f"none{random.integers(1000)}", "x", vector[:1])
    yield Kind(path=messages.INFER, body=messages.frame([unknown]))


def _of_http(random: np.random.Generator) -> Iterator[Kind]:
    array = random.random((int(random.integers(1, 5)), *TINY.input[1]), np.float32)
    tensor = {"name": TINY.input[0], "datatype": "FP32", "shape": array.shape}
    infer = f"/v2/models/{TINY.name}/infer"
    text = json.dumps({"inputs": [{**tensor, "data": array.ravel().tolist()}]}).encode()
    yield Kind(path=infer, body=text, headers=("Content-Type: application/json",))
    head = json.dumps(
        {"inputs": [{**tensor, "parameters": {"binary_data_size": array.nbytes}}]}
    ).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    yield Kind(path=infer, body=head + array.tobytes(), headers=(length,))
    rows = json.dumps({"instances": array.tolist()}).encode()
    yield Kind(path=f"/v1/models/{TINY.name}:predict", body=rows, headers=("Accept: */*",))


class Driver:
    """Sends one kind of requests after the other to one server."""

    def __init__(self, program: Path, ports: tuple[int, int], core: int, body: Path) -> None:
        self._program = program
        self._grpc, self._http = ports
        self._core = core
        self._body = body

    def send(self, kind: Kind, seconds: float) -> int:
        """Send requests for so long; return how many were answered or refused."""
        self._body.write_bytes(kind.body)
        return kind.requests * (
            self._over_http(kind, seconds) if kind.headers else self._over_grpc(kind, seconds)
        )

    def _over_grpc(self, kind: Kind, seconds: float) -> int:
        command = [
            str(self._program), str(self._grpc), kind.path, str(self._body), str(_CONNECTIONS),
            str(_DEADLINE_MS), "0", str(_IN_FLIGHT), "0", f"{seconds:g}",
        ]  # fmt: skip
        return sum(json.loads(self._run(command))["statuses"].values())

    def _over_http(self, kind: Kind, seconds: float) -> int:
        headers = [part for header in kind.headers for part in ("-H", header)]
        command = [
            "ab", "-k", "-q", "-l", "-c", str(_CONNECTIONS), "-t", f"{max(1, round(seconds))}",
            "-n", "100000000", *headers, "-p", str(self._body),
            f"http://127.0.0.1:{self._http}{kind.path}",
        ]  # fmt: skip
        output = self._run(command)
        match = re.search(r"Complete requests:\s+(\d+)", output)
        if match is None or "Non-2xx" in output:
            raise LoadError(f"ab: not all of {kind.path} was answered: {output[-300:]}")
        return int(match[1])

    def _run(self, command: list[str]) -> str:
        done = subprocess.run(
            ["taskset", "-c", str(self._core), *command],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if done.returncode:
            raise LoadError(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-200:]}")
        return done.stdout


@contextmanager
def _serving(folder: Path, core: int) -> Iterator[tuple[ServerProcess, tuple[int, int]]]:
    for model, graph in {TINY: graphs.tiny(), IDENTITY: graphs.identity()}.items():
        path = folder / "models" / model.name / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        onnx.save(graph, path)
        (folder / "models" / model.name / "config.pbtxt").write_text(configuration(model))
    command = [
        str(Path(sys.executable).with_name("zoo")), "serve", str(folder / "models"),
        "--grpc-port", "0", "--http-port", "0", "--metrics-port", "off", "--threads", "1",
        "--site", "off",
    ]  # fmt: skip
    server = ServerProcess(command, core, {}, folder / "server.log")
    try:
        yield server, server.ports()
    finally:
        server.stop()


def soak(driver: Driver, server: ServerProcess, most: int, seconds: float, minutes: float) -> None:
    """Send rounds until there were so many requests, or minutes; print a row of the table for each."""
    random = np.random.default_rng(0)
    sent, began = 0, time.monotonic()
    rows: list[tuple[int, float]] = []
    while sent < most and time.monotonic() - began < 60 * minutes:
        for kind in _of_grpc(random):
            sent += driver.send(kind, seconds)
        for kind in _of_http(random):
            sent += driver.send(kind, seconds / 2)
        time.sleep(_REST_SECONDS)
        memory = server.resident_mb()
        rows.append((sent, memory))
        print(f"| {sent:,} | {time.monotonic() - began:,.0f} | {memory:.1f} |", flush=True)
    settled = [memory for count, memory in rows if count >= _SETTLED * sent]
    print(
        f"\nFrom {_SETTLED:.0%} on: {min(settled):.1f} to {max(settled):.1f} MB, "
        f"{max(settled) / min(settled) - 1:.1%}; first {settled[0]:.1f}, last {settled[-1]:.1f}."
    )


def main() -> int:
    """Measure; return the exit status."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000_000, metavar="N")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="S", help="of each kind")
    parser.add_argument("--minutes", type=float, default=120.0, metavar="M", help="at the most")
    chosen = parser.parse_args()
    if shutil.which("ab") is None:
        print("there is no ab: apt-get install apache2-utils", file=sys.stderr)
        return 1
    try:
        program = generator()
        server_core, load_core = split_cores()
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            os.sched_setaffinity(0, {load_core})
            with _serving(Path(work), server_core) as (server, ports):
                print("| requests | seconds | resident MB |\n| ---: | ---: | ---: |")
                driver = Driver(program, ports, load_core, Path(work) / "body")
                soak(driver, server, chosen.requests, chosen.seconds, chosen.minutes)
    except (LoadError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
