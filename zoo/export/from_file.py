"""A .keras file from outside the registry: loaded, exported and proven in a process of its own.

    zoo export FILE.keras  ->  python -m zoo.export.from_file (arguments as JSON)  ->  report as JSON

What a stranger's file does to TensorFlow, or to memory, ends with that process. Whatever goes
wrong comes back as one line and an exit status.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.convert.opsets import OPSET
from zoo.errors import CheckFailed, StorageError, UsageError, ZooError
from zoo.publish.variants import PORTABLE_TITLE, Variant
from zoo.quantize.decision import NONE

if TYPE_CHECKING:
    from zoo.export.from_model import ExportReport
    from zoo.publish.manifest import Proof

SUFFIX = ".keras"
LEGACY = (".h5", ".hdf5")

#: What Keras 3 puts into the archive; others are somebody else's zip.
MEMBERS = ("config.json", "metadata.json", "model.weights.h5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to export and where to; paths as text, since it travels as JSON.

    With `repository`, the model is published there as `name`; else it is written to `output`.
    """

    source: str
    output: str | None = None
    repository: str | None = None
    name: str = "model"
    samples: str | None = None
    opset: int = OPSET
    trust: bool = False
    portable: bool = False
    reset_states: bool = False
    quantize: str = NONE
    max_loss: float | None = None
    modules: tuple[str, ...] = ()


def is_model_file(text: str) -> bool:
    """Whether a command line's argument means a file rather than a recipe's name."""
    path = Path(text)
    return path.suffix in (SUFFIX, *LEGACY) or os.sep in text or path.is_file()


def export_in_own_process(request: Request) -> dict[str, Any]:
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


def load(path: Path, *, trust: bool = False) -> Any:
    """Load a Keras model from a file, without running code in it unless it is trusted.

    Raises UsageError for what is no such file, CheckFailed for what Keras cannot load.
    """
    _check_file(path, trust)
    from zoo.training.framework import import_keras

    keras = import_keras().keras
    try:
        return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:  # a file may name any class, and Keras raises any kind
        reason = _why(path, error, keras.__version__)
        raise CheckFailed(f"{path}: Keras cannot load it: {reason}") from error


def _why(path: Path, error: Exception, version: str) -> str:
    """Say in one line why a file was not loaded, and what to do.

    Keras wraps the reason in the whole configuration, and puts it first or last.
    """
    from zoo.convert.function import reason_of

    text = str(error)
    if ("Lambda" in text and "safe_mode" in text) or "unsafe" in text.lower():
        return "it contains Python code (a Lambda layer): --trust runs it"
    if missing := re.search(r"Could not locate (class|function) '([^']+)'", text):
        return (
            f"it contains the {missing[1]} {missing[2]}, which is not Keras's: decorate it with "
            "keras.saving.register_keras_serializable() and name its file with --module"
        )
    if config := re.search(r"'module': None, 'class_name': '(\w+)'", text):
        return (
            f"it contains the class {config[1]}, which is not Keras's: decorate it with "
            "keras.saving.register_keras_serializable() and name its file with --module"
        )
    inner = re.findall(r"Exception encountered: (.+)", text)
    reason = inner[-1] if inner else reason_of(error)
    saved_by = _saved_by(path)
    if saved_by in (None, version):
        return reason
    return f"{reason}; it was saved by Keras {saved_by}, and this is {version}"


def _saved_by(path: Path) -> str | None:
    """Return the version of Keras that a .keras file says it is from."""
    try:
        with zipfile.ZipFile(path) as archive:
            version = json.loads(archive.read("metadata.json"))["keras_version"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return str(version)


def _check_file(path: Path, trust: bool) -> None:
    """Refuse by name what is not a whole .keras archive."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    if path.suffix in LEGACY:
        if not trust:
            raise UsageError(
                f"{path} is in Keras's old HDF5 format, whose code cannot be kept from running: "
                "load it and save it as .keras, or give --trust"
            )
        return
    if not zipfile.is_zipfile(path):
        raise UsageError(
            f"{path} is not a .keras file: it is no zip archive, or it was cut off while copying"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            missing = [name for name in MEMBERS if name not in archive.namelist()]
            broken = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if missing:
        raise UsageError(f"{path} is not a .keras file: it holds no {', '.join(missing)}")
    if broken:
        raise UsageError(f"{path} is damaged: the checksum of {broken} in it is wrong")


def _samples(path: str | None) -> Any:
    """Return the arrays of an .npz by name, or of an .npy."""
    if path is None:
        return None
    import numpy as np

    try:
        loaded = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from error
    return {name: loaded[name] for name in loaded.files} if hasattr(loaded, "files") else loaded


def run(request: Request) -> dict[str, Any]:
    """Load, export, prove; return the report as JSON-able values."""
    from zoo.export.from_model import export_model
    from zoo.recipes.registry import Registry

    for module in request.modules:
        Registry().add_file(Path(module))  # for the classes that it registers with Keras
    source = Path(request.source)
    samples = _samples(request.samples)
    model = load(source, trust=request.trust)
    options: dict[str, Any] = {
        "opset": request.opset,
        "samples": samples,
        "reset_states": request.reset_states,
        "portable": request.portable,
        "quantize": request.quantize,
        "max_loss": request.max_loss,
    }
    if request.output is not None:
        return export_model(model, request.output, **options).to_json()
    return _publish(model, request, options)


def _publish(model: Any, request: Request, options: dict[str, Any]) -> dict[str, Any]:
    """Export into a repository, with configuration, test vectors and manifest beside it."""
    from zoo.export.from_model import export_model
    from zoo.parity.vectors import write_vectors
    from zoo.publish import repository as publish
    from zoo.publish.config import model_config
    from zoo.publish.manifest import file_manifest, write_manifest
    from zoo_server.repository import layout

    repository = Path(str(request.repository))
    with publish.staging(repository, request.name) as staged:
        report = export_model(model, staged / layout.MODEL_FILE, **options)
        graph = {"inputs": report.inputs, "outputs": report.outputs}
        whole = [*report.inputs, *report.outputs]
        if any(t["shape"][:1] != ["batch"] for t in whole):
            raise CheckFailed(
                f"{request.source}: not every input and output starts with the batch, which a "
                "repository needs: give -o OUT.onnx to write the file alone"
            )
        write_vectors(staged, report.cases)
        manifest = file_manifest(request.name, Path(request.source), *_proven(report))
        manifest["samples"], manifest["notes"] = report.samples, list(report.notes)
        chosen = ("opset", "portable", "reset_states", "quantize", "max_loss")
        manifest["options"] = {key: options[key] for key in chosen}
        write_manifest(staged, manifest)
        config = model_config(request.name, graph)
        key, variants = f"file:{report.sha256}", manifest["variants"]
        done = publish.publish(repository, staged, config, (), key, variants)
    values = report.to_json() | {"source": Path(request.source).name}
    if values["portable"]:
        values["portable"] = f"{done.folder}/{Path(values['portable']).name}"
    return values | {"path": f"{done.folder}/{layout.MODEL_FILE}", "version": done.version}


def _proven(report: ExportReport) -> tuple[list[Variant], dict[str, Proof]]:
    """Return the files written, the model itself first, and how each was held against Keras.

    Smaller variants, written or not, were measured instead.
    """
    import onnx

    from zoo.convert.conversion import facts
    from zoo.export.from_model import TOLERANCE
    from zoo.parity import runtimes
    from zoo.parity.compare import Report
    from zoo.publish.manifest import Proof

    files = [(report.path, "the model", report.parity)]
    if report.portable is not None:
        files.append((report.portable, PORTABLE_TITLE, report.portable_parity))
    asked = {row.runtime for _, _, rows in files for row in rows}
    versions = {r.name: r.version() or "" for r in runtimes.available() if r.name in asked}
    variants, proven = [], {}
    for path, title, rows in files:
        graph = facts(onnx.load(path))
        content = path.read_bytes()
        variants.append(
            Variant(file=path.name, title=title, content=content, graph=graph, tolerance=TOLERANCE)
        )
        parity = Report(comparisons=rows).to_json()
        proven[path.name] = Proof(versions=versions, parity=parity)
    return [*variants, *report.smaller], proven


def main(arguments: Sequence[str]) -> int:
    """The process's own entry: one JSON argument in, one JSON line out."""
    values = json.loads(arguments[0])
    try:
        answer = run(Request(**values | {"modules": tuple(values["modules"])}))
    except ZooError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        answer = {"error": f"{where}{error.strerror or error}", "kind": "StorageError"}
    sys.stdout.write("\n" + json.dumps(answer, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
