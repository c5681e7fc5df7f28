"""Exports a user's model file: loaded, converted and proven in a process of its own.

    zoo export FILE  ->  python -m zoo.export.from_file (arguments as JSON)  ->  report as JSON

What a stranger's file does to TensorFlow, or to memory, ends with that process. Whatever goes
wrong comes back as one line and an exit status.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckFailed, StorageError, UsageError, ZooError
from zoo.export.load_file import definitions, load
from zoo.export.options import ExportOptions

if TYPE_CHECKING:
    import keras

    from zoo.recipes.architecture import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class FileExport:
    """What to export and where to; paths as text, since it travels as JSON.

    With `repository`, the model is published there as `name`; else it is written to `output`.
    """

    source: str
    options: ExportOptions
    output: str | None = None
    repository: str | None = None
    name: str = "model"
    samples: str | None = None
    trust: bool = False
    modules: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, text: str) -> FileExport:
        """Return what `json.dumps(asdict(...))` wrote."""
        values = json.loads(text)
        options = ExportOptions(**values.pop("options"))
        return cls(**values | {"options": options, "modules": tuple(values["modules"])})


def export_in_own_process(request: FileExport) -> dict[str, Any]:
    """Run the export in a fresh process and return its report.

    Raises the error that the process reports, CheckFailed if it died.
    """
    # A GPU would only be in the way: cuDNN's fused operators cannot be converted.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-m", "zoo.export.from_file", json.dumps(asdict(request))],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    answer = _last_json(done.stdout)
    if answer is None:
        lines = done.stderr.strip().splitlines() or ["no message"]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        raise CheckFailed(f"the export of {request.source} died ({how}): {lines[-1]}")
    if "error" in answer:
        kinds: dict[str, type[ZooError]] = {
            kind.__name__: kind for kind in (CheckFailed, StorageError, UsageError)
        }
        raise kinds.get(answer["kind"], CheckFailed)(answer["error"])
    return answer


def _last_json(text: str) -> dict[str, Any] | None:
    lines = text.strip().splitlines()
    try:
        values = json.loads(lines[-1])
    except (IndexError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _samples(path: str | None) -> Any:
    """Return the arrays of an .npz by name, or of an .npy."""
    if path is None:
        return None
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
        # Arrays are read, and refused, one by one.
        return {k: loaded[k] for k in loaded.files} if hasattr(loaded, "files") else loaded
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"--samples {path}: not an .npz or .npy of numbers: {error}") from error


def run(request: FileExport) -> dict[str, Any]:
    """Load, export, prove; return the report as JSON-able values."""
    source = Path(request.source)
    samples = _samples(request.samples)  # before TensorFlow is imported, which takes seconds
    from zoo.export.from_model import export_model

    custom = definitions(request.modules)
    model = load(source, trust=request.trust, custom=custom)
    if request.output is None:
        return _publish(model, request, samples)
    return export_model(
        model, request.output, samples=samples, **request.options.to_json()
    ).to_json()


def _publish(model: keras.Model, request: FileExport, samples: object) -> dict[str, Any]:
    """Export into a repository, with configuration, test vectors and manifest beside it."""
    from zoo.export.from_model import export_samples
    from zoo.export.report import notes, report, samples_text
    from zoo.parity.external_data import checksum
    from zoo.parity.vectors import write_vectors
    from zoo.publish import repository as publish
    from zoo.publish.config import model_config
    from zoo.publish.manifest import file_manifest, write_manifest
    from zoo_server.repository import layout

    started, source = time.monotonic(), Path(request.source)
    with publish.staging(Path(str(request.repository)), request.name) as staged:
        exported = export_samples(model, staged, request.options, samples, file=layout.MODEL_FILE)
        graph = exported.variants[0].graph
        if scalars := [t["name"] for t in (*graph["inputs"], *graph["outputs"]) if not t["shape"]]:
            raise CheckFailed(
                f"{request.source}: {', '.join(scalars)} has no dimensions, and what is served has "
                "one or more: give -o OUT.onnx to write the file alone"
            )
        write_vectors(staged, exported.cases.all)
        manifest = file_manifest(
            request.name, source, _layers(model, graph), exported.variants, exported.proofs
        )
        manifest["samples"] = samples_text(samples)
        manifest["notes"] = notes(model, samples, exported)
        manifest["options"] = request.options.to_json()
        write_manifest(staged, manifest)
        manifest["states"] = list(exported.states)
        config = model_config(request.name, graph, states=exported.states)
        key = f"file:{checksum(staged / layout.MODEL_FILE)}"
        done = publish.publish(
            Path(str(request.repository)), staged, config, (), key, manifest["variants"]
        )
    path = done.folder / layout.MODEL_FILE
    values = report(model, path, exported, samples, time.monotonic() - started).to_json()
    return values | {"source": source.name, "version": done.version}


def _layers(model: keras.Model, graph: Mapping[str, Any]) -> Sequence[Layer]:
    """Return a model's layers, none if one of them has no single shape to show."""
    from zoo.recipes.architecture import describe

    try:
        return describe(model, [tensor["name"] for tensor in graph["outputs"]])
    except (ValueError, AttributeError):  # what Keras raises of a layer's shape depends on its kind
        return ()


def main(arguments: Sequence[str]) -> int:
    """The process's own entry: one JSON argument in, one JSON line out."""
    try:
        answer = run(FileExport.from_json(arguments[0]))
    except ZooError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        answer = {"error": f"{where}{error.strerror or error}", "kind": "StorageError"}
    sys.stdout.write("\n" + json.dumps(answer, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
