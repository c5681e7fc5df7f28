"""A model exported with its weights outside, into files and into a repository (test_external_data.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.export.from_file import FileExport, run
from zoo.export.from_model import export_model
from zoo.export.options import ExportOptions
from zoo.training.framework import import_keras

#: Of the repository's model.
NAME = "outside"


def model(seed: int = 0) -> Any:
    """A convolution and two dense layers; biases are too small to lie outside."""
    keras = import_keras().keras
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(4, name="answer"),
        ],
        name="small",
    )


def _said(report: Any) -> dict[str, Any]:
    values: dict[str, Any] = report.to_json()
    return {key: values[key] for key in ("path", "data", "bytes", "sha256", "nodes", "notes")}


def both_ways(folder: Path) -> Any:
    """The same model in one file, in two, and in two once more."""
    net = model()
    return {
        "one": _said(export_model(net, folder / "one.onnx")),
        "two": _said(export_model(net, folder / "two.onnx", external_data=True)),
        "again": _said(export_model(net, folder / "again.onnx", external_data=True)),
    }


def replaced(folder: Path) -> Any:
    """One path gets a model with external data, another such, and one without."""
    place = folder / "replaced"
    place.mkdir()
    rows = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    steps = []
    for seed, external in ((0, True), (1, True), (2, False)):
        net = model(seed)
        export_model(net, place / "m.onnx", external_data=external)
        steps.append(
            {"files": sorted(p.name for p in place.iterdir()), "worst": _worst(place, net, rows)}
        )
    return steps


def _worst(place: Path, net: Any, rows: np.ndarray) -> float:
    from zoo.parity.runtimes import OnnxRuntime

    (given,) = OnnxRuntime().load(place / "m.onnx")({"image": rows}).values()
    return float(np.abs(given - net(rows)).max())


def foreign(folder: Path) -> Any:
    """A file of somebody else's has the name that the data would get."""
    place = folder / "foreign"
    place.mkdir()
    (place / "m.onnx.data").write_bytes(b"mine")
    try:
        export_model(model(), place / "m.onnx", external_data=True)
    except ZooError as error:
        left = {path.name: path.read_bytes().decode() for path in place.iterdir()}
        return {"kind": type(error).__name__, "text": str(error), "left": left}
    return None


def published(folder: Path) -> Any:
    """Two versions in a repository that differ in their weights alone, and one that is up to date."""
    versions = []
    for seed in (0, 1, 1):
        model(seed).save(folder / "small.keras")
        report = run(
            FileExport(
                source=str(folder / "small.keras"),
                repository=str(folder / "models"),
                name=NAME,
                options=ExportOptions(external_data=True),
            )
        )
        versions.append(report["version"])
    return versions


CASES: dict[str, Callable[[Path], Any]] = {
    "both ways": both_ways,
    "replaced": replaced,
    "foreign": foreign,
    "published": published,
}
