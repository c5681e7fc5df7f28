"""Backbones of keras-hub at small settings: exported by ours, by Keras's own export and by plain tf2onnx.

    python -m bench.keras_hub                      all of them, minutes
    python -m bench.keras_hub Bert GPT2            these; --without-peers: ours alone
    ... --markdown docs/keras_hub.md --json bench/results/keras_hub.json

With --json the rows of earlier runs stay, and the page is of all of them. keras-hub is of the dependency
group `hub` (`make .venv/.installed-hub`). No weights are downloaded: all are drawn. Rows of text end in
padding. Each file is held against Keras at batch 1 and 7; then the files that are right run in turn in
onnxruntime, with one thread, at batch 1 (bench/race.py).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from bench.beside_peers import beside_peers, peer_cell
from bench.peers import PEERS, Write

SEED = 5
BATCHES = (1, 7)
LENGTH, WORDS = 12, 100

PACKAGES = ("keras-hub", "keras", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")

#: Settings that most models of text share.
SMALL = {"vocabulary_size": WORDS, "num_layers": 2, "intermediate_dim": 64}
TEXT = SMALL | {"num_heads": 2, "hidden_dim": 32}
GROUPED = SMALL | {"num_query_heads": 4, "num_key_value_heads": 2, "hidden_dim": 32}
IMAGE = {"image_shape": (64, 64, 3)}

#: Backbone -> its settings.
BACKBONES: dict[str, dict[str, Any]] = {
    "Albert": TEXT | {"embedding_dim": 16},
    "Bert": TEXT,
    "DebertaV3": TEXT | {"max_sequence_length": 16, "bucket_size": 8},
    "DistilBert": TEXT,
    "Electra": {k: v for k, v in TEXT.items() if k != "vocabulary_size"}
    | {"vocab_size": WORDS, "embedding_dim": 16},
    "FNet": SMALL | {"hidden_dim": 32},
    "Roberta": TEXT,
    "XLNet": TEXT,
    "Bloom": TEXT,
    "Falcon": SMALL | {"num_attention_heads": 2, "hidden_dim": 32},
    "Gemma": GROUPED | {"head_dim": 8},
    "GPT2": TEXT,
    "GPTNeoX": TEXT,
    "Llama": GROUPED,
    "Mistral": GROUPED,
    "OPT": TEXT,
    "Phi3": GROUPED,
    "Qwen": GROUPED,
    "Bart": TEXT,
    "T5": TEXT,
    "Whisper": TEXT | {"max_encoder_sequence_length": 40, "max_decoder_sequence_length": 16},
    "DenseNet": IMAGE | {"stackwise_num_repeats": [2, 2], "growth_rate": 8},
    "MiT": IMAGE
    | {
        "layerwise_depths": [1, 1],
        "num_layers": 2,
        "layerwise_num_heads": [1, 2],
        "layerwise_sr_ratios": [4, 2],
        "max_drop_path_rate": 0.1,
        "layerwise_patch_sizes": [7, 3],
        "layerwise_strides": [4, 2],
        "hidden_dims": [16, 32],
    },
    "ResNet": IMAGE
    | {
        "input_conv_filters": [16],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "bottleneck_block",
    },
    "SegFormer": {"projection_filters": 16},
    "VGG": IMAGE | {"stackwise_num_repeats": [1, 1], "stackwise_num_filters": [8, 16]},
    "ViT": IMAGE
    | {
        "patch_size": 16,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 32,
        "mlp_dim": 64,
    },
    "Xception": IMAGE
    | {
        "stackwise_conv_filters": [[16, 16], [32, 32]],
        "stackwise_pooling": [True, False],
    },
}


def build(name: str) -> Any:
    """Return a backbone with drawn weights."""
    import keras
    import keras_hub

    from zoo.atlas.measure import randomize

    keras.utils.set_random_seed(SEED)
    settings = dict(BACKBONES[name])
    if name == "SegFormer":
        settings["image_encoder"] = build("MiT")
    model = getattr(keras_hub.models, f"{name}Backbone")(**settings)
    randomize(model)
    return model


def rows_of(model: Any, batch: int) -> dict[str, np.ndarray]:
    """Return an input of each name: words and where they end, images, sound."""
    generator = np.random.default_rng(SEED)
    rows = {}
    for tensor in model.inputs:
        shape = (batch, *(LENGTH if size is None else size for size in tensor.shape[1:]))
        name = tensor.name
        if "mask" in name:
            ends = generator.integers(LENGTH // 2, LENGTH + 1, size=(batch, 1))
            rows[name] = (np.arange(shape[1]) < ends).astype(tensor.dtype)
        elif "int" in str(tensor.dtype):
            high = 2 if "segment" in name else WORDS
            rows[name] = generator.integers(0, high, shape).astype(tensor.dtype)
        else:
            rows[name] = generator.normal(size=shape).astype(np.float32)
    return rows


def measure(name: str, seconds: float, peers: Mapping[str, Write] = PEERS) -> dict[str, Any]:
    """Export a backbone by ours and its peers; what became of it, as JSON-able values."""
    import zoo
    from zoo.errors import ZooError

    model = build(name)
    facts: dict[str, Any] = {
        "name": name,
        "parameters": model.count_params(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
    }
    cases = [_case(model, batch) for batch in BATCHES]
    with tempfile.TemporaryDirectory() as place:
        ours, files = Path(place) / "ours.onnx", {}
        try:
            report = zoo.export_model(model, ours, samples=cases[-1].feeds)
        except ZooError as error:
            facts |= {"status": "refused", "reason": str(error)}
        else:
            largest = max(np.abs(array).max() for c in cases for array in c.expected.values())
            files["ours"] = ours
            facts |= {
                "status": "ok",
                "nodes": report.nodes,
                "bytes": report.bytes,
                "relative": report.max_abs / float(largest),
                "seconds": report.seconds,
            }
        facts |= beside_peers(model, cases, files, Path(place), seconds, peers)
    return facts


def _case(model: Any, batch: int) -> Any:
    """Return rows and Keras's answers, the outputs named by position."""
    import keras

    from zoo.parity.compare import Case

    feeds = rows_of(model, batch)
    inputs = feeds if isinstance(model.input, dict) else next(iter(feeds.values()))
    leaves = keras.tree.flatten(model(inputs, training=False))
    expected = {str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)}
    return Case(name=f"batch {batch}", feeds=feeds, expected=expected)


HEADER = (
    "backbone", "thousand parameters", "ours", "nodes", "MB", "Δ / largest", "seconds", *PEERS,
)  # fmt: skip


def _cells(row: Mapping[str, Any]) -> list[str]:
    """Return a backbone's row under HEADER."""
    return [
        f"`{row['name']}Backbone`",
        f"{row['parameters'] / 1e3:.0f}",
        row["status"] if row["status"] == "ok" else f"{row['status']}: {row['reason']}",
        str(row.get("nodes", "")),
        f"{row['bytes'] / 1e6:.2f}" if "bytes" in row else "",
        f"{row['relative']:.0e}" if "relative" in row else "",
        f"{row['seconds']:.1f}" if "seconds" in row else "",
        *(peer_cell(row, peer) for peer in PEERS),
    ]


def page(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return docs/keras_hub.md."""
    from zoo.table import markdown_table

    texts = [", ".join(f"{name} {v}" for name, v in row["versions"].items()) for row in rows]
    versions = "; or ".join(dict.fromkeys(texts))
    right = {peer: sum(row["peers"][peer] == "ok" for row in rows) for peer in PEERS}
    ours = sum(row["status"] == "ok" for row in rows)
    cells = [_cells(row) for row in rows]
    return "\n".join(
        [
            "# keras-hub's backbones through the exporter",
            "",
            "Two layers or stages each, with drawn weights; rows of text are padded. Exported by",
            '`zoo.export_model`, by `model.export(format="onnx")` and by plain tf2onnx, and each file',
            "is held against Keras at batch 1 and 7. `Δ / largest` is the largest difference as a share",
            "of the largest answer; seconds are those of the export with its proof. A peer's file is `ok`,",
            "`refused` (an error), `invalid` (onnxruntime refuses it for an operator that ONNX lacks, or",
            "its inputs are not the model's) or `wrong`; the number is the time of ours in onnxruntime as a",
            "share of its, at batch 1.",
            "",
            f"Of {len(rows)}, right are {ours} by ours, "
            + " and ".join(f"{count} by {peer}" for peer, count in right.items())
            + f". Measured with {versions}, on two cores that other work kept busy.",
            "",
            "This page is generated: `python -m bench.keras_hub --markdown docs/keras_hub.md`.",
            "",
            markdown_table(HEADER, cells, right="lrlrrrrll"),
            "",
        ]
    )


def main() -> int:
    """Measure the backbones that are named, or all; exit 1 if one of ours is not right."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="BACKBONE", help="default: all")
    parser.add_argument("--seconds", type=float, default=0.1, help="processor time of each file")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="write the page")
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="keep the figures")
    parser.add_argument("--without-peers", action="store_true", help="ours alone, to be seen only")
    options = parser.parse_args()
    if options.without_peers and (options.markdown or options.json):
        parser.error(
            "the page and the figures are of ours and its peers: leave --without-peers out"
        )
    if unknown := [name for name in options.names if name not in BACKBONES]:
        parser.error(f"{unknown[0]} is none of {', '.join(BACKBONES)}")
    from zoo.training.framework import import_keras

    import_keras()
    kept = json.loads(options.json.read_text()) if options.json and options.json.is_file() else []
    rows = {row["name"]: row for row in kept}
    for name in options.names or BACKBONES:
        started = time.monotonic()
        rows[name] = measure(name, options.seconds, {} if options.without_peers else PEERS)
        row = rows[name]
        print(name, row["status"], row.get("reason", ""), row["peers"], row.get("ratios", ""),
              f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
        if options.json:
            ordered = [rows[name] for name in BACKBONES if name in rows]
            options.json.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
    ordered = [rows[name] for name in BACKBONES if name in rows]
    if options.markdown:
        options.markdown.write_text(page(ordered), encoding="utf-8")
    return int(any(row["status"] != "ok" for row in ordered))


if __name__ == "__main__":
    sys.exit(main())
