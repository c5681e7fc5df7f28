"""What people have of a model besides a .keras file: each is given to the exporter (test_other_formats.py)."""

from __future__ import annotations

import io
import pickle
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import zoo
from tests.zoo.export.file_cases import edited, exported
from zoo.errors import ZooError
from zoo.export import load_file
from zoo.export.from_file import FileExport, run
from zoo.export.options import ExportOptions
from zoo.training.framework import import_keras, seed_everything

#: Where tf-keras is not installed, what needs it is left out.
TF_KERAS = find_spec("tf_keras") is not None


def _model() -> Any:
    keras = import_keras().keras
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, "softmax")])


# -- files that are refused ---------------------------------------------------------------------------


def _zip(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"")


def _weights(path: Path) -> None:
    _model().save_weights(path)


def _checkpoint(path: Path) -> None:
    import_keras().tf.train.Checkpoint(_model()).save(path / "weights")


def _onnx(path: Path) -> None:
    zoo.export_model(_model(), path)


def _npz(path: Path) -> None:
    content = io.BytesIO()
    np.savez(content, rows=np.zeros(3))
    path.write_bytes(content.getvalue())


def _torch_inside(path: Path) -> None:
    """A file as Keras's torch backend writes one whose layer is a module of PyTorch's."""
    plain = path.with_name("plain.keras")
    _model().save(plain)
    edited(plain, path, config=lambda data: data.replace(b'"Dense"', b'"TorchModuleWrapper"'))
    plain.unlink()


def _header(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data + bytes(100))


#: How each is written; the words of its refusal are in the tests.
REFUSED: dict[str, Callable[[Path], object]] = {
    "mine.weights.h5": _weights,
    "checkpoint": _checkpoint,
    "mine.onnx": _onnx,
    "mine.tflite": _header(b"\x1c\0\0\0TFL3"),
    "mine.pt": lambda path: _zip(path, "mine/data.pkl", "mine/version"),
    "old.pth": lambda path: path.write_bytes(pickle.dumps({"weight": [1.0]}, 2)),
    "module.keras": _torch_inside,
    "mine.safetensors": _header((10).to_bytes(8, "little") + b'{"a":"b"} '),
    "mine.json": lambda path: path.write_text(_model().to_json()),
    "mine.npz": _npz,
    "frozen.pb": _header(b"\x0a\x10\x0a"),
    "saved_model.pb": _header(b"\x08\x01"),
    "empty": Path.mkdir,
}


# -- SavedModels ----------------------------------------------------------------------------------------


def _exported_folder(path: Path) -> None:
    _model().export(path, verbose=False)


def _functions(path: Path, **signatures: Callable[..., Any]) -> None:
    """Save functions of `left` and `right`, of which one writes a variable."""
    tf = import_keras().tf
    module = tf.Module()
    module.calls = tf.Variable(0.0)
    rows = [tf.TensorSpec((None, 3), name=name) for name in ("left", "right")]
    for name, function in signatures.items():
        setattr(module, name, tf.function(partial(function, module), input_signature=rows))
    tf.saved_model.save(module, path, {name: getattr(module, name) for name in signatures})


def _sums(module: Any, left: Any, right: Any) -> dict[str, Any]:
    return {"sum": left + right, "product": left * right}


def _counts(module: Any, left: Any, right: Any) -> dict[str, Any]:
    return {"count": left + right + module.calls.assign_add(1.0)}


SAVED: dict[str, Callable[[Path], object]] = {
    "keras_3": _exported_folder,
    "two_inputs": partial(_functions, serving_default=_sums),
    "only_signature": partial(_functions, sums=_sums),
    "no_default": partial(_functions, sums=_sums, more=_sums),
    "counting": partial(_functions, serving_default=_counts),
}


# -- what a refusal says, done --------------------------------------------------------------------------


def weights_loaded(folder: Path) -> dict[str, Any]:
    """Build the model, load the weights, write the whole, export that; the answers are the weights'."""
    model = _model()
    _weights_of = folder / "again.weights.h5"
    model.save_weights(_weights_of)
    whole = _model()
    whole.load_weights(_weights_of)
    whole.save(folder / "whole.keras")
    return exported("whole.keras", lambda path: None, folder)


def signature_written(folder: Path) -> dict[str, Any]:
    """Save a SavedModel again, with the signature that is called."""
    tf = import_keras().tf
    path, other_path = str(folder / "no_default"), str(folder / "with_default")
    function = tf.saved_model.load(path).signatures["sums"]
    tf.saved_model.save(
        tf.saved_model.load(path), other_path, signatures={"serving_default": function}
    )
    return exported("with_default", lambda path: None, folder, trust=True)


def hdf5(folder: Path) -> dict[str, Any]:
    """A file under another's name gets its own; a trusted one is exported, or loaded and saved as .keras."""
    keras = import_keras().keras
    wrong, right = folder / "misnamed.keras", folder / "misnamed.h5"
    _model().save(right)
    right.rename(wrong)
    said = {"misnamed": exported(wrong.name, lambda path: None, folder)["text"]}
    wrong.rename(right)
    said["old format"] = exported(right.name, lambda path: None, folder)["text"]
    said["trusted"] = exported(right.name, lambda path: None, folder, trust=True)["kind"]
    keras.models.load_model(right).save(folder / "saved.keras")
    return said | {"saved": exported("saved.keras", lambda path: None, folder)["kind"]}


def in_a_repository(folder: Path) -> dict[str, Any]:
    """What cannot be published as it is: under another name, to a file, or once what is there is gone."""
    keras = import_keras().keras
    repository = folder / "repository"
    _model().save(folder / "two.keras")
    keras.Sequential([keras.Input((5,)), keras.layers.Dense(3)]).save(folder / "three.keras")
    x = keras.Input((3,))
    keras.Model(x, keras.ops.sum(x)).save(folder / "total.keras")
    (repository / "taken").mkdir(parents=True)
    (repository / "taken" / "notes.txt").write_text("mine")

    def said(source: str, name: str = "model", output: str | None = None) -> str:
        try:
            run(
                FileExport(
                    source=str(folder / source),
                    repository=None if output else str(repository),
                    name=name,
                    output=output,
                    options=ExportOptions(),
                )
            )
        except ZooError as error:
            return str(error)
        return "ok"

    said_of = {
        "first": said("two.keras"),
        "another interface": said("three.keras"),
        "another name": said("three.keras", "three"),
        "no version": said("two.keras", "taken"),
        "no dimensions": said("total.keras", "total"),
        "to a file": said("total.keras", output=str(folder / "total.onnx")),
    }
    (repository / "taken").rename(folder / "moved away")
    return said_of | {"moved away": said("two.keras", "taken")}


# -- tf.keras 2 -----------------------------------------------------------------------------------------


def _of_keras_2(path: Path) -> None:
    """A file that says it is of tf.keras 2, with an argument that Keras 3 does not know."""
    whole = path.with_suffix(".whole.keras")
    _model().save(whole)
    edited(
        whole,
        path,
        metadata=lambda _: b'{"keras_version": "2.15.0", "date_saved": "2024-01-01"}',
        config=lambda old: old.replace(
            b'"units": 2', b'"units": 2, "batch_input_shape": [null, 3]'
        ),
    )


def without_tf_keras(folder: Path) -> dict[str, Any]:
    """What is said where tf-keras is not installed."""
    found, load_file.find_spec = load_file.find_spec, lambda name: None
    try:
        return exported("keras_2.keras", _of_keras_2, folder)
    finally:
        load_file.find_spec = found


def _keras_2_model() -> Any:
    """Layers whose configuration Keras 3 does not read: an LSTM, a shape beside an input."""
    import tf_keras

    layers = tf_keras.layers
    return tf_keras.Sequential(
        [layers.LSTM(4, input_shape=(5, 3), name="series"), layers.Dense(2, name="odds")]
    )


def _branches() -> Any:
    """Two inputs by name, two outputs, neither in the order of their names."""
    import tf_keras

    right, left = (tf_keras.layers.Input((3,), name=name) for name in ("right", "left"))
    both = tf_keras.layers.Concatenate()([left, right])
    heads = [tf_keras.layers.Dense(size, name=f"head_{size}")(both) for size in (2, 1)]
    return tf_keras.Model([right, left], heads)


def _subclassed(*, called: bool) -> Any:
    import tf_keras

    class Net(tf_keras.Model):  # type: ignore[misc, name-defined]  # tf-keras ships no types
        def __init__(self) -> None:
            super().__init__()
            self.last = tf_keras.layers.Dense(2)

        def call(self, x: Any, training: Any = False) -> Any:
            return self.last(x)

    net = Net()
    if called:
        net(np.zeros((1, 3), np.float32))
    return net


def _stateful() -> Any:
    import tf_keras

    return tf_keras.Sequential(
        [tf_keras.layers.LSTM(2, stateful=True, batch_input_shape=(2, 4, 3))]
    )


def in_memory(build: Callable[[], Any], folder: Path) -> dict[str, Any]:
    """Export a model that was not saved; how far the file is from what tf-keras answers."""
    import onnxruntime

    seed_everything(3)
    model, path = build(), folder / "memory.onnx"
    try:
        report = zoo.export_model(model, path)
    except ZooError as error:
        return {"refused": str(error)}
    session = onnxruntime.InferenceSession(path)
    generator = np.random.default_rng(1)
    feeds = {
        i["name"]: generator.normal(size=(4, *i["shape"][1:])).astype(np.float32)
        for i in report.inputs
    }
    answers = model.predict(feeds if len(feeds) > 1 else next(iter(feeds.values())), verbose=0)
    expected = answers if isinstance(answers, list) else [answers]
    given = session.run(None, feeds)
    return {
        "inputs": [tensor["name"] for tensor in report.inputs],
        "outputs": [tensor["name"] for tensor in report.outputs],
        "operators": report.nodes,
        "difference": max(float(np.abs(a - b).max()) for a, b in zip(expected, given, strict=True)),
    }


def _tf_keras_file(name: str, folder: Path) -> dict[str, Any]:
    return exported(
        name, lambda path: _keras_2_model().save(path), folder, trust=name.endswith("h5")
    )


def lines_followed(folder: Path) -> dict[str, Any]:
    """Run the line that the refusal has, where tf-keras is, and export the folder that it writes."""
    _keras_2_model().save(folder / "lines.keras")
    found, load_file.find_spec = load_file.find_spec, lambda name: None
    try:
        refusal = exported("lines.keras", lambda path: None, folder)["text"]
    finally:
        load_file.find_spec = found
    line = refusal.partition("where tf-keras is: python ")[2].partition(", and zoo export")[0]
    subprocess.run(
        [sys.executable, *shlex.split(line)],
        cwd=folder,
        check=True,
        capture_output=True,
        timeout=200,
    )
    name, option = refusal.rpartition("zoo export ")[2].split()
    said = exported(name, lambda path: None, folder, trust=option == "--trust")
    shutil.rmtree(folder / name)
    return said


CASES: dict[str, Callable[[Path], Any]] = {
    **{name: partial(exported, name, write) for name, write in REFUSED.items()},
    **{f"{name}, plain": partial(exported, name, write) for name, write in SAVED.items()},
    **{f"{name}, trusted": partial(exported, name, write, trust=True) for name, write in SAVED.items()},
    "weights loaded": weights_loaded,
    "signature written": signature_written,
    "hdf5": hdf5,
    "repository": in_a_repository,
    "without tf-keras": without_tf_keras,
    "path": lambda folder: in_memory(lambda: "mine.keras", folder),
} | ({} if not TF_KERAS else {
    "sequential": partial(in_memory, _keras_2_model),
    "branches": partial(in_memory, _branches),
    "subclassed": partial(in_memory, partial(_subclassed, called=True)),
    "uncalled": partial(in_memory, partial(_subclassed, called=False)),
    "stateful": partial(in_memory, _stateful),
    "file.keras": partial(_tf_keras_file, "two.keras"),
    "file.h5": partial(_tf_keras_file, "two.h5"),
    "lines": lines_followed,
})  # fmt: skip
