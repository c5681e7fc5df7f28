"""Large models exported, served and asked: python -m bench.large_models NAME ...

    python -m bench.large_models                        a transformer of 2.4 GB
    python -m bench.large_models ResNet152V2 transformer:8:2560
    python -m bench.large_models transformer:8:2560 --folder /somewhere/with/space

NAME is a model of keras.applications, untrained, at an image size if one is named (EfficientNetV2L:64), or
transformer:BLOCKS:WIDTH, made here, with a table of 50000 words. Each is exported in a process of its own, which says its peak of resident memory, what it had
before the model was built (TensorFlow, Keras, tf2onnx and a tiny export), and seconds on the clock and of
the processor. Then `zoo verify` compares the file with its test vectors, which an ill-conditioned model's fails without
its manifest, and `zoo serve` answers them. Writes large_models.json into bench/results, where the figures of
other models stay.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.process import stop_servers_on_sigterm

RESULTS = Path(__file__).parent / "results" / "large_models.json"

WORDS, HEAD = 50_000, 128

_PORT = re.compile(r"ready: gRPC on (\S+),")


def main() -> None:
    """Measure, print and keep the figures."""
    stop_servers_on_sigterm()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["transformer:6:2560"], metavar="NAME")
    parser.add_argument("--folder", type=Path, help="where files of this size have room")
    parser.add_argument("--export-into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.export_into is not None:
        print(json.dumps(_export(options.names[0], options.export_into)))
        return
    for name in options.names:
        with tempfile.TemporaryDirectory(prefix="zoo-large-", dir=options.folder) as place:
            command = [sys.executable, "-m", "bench.large_models", name, "--export-into", place]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            figures |= {"load": round(os.getloadavg()[0], 1)}
            _keep(name, figures)
            for key, measure in (("verified", _verify), ("served", _serve)):
                figures[key] = measure(Path(place))
                _keep(name, figures)
        print(json.dumps({name: figures}, indent=2))


def _keep(name: str, figures: Mapping[str, Any]) -> None:
    """Write a model's figures beside those of others; the next step may fail."""
    others = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    RESULTS.write_text(json.dumps(others | {name: figures}, indent=2) + "\n", encoding="utf-8")


def build(keras: Any, name: str) -> Any:
    """Return an untrained model."""
    keras.utils.set_random_seed(0)
    kind, *sizes = name.split(":")
    if kind == "transformer":
        return transformer(keras, *map(int, sizes))
    shape = (int(sizes[0]), int(sizes[0]), 3) if sizes else None
    return getattr(keras.applications, kind)(weights=None, input_shape=shape)


def transformer(keras: Any, blocks: int, width: int) -> Any:
    """A decoder of token numbers: attention and two dense layers a block, causal."""
    layers = keras.layers
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.Embedding(WORDS, width)(tokens)
    for _ in range(blocks):
        y = layers.LayerNormalization()(x)
        y = layers.MultiHeadAttention(width // HEAD, HEAD)(y, y, use_causal_mask=True)
        x = layers.Add()([x, y])
        y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
        x = layers.Add()([x, layers.Dense(width)(y)])
    logits = layers.Dense(1000, name="logits")(layers.LayerNormalization()(x))
    return keras.Model(tokens, logits, name="transformer")


def _export(name: str, place: Path) -> dict[str, Any]:
    """Export into a repository with test vectors, and return the figures of this process."""
    import zoo
    from zoo.export.from_model import export_samples
    from zoo.export.options import ExportOptions
    from zoo.parity.vectors import write_vectors
    from zoo.training.framework import import_keras

    keras = import_keras().keras
    tiny = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    zoo.export_model(tiny, place / ".tiny.onnx")
    before = _peak()
    model = build(keras, name)
    weights = sum(4 * math.prod(weight.shape) for weight in model.weights)
    folder = place / "large" / "1"
    folder.mkdir(parents=True)
    clock, processor = time.monotonic(), time.process_time()
    exported = export_samples(model, folder, ExportOptions(), None, file="model.onnx")
    figures = {
        "weights_mb": round(weights / 1e6),
        "seconds": round(time.monotonic() - clock),
        "processor_seconds": round(time.process_time() - processor),
        "peak_mb": round(_peak() / 1e6),
        "peak_before_mb": round(before / 1e6),
        "peak_by_weights": round((_peak() - before) / weights, 2),
        "files_mb": {f.name: round(f.stat().st_size / 1e6, 1) for f in sorted(folder.iterdir())},
        "nodes": exported.variants[0].graph["nodes"],
        "largest_difference": max(
            row.max_abs for p in exported.proofs.values() for row in p.report.comparisons
        ),
        "notes": exported.notes,
    }
    write_vectors(folder, exported.cases.all)
    return figures


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _verify(repository: Path) -> dict[str, Any]:
    """Run `zoo verify` on the file, and return its exit status, seconds and peak."""
    command = [sys.executable, "-m", "zoo.cli", "verify"]
    began = time.monotonic()
    process = subprocess.Popen(
        [*command, str(repository / "large" / "1" / "model.onnx")], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "status": process.returncode,
        "seconds": round(time.monotonic() - began, 1),
        "peak_mb": usage.ru_maxrss * 1024 // 10**6,
    }


def _serve(repository: Path) -> dict[str, Any]:
    """Serve the repository, ask each of the test vectors, and return how that went."""
    from zoo.client import Client
    from zoo.parity.vectors import read_vectors

    ports = [word for kind in ("grpc", "http", "metrics") for word in (f"--{kind}-port", "0")]
    command = [sys.executable, "-m", "zoo.cli", "serve", str(repository), *ports]
    began = time.monotonic()
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = next(match[1] for line in process.stderr if (match := _PORT.search(line)))
        worst = 0.0
        with Client(address) as client:
            while not client.ready("large") and process.poll() is None:
                time.sleep(0.1)
            started = time.monotonic() - began
            for case in read_vectors(repository / "large" / "1" / "model.onnx"):
                answers = client.infer("large", dict(case.feeds), timeout=600)
                for output, expected in case.expected.items():
                    scale = max(float(np.abs(expected).max()), 1e-30)
                    worst = max(worst, float(np.abs(answers[output] - expected).max()) / scale)
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) // 1000
        return {"start_seconds": round(started, 1), "peak_mb": peak, "relative_difference": worst}
    finally:
        process.terminate()
        process.communicate()


if __name__ == "__main__":
    main()
