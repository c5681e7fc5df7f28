"""ncnn, through its own converter pnnx, set to keep float32.

ncnn knows no batch: the graph is converted for one row, and rows are run one by one.
"""

import importlib.util
import os
import subprocess
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import ncnn
import numpy as np

#: numpy's names of types to pnnx's.
TYPES = {"float32": "f32", "int64": "i64", "int32": "i32"}

CONVERT_SECONDS = 60


def version() -> str:
    """Return ncnn's release."""
    return metadata.version("ncnn")


def load(path: str, outputs: list[str]) -> Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]:
    """Remember the file; each run converts it for its rows' shape."""
    networks: dict[str, ncnn.Net] = {}

    def run(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        shapes = ",".join(
            f"[{','.join(map(str, (1, *array.shape[1:])))}]{TYPES[array.dtype.name]}"
            for array in feeds.values()
        )
        if shapes not in networks:
            networks[shapes] = _network(Path(path), shapes)
        network = networks[shapes]
        rows = [
            _one(network, [array[row] for array in feeds.values()], len(outputs))
            for row in range(len(next(iter(feeds.values()))))
        ]
        columns = zip(*rows, strict=True)
        return dict(zip(outputs, (np.stack(column) for column in columns), strict=True))

    return run


def _converter() -> str:
    """Return pnnx's program, which its package holds; importing the package would need torch."""
    specification = importlib.util.find_spec("pnnx")
    assert specification is not None
    assert specification.origin is not None
    return str(Path(specification.origin).with_name("pnnx"))


def _network(path: Path, shapes: str) -> ncnn.Net:
    """Convert into a folder of its own, and load the result."""
    folder = tempfile.mkdtemp(dir=Path.cwd())
    names = {
        kind: f"{folder}/{kind}"
        for kind in ("pnnxparam", "pnnxbin", "pnnxpy", "pnnxonnx", "ncnnparam", "ncnnbin", "ncnnpy")
    }
    command = [
        _converter(),
        str(path),
        f"inputshape={shapes}",
        "fp16=0",
        *(f"{kind}={file}" for kind, file in names.items()),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=CONVERT_SECONDS,
        check=False,
    )
    undone = sorted({line.strip() for line in done.stdout.splitlines() if line.startswith("todo ")})
    if undone:
        raise NotImplementedError(f"pnnx says: {', '.join(undone)}")
    if done.returncode or not Path(names["ncnnbin"]).is_file():
        raise RuntimeError(f"pnnx ended with status {done.returncode}")
    return _loaded(names["ncnnparam"], names["ncnnbin"])


def _loaded(parameters: str, weights: str) -> ncnn.Net:
    """Load a converted network for float32."""
    network = ncnn.Net()
    options = network.opt
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = False
    options.num_threads = 1
    with tempfile.TemporaryFile() as log:
        status = _with_stderr(log.fileno(), lambda: network.load_param(parameters))
        log.seek(0)
        words = log.read().decode(errors="replace").splitlines() or ["no message"]
    if status or network.load_model(weights):
        raise RuntimeError(f"ncnn cannot load what pnnx wrote: {words[0]}")
    return network


def _with_stderr(descriptor: int, act: Callable[[], int]) -> int:
    """Act with this process's standard error, where ncnn explains itself, led to a file."""
    kept = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        return act()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _one(network: ncnn.Net, row: list[np.ndarray], outputs: int) -> list[np.ndarray]:
    """Run one row; inputs and outputs are numbered in the graph's order."""
    extractor = network.create_extractor()
    for position, array in enumerate(row):
        extractor.input(f"in{position}", ncnn.Mat(np.ascontiguousarray(array)).clone())
    answers = []
    for position in range(outputs):
        status, mat = extractor.extract(f"out{position}")
        if status:
            raise RuntimeError(f"extracting output {position} gave status {status}")
        answer = np.array(mat)
        # In some graphs pnnx keeps the batch of one as a first axis, in others it is gone.
        answers.append(answer[0] if answer.ndim > 1 and len(answer) == 1 else answer)
    return answers
