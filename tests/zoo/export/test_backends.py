"""A .keras file is the same under every backend of Keras: what jax saved is exported, and answers as jax did."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.zoo.export.backend_cases import MODELS
from tests.zoo.keras_process import ROOT, Outcomes

#: jax takes its time to compile, and is installed by `make test-all` alone.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed"),
]

IN_MEMORY = """
import keras, zoo, zoo.errors
model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
try:
    zoo.export_model(model, "model.onnx")
except zoo.errors.UsageError as error:
    print(error)
    model.save("model.keras")
"""


def _under_jax(folder: Path, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """The models that jax saved, exported in a process with TensorFlow."""
    folder = tmp_path_factory.mktemp("backends")
    _under_jax(folder, "-m", "tests.zoo.export.backend_cases", folder)
    return cases("tests.zoo.export.backend_cases", folder)


@pytest.mark.parametrize("name", [*MODELS, "attention"])
def test_what_jax_saved_answers_as_jax_did(exports: Outcomes, name: str) -> None:
    """Traced by TensorFlow from the same file."""
    assert exports[name] < 1e-5


def test_a_layer_that_calls_jax_is_refused_and_one_of_keras_ops_exported(exports: Outcomes) -> None:
    """The one thing that another backend's model may have and TensorFlow cannot trace."""
    words = "a layer calls JAX itself, which TensorFlow cannot trace: write it with keras.ops"

    assert words in exports["own calls"]["text"]
    assert exports["by keras.ops"]["kind"] == "ok", exports["by keras.ops"]


def test_a_model_on_jax_in_memory_goes_through_a_file(
    zoo: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    """As its refusal says."""
    refusal = _under_jax(tmp_path, "-c", IN_MEMORY)

    assert "write it with model.save('model.keras'), and then zoo export model.keras" in refusal
    done = zoo("export", tmp_path / "model.keras", "-o", tmp_path / "model.onnx")
    assert done.returncode == 0, done.stderr
