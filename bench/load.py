"""The load: h2load for small messages, a plain gRPC channel for large ones and for checks."""

import re
import shutil
import statistics
import struct
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from zoo_proto import grpc_service_pb2 as pb

METHOD = "/inference.GRPCInferenceService/ModelInfer"

_UNLIMITED = [(f"grpc.max_{way}_message_length", -1) for way in ("send", "receive")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One burst of load; times in milliseconds."""

    per_second: float
    p50: float
    p99: float


def request(model: str, name: str, array: np.ndarray) -> bytes:
    """Return a serialised ModelInferRequest with one FP32 input."""
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name=name, datatype="FP32", shape=array.shape)
    message.raw_input_contents.append(array.tobytes())
    return message.SerializeToString()


def call(port: int, message: bytes, seconds: float = 10) -> bytes:
    """Ask once; grpc.RpcError if that fails."""
    with grpc.insecure_channel(f"127.0.0.1:{port}", _UNLIMITED) as channel:
        answer: bytes = channel.unary_unary(METHOD)(message, timeout=seconds)
        return answer


def values(answer: bytes) -> np.ndarray:
    """Return the only output of an answer, raw or (as MLServer and KServe answer) typed."""
    response = pb.ModelInferResponse.FromString(answer)
    if response.raw_output_contents:
        return np.frombuffer(response.raw_output_contents[0], np.float32)
    return np.array(response.outputs[0].contents.fp32_contents, np.float32)


def generator() -> str | None:
    """Return why h2load cannot be used, None if it can."""
    if shutil.which("h2load"):
        return None
    return "h2load is not installed: apt-get install nghttp2-client"


def drive(
    port: int, payload: Path, *, connections: int, streams: int, seconds: float, cores: set[int]
) -> Measured:
    """Keep connections × streams requests in flight for so long."""
    log = payload.with_suffix(".log")
    log.unlink(missing_ok=True)
    done = subprocess.run(
        [
            "taskset", "-c", ",".join(map(str, sorted(cores))),
            "h2load", "-t", "1", "-c", str(connections), "-m", str(streams),
            "-D", f"{seconds * 1000:.0f}ms", "--warm-up-time", "500ms", "-d", str(payload),
            "-H", "content-type: application/grpc", "-H", "te: trailers",
            "--log-file", str(log), f"http://127.0.0.1:{port}{METHOD}",
        ],
        capture_output=True, text=True, check=True, timeout=seconds + 60,
    )  # fmt: skip
    return parse(done.stdout, log.read_text())


def parse(output: str, log: str) -> Measured:
    """Read h2load's summary and its log of requests (start, status, microseconds)."""
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", output)
    finished = re.search(r"finished in [\d.]+m?s, ([\d.]+) req/s", output)
    if finished is None or failed is None or any(int(number) for number in failed.groups()):
        raise RuntimeError(f"h2load failed: {failed.group(0) if failed else output[-300:]}")
    took = sorted(int(line.split("\t")[2]) for line in log.splitlines() if line)
    return Measured(
        per_second=float(finished.group(1)),
        p50=_quantile(took, 0.50) / 1000,
        p99=_quantile(took, 0.99) / 1000,
    )


def _quantile(ordered: Sequence[int], part: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(part * len(ordered)))]) if ordered else 0.0


def write_payload(path: Path, message: bytes) -> Path:
    """Write a message with gRPC's five bytes before it: not compressed, and its length."""
    path.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    return path


def one_by_one(port: int, message: bytes, count: int) -> float:
    """Ask one after the other on one channel; return the median milliseconds."""
    took = []
    with grpc.insecure_channel(f"127.0.0.1:{port}", _UNLIMITED) as channel:
        ask = channel.unary_unary(METHOD)
        ask(message, timeout=60)
        for _ in range(count):
            began = time.perf_counter()
            ask(message, timeout=60)
            took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)
