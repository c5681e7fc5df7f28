"""One server in front of ten thousand models that are loaded on request: python -m bench.many_models.

    python -m bench.many_models                     about a minute; writes bench/results/many_models.json
    python -m bench.many_models --models 1000

It measures the start, the resident memory, a page of metrics, RepositoryIndex over gRPC and HTTP, the
first request of a model and the next one, and what it all takes once a hundred models are in memory. The
models are one tiny graph, made here.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np
import onnx
from onnx import TensorProto, helper

from bench.process import stop_servers_on_sigterm
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto.grpc_service_pb2_grpc import GRPCInferenceServiceStub

RESULTS = Path(__file__).parent / "results" / "many_models.json"

#: How many are asked for, one after the other.
_LOADED_MODELS = 100

_PORTS = re.compile(r"ready: gRPC on (\S+), HTTP on (\S+), metrics on ([^\s,]+),")


def main() -> None:
    """Measure, print and write the figures."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=10_000, metavar="N")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zoo-many-models-") as place:
        write_models(Path(place), options.models)
        figures = {"models": options.models, **_measure(Path(place))}
    print(json.dumps(figures, indent=2))
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def write_models(place: Path, count: int) -> None:
    """Write a repository of so many models, one tiny graph each."""
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 4]) for name in ("x", "y")
    ]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "tiny", value[:1], value[1:]
    )
    opset = [helper.make_opsetid("", 17)]
    content = helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    onnx.checker.check_model(content)
    for number in range(count):
        folder = place / f"model_{number:05}" / "1"
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(content)


def _measure(repository: Path) -> dict[str, Any]:
    ports = ["--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
    command = [sys.executable, "-m", "zoo.cli", "serve", str(repository), *ports]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--model-memory", str(1 << 30)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        lines = iter(process.stderr)
        ready = next(match for line in lines if (match := _PORTS.search(line)))
        start = time.perf_counter() - began
        channel = grpc.insecure_channel(ready[1], options=[("grpc.max_receive_message_length", -1)])
        with channel:
            return {
                "start_seconds": round(start, 3),
                **_ask(process.pid, GRPCInferenceServiceStub(channel), ready[2], ready[3]),
            }
    finally:
        process.terminate()
        process.communicate()


def _ask(pid: int, stub: Any, http: str, metrics: str) -> dict[str, Any]:
    def index() -> None:
        stub.RepositoryIndex(pb.RepositoryIndexRequest())

    def pages() -> dict[str, float]:
        body = urllib.request.Request(f"http://{http}/v2/repository/index", data=b"", method="POST")
        return {
            "resident_mb": round(_resident(pid) / 1e6, 1),
            "metrics_ms": _milliseconds(
                lambda: urllib.request.urlopen(f"http://{metrics}/metrics").read()
            ),
            "index_grpc_ms": _milliseconds(index),
            "index_http_ms": _milliseconds(lambda: urllib.request.urlopen(body).read()),
            "ready_ms": _milliseconds(lambda: stub.ServerReady(pb.ServerReadyRequest())),
        }

    before = pages()
    first, second = [], []
    for number in range(_LOADED_MODELS):
        request = pb.ModelInferRequest(model_name=f"model_{number:05}")
        request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
        request.raw_input_contents.append(np.zeros(4, np.float32).tobytes())
        first.append(_once(partial(stub.ModelInfer, request)))
        second.append(_once(partial(stub.ModelInfer, request)))
    return {
        "at_the_start": before,
        "first_request_ms": round(median(first) * 1e3, 2),
        "next_request_ms": round(median(second) * 1e3, 2),
        f"with_{_LOADED_MODELS}_in_memory": pages(),
    }


def _milliseconds(call: Callable[[], object]) -> float:
    """Return the median of five calls, after one."""
    call()
    return round(median(_once(call) for _ in range(5)) * 1e3, 2)


def _once(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
