"""A repository in an object store against one on disk: python -m bench.object_store.

    python -m bench.object_store                    minutes; writes bench/results/object_store.json
    python -m bench.object_store --models 10 --megabytes 0

The store is moto's server, in a process of its own on this machine. A start is timed from the command to the
line that says ready: from a folder, from the store with an empty cache, and with the cache that this leaves, in
turn. A look is what poll mode does at each interval if nothing has changed.
"""

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bench.many_models import write_models
from bench.process import stop_servers_on_sigterm
from zoo.publish.transfer import RemoteTarget
from zoo_server.repository.remote.address import RemoteAddress
from zoo_server.repository.remote.repository import RemoteRepository
from zoo_server.repository.scan import ModelRepository

RESULTS = Path(__file__).parent / "results" / "object_store.json"

#: Rounds of starts, and looks that are timed.
_ROUNDS, _LOOKS = 3, 20


def main() -> None:
    """Measure, print and write the figures."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=100, metavar="N", help="tiny models")
    parser.add_argument("--megabytes", type=int, default=64, metavar="N", help="of one model more")
    options = parser.parse_args()
    os.environ.update(
        AWS_ACCESS_KEY_ID="key", AWS_SECRET_ACCESS_KEY="secret", AWS_DEFAULT_REGION="us-east-1"
    )
    with tempfile.TemporaryDirectory(prefix="zoo-object-store-") as place, _store() as url:
        local = Path(place, "models")
        write_models(local, options.models)
        if options.megabytes:
            _write_large(local / "large" / "1", options.megabytes)
        target = RemoteTarget(url)
        for folder in sorted(local.iterdir()):
            target.push(local, folder.name)
        figures = {
            "models": options.models,
            "megabytes": options.megabytes,
            "start": _starts(local, url, Path(place)),
            "look": _looks(local, url, Path(place, "none")),
        }
    print(json.dumps(figures, indent=2))
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _store() -> Iterator[str]:
    """Run the store; yield the URL of an empty repository in it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        bucket = urllib.request.Request(f"http://127.0.0.1:{port}/bench", method="PUT")
        while True:
            with suppress(OSError):
                urllib.request.urlopen(bucket).close()
                break
            time.sleep(0.1)
        yield f"s3://127.0.0.1:{port}/bench/models"
    finally:
        process.terminate()
        process.wait()


def _write_large(folder: Path, megabytes: int) -> None:
    weights = np.zeros((megabytes * 1024 * 256 // 4, 4), np.float32)
    value = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in (("x", weights.shape[0]), ("y", 4))
    ]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph(
        [node], "large", value[:1], value[1:], [numpy_helper.from_array(weights, "w")]
    )
    folder.mkdir(parents=True)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")


def _starts(local: Path, url: str, place: Path) -> dict[str, Any]:
    seconds: dict[str, list[float]] = {"folder": [], "store": [], "store, cached": []}
    for number in range(_ROUNDS):
        cache = ["--repository-cache", str(place / f"cache{number}")]
        seconds["folder"].append(_start([str(local)]))
        seconds["store"].append(_start([url, *cache]))
        seconds["store, cached"].append(_start([url, *cache]))
    return {
        name: {"seconds": round(median(each), 2), "all": each} for name, each in seconds.items()
    }


def _start(arguments: Sequence[str]) -> float:
    ports = ["--grpc-port", "0", "--http-port", "off", "--metrics-port", "off"]
    command = [sys.executable, "-m", "zoo.cli", "serve", *arguments, *ports]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--startup-wait", "600"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        ready = next(line for line in process.stderr if "ready: " in line)
        assert re.search(r" 0 unavailable", ready), ready
        return round(time.perf_counter() - began, 2)
    finally:
        process.terminate()
        process.communicate()


def _looks(local: Path, url: str, cache: Path) -> dict[str, Any]:
    """Return the time and the processor time of a look, of this process."""
    figures = {}
    remote = RemoteRepository(RemoteAddress.parse(url), cache, 1 << 30)
    for name, repository in (("folder", ModelRepository(local)), ("store", remote)):
        repository.scan()
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(_LOOKS):
            repository.scan()
        figures[name] = {
            "ms": round((time.perf_counter() - began) / _LOOKS * 1e3, 2),
            "cpu_ms": round((time.process_time() - cpu) / _LOOKS * 1e3, 2),
        }
    return figures


if __name__ == "__main__":
    main()
