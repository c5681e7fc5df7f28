"""Every model of keras.applications through zoo.export_model: exported right, or refused by reason.

    python -m bench.applications                     all of them, about an hour on two cores
    python -m bench.applications MobileNetV2 VGG16   these
    ... --markdown docs/applications.md --json bench/results/applications.json
    ... --peers                                      also by Keras's own export and by plain tf2onnx

With --json the rows of earlier runs stay, and the page is of all of them. The peers take many times the memory
and time of ours: ask them for small models.

One model at a time in a process of its own, whose memory is bounded. No weights are downloaded
(weights=None): biases, scales and BatchNormalization's statistics are drawn. The last activation is
left out, since a softmax of a thousand classes hides differences. What the comparison rests on is checked
first: Keras's answers are finite, differ from row to row, and hardly change when the images do by a
rounding: the answers of a network that blows rounding up can be compared with nothing, and layers are.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.beside_peers import beside_peers, peer_cell
from bench.peers import PEERS
from bench.random_networks import SEED, images_of, informative, settle

ROOT = Path(__file__).parents[1]

#: Family -> its models, and the image size: small, but no smaller than the family allows.
FAMILIES: dict[str, tuple[int, tuple[str, ...]]] = {
    "ConvNeXt": (
        64,
        ("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "ConvNeXtLarge", "ConvNeXtXLarge"),
    ),
    "DenseNet": (64, ("DenseNet121", "DenseNet169", "DenseNet201")),
    "EfficientNet": (64, tuple(f"EfficientNetB{i}" for i in range(8))),
    "EfficientNetV2": (64, tuple(f"EfficientNetV2{i}" for i in ("B0", "B1", "B2", "B3", *"SML"))),
    "Inception": (128, ("InceptionV3", "InceptionResNetV2")),
    "MobileNet": (64, ("MobileNet", "MobileNetV2", "MobileNetV3Small", "MobileNetV3Large")),
    "NASNet": (64, ("NASNetMobile", "NASNetLarge")),
    "ResNet": (64, ("ResNet50", "ResNet101", "ResNet152")),
    "ResNetV2": (64, ("ResNet50V2", "ResNet101V2", "ResNet152V2")),
    "VGG": (64, ("VGG16", "VGG19")),
    "Xception": (96, ("Xception",)),
}

#: Images that answers are compared on.
ROWS = 7

#: Beyond any of these a model is reported as too large for this machine, not waited for.
MEMORY_BYTES = 14 * 2**30
PROCESSOR_SECONDS = 1500

#: And beyond this on the clock, on a machine that others use.
SECONDS = 6 * 3600

#: How a proof begins that compares layer by layer: no random weights made such a network steady.
ILL_CONDITIONED = "ill-conditioned"

#: What is said of peers that take more than MEMORY_BYTES, or more time than PROCESSOR_SECONDS.
ENDED = "too large"

#: A file runs this long beside others.
RACE_SECONDS = 1.0

#: Neither wrong, nor a crash, nor a comparison that says nothing.
EXPECTED = ("ok", "refused", "too large")


def sizes() -> dict[str, int]:
    """Return every model's image size by its name."""
    return {name: size for size, names in FAMILIES.values() for name in names}


def one(name: str, *, peers: bool = False) -> dict[str, Any]:
    """Build, randomise, export and compare one model; what happened, as JSON-able values.

    What is known before the `peers` are asked is printed: they may end the process.
    """
    import onnx

    import zoo
    from zoo.errors import ZooError
    from zoo.training.framework import import_keras, seed_everything

    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS + 9))
    keras = import_keras().keras
    seed_everything(SEED)
    size = sizes()[name]
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classifier_activation=None
    )
    images = images_of(size, ROWS)
    facts: dict[str, Any] = {"model": name, "size": size, "parameters": model.count_params()}
    facts |= settle(model, images)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        processor = time.process_time()
        try:
            report = zoo.export_model(model, path, samples=images)
        except ZooError as error:
            return facts | {"status": "refused", "reason": str(error)}
        if not informative(facts):
            notes = [note for note in report.notes if note.startswith(ILL_CONDITIONED)]
            if not notes:
                reason = f"Keras's answers spread by {facts['spread']:.0e} and are uncertain by {facts['noise']:.0e}"
                return facts | {"status": "uninformative", "reason": reason}
            facts["reason"] = notes[0]
        processor = time.process_time() - processor
        operators = {node.op_type for node in onnx.load(path).graph.node}
        facts |= {
            "status": "ok",
            "nodes": report.nodes,
            "transposes_left": "Transpose" in operators,
            "bytes": report.bytes,
            "relative": report.max_abs / facts["largest"] if informative(facts) else None,
            "export_seconds": report.seconds,
            "processor_seconds": processor,
            "load": os.getloadavg()[0],
        }
        if peers:
            print("\n" + json.dumps(facts | {"peers": dict.fromkeys(PEERS, ENDED)}))
            cases = [_case(model, images[:rows]) for rows in (1, ROWS)]
            files = {"ours": path}
            facts |= beside_peers(model, cases, files, path.parent, RACE_SECONDS)
    return facts


def _case(model: Any, images: Any) -> Any:
    from zoo.parity.compare import Case

    answers = np.asarray(model(images, training=False))
    return Case(name=f"batch {len(images)}", feeds={"images": images}, expected={"0": answers})


def measure(name: str, *, peers: bool = False) -> dict[str, Any]:
    """Run `one` in a process of its own; its death is the model's outcome."""
    started = time.monotonic()
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.applications", "--one", name, *["--peers"] * peers],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=environment,
            cwd=ROOT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        reason = f"not done within {SECONDS} s"
        return {"model": name, "size": sizes()[name], "status": "too large", "reason": reason}
    lines = done.stdout.strip().splitlines()
    with contextlib.suppress(IndexError, ValueError):
        return {**json.loads(lines[-1]), "seconds": time.monotonic() - started}
    last = (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    if done.returncode == -signal.SIGXCPU:
        status, reason = "too large", f"more than {PROCESSOR_SECONDS} s of a processor"
    elif "MemoryError" in done.stderr or "bad_alloc" in done.stderr or done.returncode == -9:
        status, reason = "too large", f"more than {MEMORY_BYTES >> 30} GiB of memory"
    else:
        status, reason = "died", last
    return {"model": name, "size": sizes()[name], "status": status, "reason": reason}


HEADER = (
    "family", "model", "image", "million parameters", "outcome", "nodes", "MB", "Δ / largest", "seconds",
    "of a processor", *PEERS,
)  # fmt: skip


def _cells(family: str, row: Mapping[str, Any]) -> list[str]:
    """Return a model's row under HEADER."""
    return [
        family,
        f"`{row['model']}`",
        str(row["size"]),
        f"{row['parameters'] / 1e6:.1f}" if "parameters" in row else "",
        _outcome(row),
        str(row.get("nodes", "")),
        f"{row['bytes'] / 1e6:.1f}" if "bytes" in row else "",
        f"{row['relative']:.0e}" if row.get("relative") is not None else "",
        f"{row['export_seconds']:.0f}" if "export_seconds" in row else "",
        f"{row['processor_seconds']:.0f}" if "processor_seconds" in row else "",
        *(peer_cell(row, peer) if "peers" in row else "" for peer in PEERS),
    ]


def _outcome(row: Mapping[str, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']}: {row['reason']}"
    return "ok, layer by layer" if row.get("reason", "").startswith(ILL_CONDITIONED) else "ok"


def page(rows: Sequence[dict[str, Any]]) -> str:
    """Return docs/applications.md."""
    from importlib import metadata

    from zoo.table import markdown_table

    family = {name: key for key, (_, names) in FAMILIES.items() for name in names}
    packages = ("keras", "tensorflow-cpu", "tf2onnx", "onnx", "onnxruntime")
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in packages)
    cells = [_cells(family[row["model"]], row) for row in rows]
    right = sum(row["status"] == "ok" for row in rows)
    families = {family[row["model"]] for row in rows if row["status"] == "ok"}
    return "\n".join(
        [
            "# keras.applications through the exporter",
            "",
            "Models that Keras ships, with `weights=None` and random biases, scales and",
            "BatchNormalization statistics. Exported by `zoo.export_model`,",
            "compared with Keras in onnxruntime at batch 1 and 7; Keras's answers are checked to be",
            "finite, to differ from row to row, and to stand a rounding of the images. `Δ / largest`",
            "is the largest difference as a share of the largest answer; seconds are those of the",
            "export with its proof, on the clock of a machine of two cores that other work kept busy, and",
            "of a processor, which says more; rows without the latter are of an earlier version. `ok, layer by layer`: under no random weights did answers both differ",
            "and stand a rounding, so the file was held against Keras",
            "[layer by layer](export.md#ill-conditioned-models). A file of Keras's own export or of plain tf2onnx is `ok`,",
            "`invalid`, or `wrong` where it answers otherwise than Keras, and a model that they do not take is `refused`;",
            "the number after `ok` is the time of our file in onnxruntime as a share of theirs, at batch 1 with one thread.",
            "They take many times the memory, so they were asked for the smaller models (`--peers`). Where a row begins",
            "with `refused`, our export ended with that reason, and wrote no file. As Keras makes them, with `weights=None`",
            "alone, EfficientNetB7 and EfficientNetV2M are exported, the latter layer by layer.",
            "",
            f"{right} of {len(rows)} right, of {len(families)} of {len(FAMILIES)} families. Measured",
            f"with {versions}.",
            *_not_measured(rows),
            "",
            "This page is generated: `python -m bench.applications --markdown docs/applications.md`.",
            "",
            markdown_table(HEADER, cells, right="llrrlrrrrrll"),
            "",
        ]
    )


def _not_measured(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the line that names the models that have no row, none if all have one."""
    left = sorted(set(sizes()) - {row["model"] for row in rows})
    return [f"Not measured: {', '.join(f'`{name}`' for name in left)}."] if left else []


def main() -> int:
    """Measure the models that are named, or all; exit 1 if one is neither right nor refused."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE.md", help="write the table as a page"
    )
    parser.add_argument("--json", type=Path, metavar="FILE.json", help="write the figures")
    parser.add_argument(
        "--peers", action="store_true", help="export by Keras and by plain tf2onnx, too"
    )
    parser.add_argument("--one", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print("\n" + json.dumps(one(options.one, peers=options.peers)))
        return 0
    unknown = sorted(set(options.models) - set(sizes()))
    if unknown:
        parser.error(f"{', '.join(unknown)}: not in keras.applications")
    records = _earlier_rows(options.json)
    names = options.models or list(sizes())
    for name in names:
        records[name] = measure(name, peers=options.peers)
        print(json.dumps(records[name]), flush=True)
        rows = [records[known] for known in sizes() if known in records]
        for path, text in (
            (options.json, json.dumps(rows, indent=2) + "\n"),
            (options.markdown, page(rows)),
        ):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    return 0 if all(records[name]["status"] in EXPECTED for name in names) else 1


def _earlier_rows(path: Path | None) -> dict[str, dict[str, Any]]:
    """Return the rows of earlier runs by model: those that are not measured again stay."""
    if path is None or not path.is_file():
        return {}
    return {row["model"]: row for row in json.loads(path.read_text())}


if __name__ == "__main__":
    sys.exit(main())
