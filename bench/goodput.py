"""Answers in time under overload: three models, with and without batching, at 1, 3 and 10 times the peak.

    python -m bench.goodput                             about eight minutes
    python -m bench.goodput --only 'slow, single'       some of the rows

programs/openloop.c sends calls with a deadline at a fixed rate, whatever the server does. The peak is
measured with it as a closed loop, right before the rates that are multiples of it. Goodput is the
answers a second that arrived within their deadline. Memory is the server's, before the first call and a
second after the last.

slow     1 KB requests, a run of about 10 ms, which hardly grows with its rows
mobile   convolutions of MobileNetV2's size, 600 KB requests
tiny     the tutorial's CNN, 256-byte requests
"""

import argparse
import json
import math
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
from typing import Any

import numpy as np
import onnx
import onnxruntime

from bench import graphs, messages
from bench.environments import ROOT
from bench.load import LoadError, split_cores
from bench.process import ServerProcess, stop_servers_on_sigterm
from bench.repository import MOBILE, TINY, Model, configuration

_SOURCE = Path(__file__).parent / "programs" / "openloop.c"
SLOW = Model(name="slow", input=("x", (256,)), output=("y", (256,)), max_batch_size=64)

#: What `slow` should take on this machine.
_SLOW_SECONDS = 0.010

DEADLINES_MS = (100, 400)
FACTORS = (1, 3, 10)

#: Calls under way in the closed loop that finds the peak, as runs that fit into the deadline several
#: times over; the best of these counts.
_IN_FLIGHT = {"slow": (4, 64), "mobile": (1, 2), "tiny": (64, 256)}

_CONNECTIONS = 8
_WARM_UP_SECONDS = 1.0

#: Until memory is looked at: what reading the models took is given back after half a second, what a
#: burst took after ten seconds without calls.
_START_SECONDS, _REST_SECONDS = 1.5, 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is sent to one server."""

    program: Path
    port: int
    body: Path
    core: int
    seconds: float

    def run(self, deadline_ms: int, rate: float = 0, in_flight: int = 0) -> dict[str, Any]:
        """Send at a rate, or closed with so many under way; return what openloop saw."""
        command = [
            "taskset", "-c", str(self.core), str(self.program), str(self.port), messages.INFER,
            str(self.body), str(_CONNECTIONS), str(deadline_ms), f"{rate:g}", str(in_flight),
            f"{_WARM_UP_SECONDS:g}", f"{self.seconds:g}",
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=self.seconds + 60
        )
        if done.returncode:
            raise LoadError(f"openloop failed: {(done.stderr or done.stdout).strip()[-200:]}")
        seen: dict[str, Any] = json.loads(done.stdout)
        return seen


def generator() -> Path:
    """Compile the load generator if it has changed; LoadError says what is missing."""
    program = ROOT / "openloop"
    if program.exists() and program.stat().st_mtime > _SOURCE.stat().st_mtime:
        return program
    compiler = shutil.which("cc")
    if compiler is None:
        raise LoadError("there is no C compiler: apt-get install gcc libnghttp2-dev")
    ROOT.mkdir(parents=True, exist_ok=True)
    command = [compiler, "-O2", "-o", str(program), str(_SOURCE), "-lnghttp2", "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        first = done.stderr.strip().splitlines()[0]
        raise LoadError(f"openloop does not compile (apt-get install libnghttp2-dev): {first}")
    return program


# -- models ---------------------------------------------------------------------------------------


def _slow(layers: int) -> onnx.ModelProto:
    """Products with one matrix of 16 MB, again and again: its way through memory takes the time."""
    random = np.random.default_rng(0)
    shapes = {"first": (256, 2048), "middle": (2048, 2048), "last": (2048, 256)}
    names = ["first", *["middle"] * layers, "last"]
    tensors = ["x", *(f"h{index}" for index in range(len(names) - 1)), "y"]
    nodes = [
        onnx.helper.make_node("MatMul", [tensors[index], name], [tensors[index + 1]])
        for index, name in enumerate(names)
    ]
    weights = [
        onnx.numpy_helper.from_array(
            random.normal(0, 1 / math.sqrt(shape[0]), shape).astype(np.float32), name
        )
        for name, shape in shapes.items()
    ]
    ends = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 256])
        for name in "xy"
    ]
    graph = onnx.helper.make_graph(nodes, "slow", ends[:1], ends[1:], weights)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model


def _seconds_of(model: onnx.ModelProto) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    row = {"x": np.ones((1, 256), np.float32)}
    took = []
    for _ in range(9):
        began = time.perf_counter()
        session.run(None, row)
        took.append(time.perf_counter() - began)
    return sorted(took)[4]


def slow() -> onnx.ModelProto:
    """Return the graph that takes about 10 ms here, whatever its rows."""
    few, more = 2, 6
    short, long = _seconds_of(_slow(few)), _seconds_of(_slow(more))
    layer = max(1e-5, (long - short) / (more - few))
    return _slow(max(1, round(few + (_SLOW_SECONDS - short) / layer)))


def make_models(folder: Path) -> None:
    """Write a repository with batching and one without."""
    networks = {SLOW: slow(), MOBILE: graphs.mobile(), TINY: graphs.tiny()}
    for joins, root in ((True, folder / "batching"), (False, folder / "single")):
        for model, graph in networks.items():
            path = root / model.name / "1" / "model.onnx"
            path.parent.mkdir(parents=True)
            onnx.save(graph, path)
            (root / model.name / "config.pbtxt").write_text(configuration(model, joins=joins))


def body(model: Model) -> bytes:
    """Return the body of a request of one row."""
    name, shape = model.input
    return messages.frame([messages.request(model.name, name, np.ones((1, *shape), np.float32))])


# -- the run --------------------------------------------------------------------------------------


@contextmanager
def _serving(command: str, repository: Path, core: int) -> Iterator[tuple[ServerProcess, int]]:
    arguments = [
        "serve", str(repository), "--grpc-port", "0", "--http-port", "off", "--metrics-port", "off",
        "--threads", "1",
    ]  # fmt: skip
    server = ServerProcess([command, *arguments], core, {}, repository.parent / "server.log")
    try:
        yield server, server.ports()[0]
    finally:
        server.stop()


def measure(load: Load, name: str, model: Model, server: ServerProcess) -> None:
    """Print the rows of one model."""
    time.sleep(_START_SECONDS)
    rested = server.resident_mb()
    for deadline_ms in DEADLINES_MS:
        peak = max(
            load.run(deadline_ms, in_flight=count)["goodput"] for count in _IN_FLIGHT[model.name]
        )
        if not peak:
            raise LoadError(f"{name}: no answer within {deadline_ms} ms, even without overload")
        for factor in FACTORS:
            seen = load.run(deadline_ms, rate=factor * peak)
            highest = server.resident_mb()
            time.sleep(_REST_SECONDS)
            codes = ", ".join(f"{code}: {count}" for code, count in seen["statuses"].items())
            print(
                f"| {name} | {deadline_ms} | {peak:,.0f} | {factor} | {seen['offered']:,.0f} "
                f"| {seen['goodput']:,.0f} | **{seen['goodput'] / peak:.0%}** | {seen['late']:,.0f} "
                f"| {seen['p50_ms']:.1f} | {seen['p99_ms']:.1f} | {seen['refusal_p99_ms']:.1f} "
                f"| {codes} | {rested:.0f} / {highest:.0f} / {server.resident_mb():.0f} |",
                flush=True,
            )


_HEAD = """\
| row | deadline ms | peak/s | × | offered/s | goodput/s | of peak | late/s | p50 ms | p99 ms | \
refusal p99 ms | statuses | MB before / during / after |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | ---: |"""


def main() -> int:
    """Measure; return the exit status."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(prog="python -m bench.goodput", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="rows whose name matches")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each drive")
    parser.add_argument(
        "--command",
        default=str(Path(sys.executable).with_name("zoo")),
        metavar="FILE",
        help="the zoo command whose server is measured (default: this environment's)",
    )
    chosen = parser.parse_args()
    try:
        program = generator()
        server_core, load_core = split_cores()
        print(_HEAD)
        with tempfile.TemporaryDirectory(prefix="bench-") as work:
            os.sched_setaffinity(0, {load_core})
            make_models(Path(work))
            for model in (SLOW, MOBILE, TINY):
                path = Path(work) / "body"
                path.write_bytes(body(model))
                for kind in ("single", "batching"):
                    name = f"{model.name}, {kind}"
                    if not re.search(chosen.only, name):
                        continue
                    with _serving(chosen.command, Path(work) / kind, server_core) as (server, port):
                        load = Load(
                            program=program,
                            port=port,
                            body=path,
                            core=load_core,
                            seconds=chosen.seconds,
                        )
                        measure(load, name, model, server)
    except (LoadError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
