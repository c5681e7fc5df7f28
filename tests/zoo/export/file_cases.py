"""Keras models saved whole and in every broken way, each exported (test_from_file.py)."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.export.from_file import FileExport, run
from zoo.export.options import ExportOptions
from zoo.training.framework import import_keras

Edit = Callable[[bytes], bytes | None]
Write = Callable[[Path], object]


def good(path: Path) -> None:
    """Two layers, with weights."""
    keras = import_keras().keras
    keras.Sequential(
        [
            keras.Input((6,), name="row"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(2, name="odds"),
        ]
    ).save(path)


def with_lambda(path: Path) -> None:
    """A layer that is Python code."""
    keras = import_keras().keras
    doubling = keras.layers.Lambda(lambda x: x * 2, output_shape=(3,))
    keras.Sequential([keras.Input((3,)), doubling]).save(path)


def with_custom_layer(path: Path) -> None:
    """A layer that nobody registered."""
    keras = import_keras().keras

    class Mine(keras.layers.Layer):  # type: ignore[misc, name-defined]  # Keras ships no types
        def call(self, x: Any) -> Any:
            return x * 3

    keras.Sequential([keras.Input((3,)), Mine()]).save(path)


def subclassed(path: Path) -> None:
    """A model that nobody registered, and nobody called."""
    keras = import_keras().keras

    class Net(keras.Model):  # type: ignore[misc, name-defined]  # likewise
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.last = keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.last(x)

    Net().save(path)


def without_shapes(path: Path) -> None:
    """A model that was never built."""
    keras = import_keras().keras
    keras.Sequential([keras.layers.Dense(4)]).save(path)


def edited(source: Path, target: Path, **edits: Edit) -> None:
    """Copy an archive with some members changed, or left out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data: bytes | None = old.read(name)
            for stem, edit in edits.items():
                if name.startswith(stem) and data is not None:
                    data = edit(data)
            if data is not None:
                new.writestr(name, data)


def _with(layer: dict[str, Any]) -> Edit:
    def edit(data: bytes) -> bytes:
        config = json.loads(data)
        config["config"]["layers"][1]["config"] |= layer
        return json.dumps(config).encode()

    return edit


def broken(path: Path, **edits: Edit) -> None:
    """Save the good file with some members of its archive edited."""
    good(path)
    whole = path.rename(path.with_suffix(".whole"))
    edited(whole, path, **edits)


def truncated(path: Path) -> None:
    """The first bytes of the good file."""
    good(path)
    path.write_bytes(path.read_bytes()[:9000])


def damaged(path: Path) -> None:
    """The good file with one byte of its weights turned over."""
    good(path)
    data = bytearray(path.read_bytes())
    data[data.index(b"model.weights.h5") + 2000] ^= 0xFF
    path.write_bytes(data)


def renamed(path: Path) -> None:
    """The old format under the new one's name."""
    good(path.with_suffix(".h5"))
    path.with_suffix(".h5").rename(path)


def other_zip(path: Path) -> None:
    """An archive of something else."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", "holiday pictures")


FUTURE = json.dumps({"keras_version": "9.1.0", "date_saved": "2031-01-01"}).encode()

#: How each .keras file is written; "absent" is not.
FILES: dict[str, Write] = {
    "good": good,
    "lambda": with_lambda,
    "custom": with_custom_layer,
    "lazy": without_shapes,
    "subclassed": subclassed,
    "future": partial(broken, config=_with({"sparkle": 1}), metadata=lambda _: FUTURE),
    "config": partial(broken, config=lambda _: b'{"a'),
    "weights": partial(broken, model=lambda old: old[:500]),
    "no_weights": partial(broken, model=lambda _: None),
    "other_weights": partial(broken, config=_with({"units": 7})),
    "truncated": truncated,
    "empty": Path.touch,
    "text": lambda path: path.write_text("not a model\n"),
    "renamed": renamed,
    "zip": other_zip,
    "damaged": damaged,
    "folder": Path.mkdir,
    "absent": lambda path: None,
}


def exported(name: str, write: Write, folder: Path, **options: Any) -> dict[str, Any]:
    """Export one file; what was said, and what was left beside it."""
    source, target = folder / name, folder / f"{name} exported"
    if not source.exists():
        write(source)
    target.mkdir()
    try:
        report = run(
            FileExport(
                source=str(source),
                output=str(target / "out.onnx"),
                options=ExportOptions(),
                **options,
            )
        )
        said = {"kind": "ok", "status": 0, "text": str(report["nodes"])}
    except ZooError as error:
        said = {"kind": type(error).__name__, "status": error.exit_status, "text": str(error)}
    said["left"] = sorted(path.name for path in target.iterdir())
    shutil.rmtree(target)
    return said


#: The class that with_custom_layer saves, for --module; not decorated, as it was not when saved.
MINE = """
import keras

class Mine(keras.layers.Layer):
    def call(self, x):
        return x * 3
"""


def exported_with_module(folder: Path) -> dict[str, Any]:
    """Do what the refusal of a foreign layer says."""
    module = folder / "mine.py"
    module.write_text(MINE)
    return exported("custom.keras", with_custom_layer, folder, modules=(str(module),))


CASES: dict[str, Callable[[Path], Any]] = {
    name: partial(exported, f"{name}.keras", write) for name, write in FILES.items()
} | {
    "old": partial(exported, "old.h5", good),
    "old, trusted": partial(exported, "old.h5", good, trust=True),
    "lambda, trusted": partial(exported, "lambda.keras", with_lambda, trust=True),
    "custom, module": exported_with_module,
}
