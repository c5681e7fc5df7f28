"""Tells by its content what a model file is, and says of those that cannot be exported what to do.

    KERAS          Keras 3's archive, and what tf.keras 2 calls .keras
    HDF5           Keras's old format, of a whole model
    SAVED_MODEL    TensorFlow's folder

Everything else that people have of a model is refused by name: weights alone, other frameworks'
files, files that are converted already. The lines that a refusal names are followed in
tests/zoo/export/test_other_formats.py.
"""

from __future__ import annotations

import json
import os
import pickletools
import zipfile
from pathlib import Path

from zoo.errors import UsageError

KERAS, HDF5, SAVED_MODEL = "keras", "hdf5", "saved_model"

#: The members of Keras 3's archive; a zip without them is no Keras model.
MEMBERS = ("config.json", "metadata.json", "model.weights.h5")

#: What makes a folder a SavedModel.
GRAPH = "saved_model.pb"

#: A command line's argument that ends so means a file, also where there is none.
SUFFIXES = (
    ".keras", ".h5", ".hdf5", ".tflite", ".pt", ".pth", ".onnx", ".pb", ".safetensors",
)  # fmt: skip

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"

ITS_MODEL = "export the Keras model that it was made of"

TORCH = "PyTorch writes ONNX itself: torch.onnx.export(model, (example,), 'model.onnx')"


def is_model_file(text: str) -> bool:
    """Whether a command line's argument means a file or a SavedModel rather than a recipe's name."""
    path = Path(text)
    named = path.suffix in SUFFIXES or os.sep in text
    return named or path.is_file() or (path / GRAPH).is_file()


def format_of(path: Path) -> str:
    """Return which of the three formats a file or folder is in.

    Raises UsageError, with what it is and what to do, for anything else, and for what is damaged.
    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    with path.open("rb") as stream:
        head = stream.read(16)
    if head.startswith(HDF5_MAGIC):
        return _hdf5(path)
    if zipfile.is_zipfile(path):
        return _archive(path)
    raise UsageError(f"{path} is {_other(path, head)}")


def _folder(path: Path) -> str:
    if (path / GRAPH).is_file():
        return SAVED_MODEL
    if (path / "checkpoint").is_file() or any(path.glob("*.index")):
        raise UsageError(f"{path} is a checkpoint of TensorFlow's: {_weights_alone('load them')}")
    raise UsageError(f"{path} is a folder, and no SavedModel: it holds no {GRAPH}")


def _weights_alone(load: str) -> str:
    return (
        f"it holds weights alone: build the model, {load}, write the whole with "
        "model.save('model.keras'), and export that"
    )


def _hdf5(path: Path) -> str:
    """Refuse weights alone, and a file that would be taken for a .keras by its name."""
    import h5py

    try:
        with h5py.File(path) as file:
            whole = "model_config" in file.attrs
    except OSError as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if not whole:
        load = f"model.load_weights({path.name!r})"
        raise UsageError(f"{path} is an HDF5 file of Keras's: {_weights_alone(load)}")
    if path.suffix == ".keras":
        raise UsageError(
            f"{path} is not a .keras file: it is in Keras's old HDF5 format; name it "
            f"{path.with_suffix('.h5').name}"
        )
    return HDF5


def saved_by(path: Path) -> str | None:
    """Return the version of Keras that a file says it is from."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return str(json.loads(archive.read("metadata.json"))["keras_version"])
        import h5py

        with h5py.File(path) as file:
            version = file.attrs["keras_version"]
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return version.decode() if isinstance(version, bytes) else str(version)


def _archive(path: Path) -> str:
    """Refuse by name what is not a whole .keras archive."""
    config = b""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            broken = archive.testzip()
            if not broken and MEMBERS[0] in names:
                config = archive.read(MEMBERS[0])
    except (zipfile.BadZipFile, OSError) as error:
        raise UsageError(f"{path} is damaged: {error}") from error
    if any(name.endswith("/data.pkl") for name in names):
        raise UsageError(f"{path} is a file of PyTorch's: {TORCH}")
    if names and all(name.endswith(".npy") for name in names):
        raise UsageError(f"{path} is an .npz of arrays, and no model")
    if missing := [name for name in MEMBERS if name not in names]:
        raise UsageError(f"{path} is not a .keras file: it holds no {', '.join(missing)}")
    if broken:
        raise UsageError(f"{path} is damaged: the checksum of {broken} in it is wrong")
    if b'"TorchModuleWrapper"' in config:
        raise UsageError(
            f"{path} has a TorchModuleWrapper, a pickled module of PyTorch's that TensorFlow cannot "
            "trace: write it with Keras's layers, whose files are the same under any backend"
        )
    return KERAS


def _other(path: Path, head: bytes) -> str:
    """Say what a file is that is neither HDF5 nor an archive."""
    if head[4:8] == b"TFL3":
        return f"a TFLite file, which is converted already: {ITS_MODEL}"
    if path.name == GRAPH:
        return f"the graph of a SavedModel: give its folder, {path.parent}"
    if head.startswith(b"\x80") and _is_pickle(path):
        return f"a Python pickle, as PyTorch wrote before 1.6: {TORCH}"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return f"a safetensors file: {_weights_alone('load them')}"
    if head.lstrip().startswith(b"{"):
        return (
            "text such as model.to_json() gives, without weights: write the whole with "
            "model.save('model.keras'), and export that"
        )
    if _is_onnx(path, head):
        return (
            "an ONNX file already: copy it to models/NAME/1/model.onnx, and zoo serve serves it "
            "as NAME"
        )
    if path.suffix == ".pb":
        return f"no SavedModel: a graph alone says nothing of inputs and outputs; {ITS_MODEL}"
    return "not a .keras file: it is no zip archive, or it was cut off while copying"


def _is_pickle(path: Path) -> bool:
    """Whether the first instruction of a pickle, which is not run, can be read."""
    with path.open("rb") as stream:
        try:
            opcode, _, _ = next(pickletools.genops(stream))
        except (ValueError, StopIteration):
            return False
    return opcode.name == "PROTO"


def _is_onnx(path: Path, head: bytes) -> bool:
    """Whether a file can be read as ONNX and has nodes; it begins with its version of the format."""
    if not head.startswith(b"\x08"):
        return False
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return bool(onnx.load(path, load_external_data=False).graph.node)
    except DecodeError:
        return False


def loadable_format(path: Path, *, trust: bool) -> str:
    """Return a file's format; raises UsageError as `format_of`, and for what wants `trust` and has it not."""
    kind = format_of(path)
    if not trust:
        _refuse_code(path, kind)
    return kind


def _refuse_code(path: Path, kind: str) -> None:
    """Raise UsageError for a format whose code cannot be kept from running."""
    if kind == HDF5:
        raise UsageError(
            f"{path} is in Keras's old HDF5 format, whose code cannot be kept from running: "
            "load it and save it as .keras, or give --trust"
        )
    if kind == SAVED_MODEL:
        raise UsageError(
            f"{path} is a SavedModel, a program that may read and write files: --trust runs it"
        )


def refuse_other_model(model: object) -> None:
    """Raise for what is given in memory and is no Keras model, saying what to do."""
    kinds = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    if "torch" in kinds:
        raise UsageError(f"{type(model).__name__} is a model of PyTorch's: {TORCH}")
    if isinstance(model, str | os.PathLike):
        raise UsageError(
            f"{os.fspath(model)!r} is a path: zoo export {os.fspath(model)} exports a file"
        )
