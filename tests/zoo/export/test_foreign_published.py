"""Every export of a user's own file that succeeds passes `zoo verify`, `zoo show` and `zoo list`."""

import json
from pathlib import Path
from typing import Any

import pytest

#: In one process, since TensorFlow takes seconds to import.
PUBLISH = """
import sys
from pathlib import Path

import keras

from zoo.export.from_file import FileExport, run
from zoo.export.options import ExportOptions

folder, layers = Path(sys.argv[1]), keras.layers


def stack(shape, *rest):
    return keras.Sequential([keras.Input(shape), *rest])


left, right = keras.Input((3,), name="left"), keras.Input((4,), name="right")
joined = layers.Concatenate()([left, right])
series = keras.Input((5, 2), name="series")
twice, shared = keras.Input((4,), name="row"), layers.Dense(4)
models = {
    "lstm_relu": stack((5, 2), layers.LSTM(4, activation="relu"), layers.Dense(1)),
    "gru_softsign": stack((6, 2), layers.GRU(4, activation="softsign")),
    "gru": stack((6, 2), layers.GRU(4, return_sequences=True)),
    "two_inputs": keras.Model([left, right], layers.Dense(2)(joined)),
    "two_outputs": keras.Model([left, right], [layers.Dense(2)(joined), layers.Dense(1)(joined)]),
    "conv": stack((8, 8, 3), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(2, "softmax")),
    "states": keras.Model(series, layers.LSTM(3, return_state=True)(series)[:2]),
    "shared": keras.Model(twice, shared(shared(twice))),
    "nested": keras.Sequential([keras.Input((4,)), stack((4,), layers.Dense(3)), layers.ReLU()]),
}
for name, model in models.items():
    model.save(folder / f"{name}.keras")
    run(
        FileExport(
            source=str(folder / f"{name}.keras"),
            repository=str(folder / "models"),
            name=name,
            options=ExportOptions(portable=name == "gru"),
        )
    )
"""

NAMES = (
    "lstm_relu",
    "gru_softsign",
    "gru",
    "two_inputs",
    "two_outputs",
    "conv",
    "states",
    "shared",
    "nested",
)


@pytest.fixture(scope="module")
def models(python, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that they were published in."""
    folder = tmp_path_factory.mktemp("foreign")
    done = python("-c", PUBLISH, folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "models"


@pytest.fixture(scope="module")
def verified(zoo, models: Path) -> list[dict[str, Any]]:
    """What `zoo verify` says of them all."""
    done = zoo("verify", "--json", "--repository", models)
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


@pytest.fixture(scope="module")
def listed(zoo, models: Path) -> list[dict[str, Any]]:
    """What `zoo list` says of them all."""
    rows: list[dict[str, Any]] = json.loads(zoo("list", "--json", "--repository", models).stdout)
    return rows


@pytest.mark.parametrize("name", NAMES)
def test_what_was_exported_is_verified(verified: list[dict[str, Any]], name: str) -> None:
    """By the same rule: a runtime that the export left out is left out again, aloud."""
    mine = [row for row in verified if row["model"].partition("/")[0] == name]

    assert [row["model"] for row in mine] == (
        [name, f"{name}/model.portable.onnx"] if name == "gru" else [name]
    )
    assert all(row["ok"] and "onnxruntime" in row["runtimes"] for row in mine), mine
    left_out = {reason for row in mine for reason in row["skipped"].values()}
    assert bool(left_out) == (name in ("lstm_relu", "gru_softsign"))


@pytest.mark.parametrize("name", NAMES)
def test_what_was_exported_is_listed(listed: list[dict[str, Any]], name: str) -> None:
    """With its source, its size and how near it is to Keras."""
    (row,) = (row for row in listed if row["model"] == name)

    assert row["data"] == f"exported from {name}.keras"
    assert row["bytes"] > 0
    assert row["worst_difference"] < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_what_is_listed_is_shown(zoo, models: Path, name: str) -> None:
    """Its tensors, and its layers where each has one shape."""
    done = zoo("show", name, "--repository", models)

    assert done.returncode == 0, done.stderr
    assert f"{name}: exported from {name}.keras" in done.stdout
    assert "input " in done.stdout
    assert "output " in done.stdout
    assert ("parameters" in done.stdout) == (name != "states")
