"""Saves Keras models whole and in every broken way, exports each, and prints what was said."""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.export.from_file import Request, run
from zoo.training.framework import import_keras

keras = import_keras().keras
layers = keras.layers

Edit = Callable[[bytes], bytes | None]


class Mine(layers.Layer):
    """A layer that nobody registered."""

    def call(self, x: Any) -> Any:
        return x * 3


class Net(keras.Model):
    """A model that nobody registered, and nobody called."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.last = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(x)


def save_all(folder: Path) -> None:
    """Save what Keras saves without complaint."""
    good = keras.Sequential(
        [
            keras.Input((6,), name="row"),
            layers.Dense(64, activation="relu"),
            layers.Dense(2, name="odds"),
        ]
    )
    good.save(folder / "good.keras")
    good.save(folder / "old.h5")
    doubling = layers.Lambda(lambda x: x * 2, output_shape=(3,))
    keras.Sequential([keras.Input((3,)), doubling]).save(folder / "lambda.keras")
    keras.Sequential([keras.Input((3,)), Mine()]).save(folder / "custom.keras")
    keras.Sequential([layers.Dense(4)]).save(folder / "lazy.keras")
    Net().save(folder / "subclassed.keras")


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


def break_all(folder: Path) -> None:
    """Make of the good file every bad one."""
    good = folder / "good.keras"
    data = good.read_bytes()
    metadata = json.dumps({"keras_version": "9.1.0", "date_saved": "2031-01-01"}).encode()
    edited(good, folder / "future.keras", config=_with({"sparkle": 1}), metadata=lambda _: metadata)
    edited(good, folder / "config.keras", config=lambda _: b'{"a')
    edited(good, folder / "weights.keras", model=lambda old: old[:500])
    edited(good, folder / "no_weights.keras", model=lambda _: None)
    edited(good, folder / "other_weights.keras", config=_with({"units": 7}))
    (folder / "truncated.keras").write_bytes(data[:9000])
    (folder / "empty.keras").write_bytes(b"")
    (folder / "text.keras").write_text("not a model\n")
    shutil.copy(folder / "old.h5", folder / "renamed.keras")
    with zipfile.ZipFile(folder / "zip.keras", "w") as archive:
        archive.writestr("notes.txt", "holiday pictures")
    damaged = bytearray(data)
    damaged[data.index(b"model.weights.h5") + 2000] ^= 0xFF
    (folder / "damaged.keras").write_bytes(damaged)
    (folder / "folder.keras").mkdir()


def exported(source: Path, **options: Any) -> dict[str, Any]:
    """Export one file; what was said, and what was left beside it."""
    target = source.parent / "out"
    target.mkdir()
    try:
        report = run(Request(source=str(source), output=str(target / "out.onnx"), **options))
        said = {"kind": "ok", "status": 0, "text": str(report["nodes"])}
    except ZooError as error:
        said = {"kind": type(error).__name__, "status": error.exit_status, "text": str(error)}
    said["left"] = sorted(path.name for path in target.iterdir())
    shutil.rmtree(target)
    return said


def main() -> None:
    """Save, break, export."""
    folder = Path(sys.argv[1])
    save_all(folder)
    break_all(folder)
    found = {path.stem: exported(path) for path in sorted(folder.glob("*.keras"))}
    found["absent"] = exported(folder / "absent.keras")
    found["old"] = exported(folder / "old.h5")
    found["old, trusted"] = exported(folder / "old.h5", trust=True)
    found["lambda, trusted"] = exported(folder / "lambda.keras", trust=True)
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main()
