"""Our files against Keras's own export and plain tf2onnx: nodes, bytes, and time in onnxruntime.

    python -m bench.export                    about two minutes; prints, and writes bench/results
    python -m bench.export --seconds 0.2 lstm gru

The same model with the same weights is exported three times, each file is checked to answer as
Keras does, and the three run in turn in one process with one thread: rounds of a few milliseconds,
the order turned every round. Counted is the processor time of the one thread that computes, so that
other processes do not count. What is compared is the ratio within each round, whose median and
quartiles are given; the microseconds themselves are those of this machine at this hour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench.race import race

RESULTS = Path(__file__).parent / "results"
SEED = 5
BATCHES = (1, 32)

OURS, KERAS, TF2ONNX = "ours", "Keras's export", "tf2onnx"
PEERS = (KERAS, TF2ONNX)

#: What issue-free means: (model, most that ours may take of the better peer's time at batch 1).
BARS = {"cnn": 0.85, "lstm": 0.85, "gru": 0.2}

#: Beyond this share of the better peer's time ours is slower, if even the faster quarter of the
#: rounds says so: two copies of one file differ by as much.
NOISE = 1.03

#: Export and proof of a tutorial model, after imports.
EXPORT_SECONDS = 0.5


def _one(layer: Any, *shape: int) -> Any:
    import keras

    return keras.Sequential([keras.Input(shape), layer])


def _cnn() -> Any:
    """The tutorial's stack."""
    import keras
    from keras import layers

    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(2, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(3, 2, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(3, activation="softmax"),
        ]
    )


def _models() -> dict[str, Callable[[], Any]]:
    """Return what builds each model, by name."""
    import keras
    from keras import layers

    return {
        "dense_relu": lambda: _one(layers.Dense(8, activation="relu"), 4),
        "dense_softmax": lambda: _one(layers.Dense(8, activation="softmax"), 4),
        "cnn": _cnn,
        "lstm": lambda: _one(layers.LSTM(3), 5, 1),
        "lstm_seq": lambda: _one(layers.LSTM(3, return_sequences=True), 5, 1),
        "gru": lambda: _one(layers.GRU(3), 5, 1),
        "simple_rnn": lambda: _one(layers.SimpleRNN(3), 5, 1),
        "bilstm": lambda: _one(layers.Bidirectional(layers.LSTM(3)), 5, 1),
        "bilstm_seq": lambda: _one(
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)), 5, 1
        ),
        "bigru": lambda: _one(layers.Bidirectional(layers.GRU(3)), 5, 1),
        "mobilenet_v2": lambda: keras.applications.MobileNetV2(
            weights=None, input_shape=(96, 96, 3)
        ),
    }


def export_all(name: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Export one model three times; facts by exporter, with an open session and checked answers."""
    import onnx

    from bench.peers import judge
    from zoo.atlas.measure import randomize
    from zoo.parity.compare import Case
    from zoo.parity.runtimes import OnnxRuntime

    model = _models()[name]()
    if name != "mobilenet_v2":  # whose own weights keep its answers in range
        randomize(model)
    rows = np.random.default_rng(SEED).normal(size=(max(BATCHES), *model.input_shape[1:]))
    rows = rows.astype(np.float32)
    expected = {"0": np.asarray(model(rows, training=False))}
    files = {}
    for exporter, seconds in _write_files(model, folder).items():
        path = folder / f"{exporter}.onnx"
        graph = onnx.load(path)
        case = Case(name=name, feeds={"0": rows}, expected=expected)
        wrong, difference = judge(OnnxRuntime().load(path), graph, case)
        if wrong:
            raise SystemExit(f"{name}: {exporter} {wrong}")
        files[exporter] = {
            "nodes": len(graph.graph.node),
            "bytes": path.stat().st_size,
            "export_seconds": seconds,
            "difference": difference,
            "path": path,
            "rows": rows,
        }
    return files


def _write_files(model: Any, folder: Path) -> dict[str, float]:
    """Write EXPORTER.onnx by each exporter; return the seconds that each took."""
    import zoo
    from bench.peers import quiet, write_keras, write_tf2onnx

    seconds = {}
    for exporter, write in (
        (OURS, lambda path: zoo.export_model(model, path)),
        (KERAS, lambda path: write_keras(model, path)),
        (TF2ONNX, lambda path: write_tf2onnx(model, path)),
    ):
        started = time.perf_counter()
        with quiet():
            write(folder / f"{exporter}.onnx")
        seconds[exporter] = time.perf_counter() - started
    return seconds


def _runner(facts: Mapping[str, Any], batch: int) -> Callable[[], Any]:
    """Open a session and return what runs it once."""
    from zoo.parity.runtimes import open_session

    session = open_session(facts["path"], threads=1)
    feeds = {session.get_inputs()[0].name: facts["rows"][:batch]}
    return partial(session.run, None, feeds)


def comparison_of(times: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Return medians in microseconds, and the ratio of ours to each peer's with its quartiles."""
    comparison: dict[str, Any] = {
        "microseconds": {name: statistics.median(t) * 1e6 for name, t in times.items()},
        "ratio": {},
    }
    for peer in PEERS:
        pairs = [ours / other for ours, other in zip(times[OURS], times[peer], strict=True)]
        low, middle, high = statistics.quantiles(pairs, n=4)
        comparison["ratio"][peer] = {"median": middle, "quartiles": [low, high]}
    comparison["better_peer"] = min(PEERS, key=lambda peer: comparison["microseconds"][peer])
    return comparison


def measure(name: str, seconds: float) -> dict[str, Any]:
    """Export one model by all three, and race the files at every batch."""
    with tempfile.TemporaryDirectory() as folder:
        files = export_all(name, Path(folder))
        batches = {}
        for batch in BATCHES:
            openers = {e: partial(_runner, item, batch) for e, item in files.items()}
            batches[str(batch)] = comparison_of(race(openers, seconds))
    facts = {
        exporter: {k: v for k, v in values.items() if k not in ("path", "rows")}
        for exporter, values in files.items()
    }
    return {"model": name, "exporters": facts, "batches": batches}


def shortfalls(row: Mapping[str, Any]) -> list[str]:
    """Return what a model falls short of, one line each."""
    lines = []
    for batch, comparison in row["batches"].items():
        better = comparison["ratio"][comparison["better_peer"]]
        if better["quartiles"][0] > NOISE:
            lines.append(
                f"{row['model']}, batch {batch}: {better['median']:.2f} of {comparison['better_peer']}"
            )
    comparison = row["batches"]["1"]
    bar = BARS.get(row["model"])
    if bar and comparison["ratio"][comparison["better_peer"]]["median"] > bar:
        ratio = comparison["ratio"][comparison["better_peer"]]["median"]
        lines.append(f"{row['model']}: {ratio:.2f} of {comparison['better_peer']}, not {bar}")
    seconds = row["exporters"][OURS]["export_seconds"]
    if row["model"] != "mobilenet_v2" and seconds > EXPORT_SECONDS:
        lines.append(f"{row['model']}: exported in {seconds:.2f} s, not {EXPORT_SECONDS}")
    return lines


def _cells(row: Mapping[str, Any], batch: str) -> list[str]:
    """Return the row of the table for a model at one batch; the first one has what all share."""
    facts, comparison = row["exporters"], row["batches"][batch]
    first = batch == str(BATCHES[0])
    ratios = [comparison["ratio"][peer] for peer in PEERS]
    return [
        f"`{row['model']}`" if first else "",
        " / ".join(str(facts[e]["nodes"]) for e in facts) if first else "",
        " / ".join(str(facts[e]["bytes"]) for e in facts) if first else "",
        f"{facts[OURS]['export_seconds']:.2f}" if first else "",
        batch,
        " / ".join(f"{comparison['microseconds'][e]:.1f}" for e in facts),
        *(f"{r['median']:.2f} ({_span(r['quartiles'])})" for r in ratios),
    ]


def page(rows: Sequence[Mapping[str, Any]], versions: Mapping[str, str]) -> str:
    """Return bench/results/export.md."""
    from zoo.table import markdown_table

    cells = [_cells(row, batch) for row in rows for batch in row["batches"]]
    header = (
        "model",
        "nodes",
        "bytes",
        "our export, s",
        "batch",
        "µs",
        *(f"ours / {peer}" for peer in PEERS),
    )
    used = ", ".join(f"{name} {version}" for name, version in versions.items())
    return "\n".join(
        [
            "# Our files beside the peers'",
            "",
            f"Three values are {OURS} / {KERAS} / {TF2ONNX}. Times are medians of processor time in",
            "onnxruntime with one thread, the files run in turn in one process; ratios are taken",
            "round by round, with their quartiles. Export seconds are after imports, with the proof (onnxruntime and the",
            f"ONNX reference evaluator). Measured with {used}, on a shared machine: trust ratios.",
            "",
            "This page is generated: `python -m bench.export`.",
            "",
            markdown_table(header, cells, right="lrrrrrrr"),
            "",
        ]
    )


def _span(quartiles: Sequence[float]) -> str:
    return "–".join(f"{value:.2f}" for value in quartiles)


def main() -> int:
    """Measure, print and write; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all; writes nothing")
    parser.add_argument("--seconds", type=float, default=1.0, help="a file and batch (default: 1)")
    options = parser.parse_args()
    from zoo.training.framework import import_keras, seed_everything

    import_keras()
    seed_everything(SEED)
    known = _models()
    unknown = sorted(set(options.models) - set(known))
    if unknown:
        parser.error(f"{', '.join(unknown)}: not one of {', '.join(known)}")
    measure("dense_relu", 0.05)  # imports, and TensorFlow's first trace
    rows = []
    for name in options.models or known:
        rows.append(measure(name, options.seconds))
        print(f"{name}: {json.dumps(rows[-1]['batches']['1']['ratio'])}", flush=True)
    packages = ("keras", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")
    versions = {package: metadata.version(package) for package in packages}
    short = [line for row in rows for line in shortfalls(row)]
    print(page(rows, versions))
    for line in short:
        print(f"missed: {line}")
    if not options.models:
        RESULTS.mkdir(parents=True, exist_ok=True)
        values = {"versions": versions, "models": rows, "missed": short}
        (RESULTS / "export.json").write_text(json.dumps(values, indent=2) + "\n")
        (RESULTS / "export.md").write_text(page(rows, versions))
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
