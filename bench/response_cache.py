"""What the response cache saves and costs a request: python -m bench.response_cache.

    python -m bench.response_cache          half a minute; writes bench/results/response_cache.json

A server in this process has each model twice, with `response_cache` and without, and is handed ModelInfer
messages without a transport: for a model without a cache, with data that is new each time, and with the same
data again. Figures are µs of CPU time of the thread that does it all, the least of some rounds, which take turns.
"""

import json
import tempfile
import time
from pathlib import Path

import grpc
import numpy as np

from bench import messages
from bench.repository import MOBILE, TINY, Model, prepare
from zoo_server.config import ServerConfig
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.server import running

RESULTS = Path(__file__).parent / "results" / "response_cache.json"

_ROUNDS = 7

#: Requests of a round.
_REQUESTS = {TINY.name: 1000, MOBILE.name: 10}

#: Ways to ask, and the suffix of the model's name.
_WAYS = {"without a cache": "", "a miss": "_cached", "a hit": "_cached"}


class _Call:
    """A call whose answer is forgotten (zoo_server.protocols.unary.Call)."""

    metadata = ()

    def __init__(self, message: bytes) -> None:
        self.message = message

    def peer(self) -> str:
        return ""

    def is_gone(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return float("inf")

    def reply(self, answer: bytes) -> None:
        """Take the answer."""

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        raise RuntimeError(f"{code.name}: {details}")


def main() -> None:
    """Measure, print and write the figures."""
    with tempfile.TemporaryDirectory(prefix="zoo-response-cache-") as place:
        repository = prepare(Path(place), Path("models")).batching
        for model in (TINY, MOBILE):
            config = (repository / model.name / "config.pbtxt").read_text()
            cached = repository / f"{model.name}_cached"
            (cached / "1").mkdir(parents=True)
            graph = (repository / model.name / "1" / "model.onnx").read_bytes()
            (cached / "1" / "model.onnx").write_bytes(graph)
            (cached / "config.pbtxt").write_text(config + "response_cache { enable: true }\n")
        options = ServerConfig(
            repository=repository,
            grpc_port=0,
            http_port=None,
            metrics_port=None,
            threads=1,
            cache_config=("local,size=100000000",),
        )
        with running(options) as server:
            figures = {model.name: _measure(server.path, model) for model in (TINY, MOBILE)}
    print(json.dumps(figures, indent=2))
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _measure(path: InferPath, model: Model) -> dict[str, float]:
    random = np.random.default_rng(0)
    count = _REQUESTS[model.name]
    nanoseconds: dict[str, list[float]] = {way: [] for way in _WAYS}
    for _ in range(_ROUNDS):
        for way, suffix in _WAYS.items():
            rows = random.random((count, 1, *model.input[1]), np.float32)
            if way == "a hit":
                rows[:] = rows[0]
            name = model.name + suffix
            calls = [_Call(messages.request(name, model.input[0], row)) for row in rows]
            path.answer(calls[:1])
            began = time.thread_time_ns()
            for call in calls:
                path.answer([call])
            nanoseconds[way].append((time.thread_time_ns() - began) / count)
    return {way: round(min(each) / 1e3, 1) for way, each in nanoseconds.items()}


if __name__ == "__main__":
    main()
