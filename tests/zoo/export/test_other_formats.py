"""SavedModels and tf.keras 2 are exported; what people have besides is refused with what to do instead."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import zoo.client
from tests.zoo.export.format_cases import REFUSED, SAVED, TF_KERAS
from tests.zoo.keras_process import Outcomes

needs_tf_keras = pytest.mark.skipif(not TF_KERAS, reason="tf-keras is not installed")

WORDS = {
    "mine.weights.h5": "it holds weights alone: build the model, model.load_weights('mine.weights.h5'), "
    "write the whole with model.save('model.keras'), and export that",
    "checkpoint": "is a checkpoint of TensorFlow's: it holds weights alone",
    "mine.onnx": "is an ONNX file already: copy it to models/NAME/1/model.onnx, and zoo serve serves it",
    "mine.tflite": "is a TFLite file, which is converted already: export the Keras model",
    "mine.pt": "is a file of PyTorch's: PyTorch writes ONNX itself: torch.onnx.export(model, ",
    "old.pth": "is a Python pickle, as PyTorch wrote before 1.6",
    "module.keras": "has a TorchModuleWrapper, a pickled module of PyTorch's that TensorFlow cannot trace: "
    "write it with Keras's layers",
    "mine.safetensors": "is a safetensors file: it holds weights alone",
    "mine.json": "is text such as model.to_json() gives, without weights",
    "mine.npz": "is an .npz of arrays, and no model",
    "frozen.pb": "is no SavedModel: a graph alone says nothing of inputs and outputs",
    "saved_model.pb": "is the graph of a SavedModel: give its folder",
    "empty": "is a folder, and no SavedModel: it holds no saved_model.pb",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the cases write."""
    return tmp_path_factory.mktemp("formats")


@pytest.fixture(scope="module")
def said(cases: Callable[..., Outcomes], folder: Path) -> Outcomes:
    """What the exporter said to every file, in one process that knows TensorFlow."""
    return cases("tests.zoo.export.format_cases", folder)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_keras_model_is_named(said: Outcomes, name: str) -> None:
    """By its content, in one line that says what to do; nothing is written."""
    refusal = said[name]

    assert WORDS[name] in refusal["text"]
    assert (refusal["kind"], refusal["left"]) == ("UsageError", [])
    assert len(refusal["text"].splitlines()) == 1


@pytest.mark.parametrize("name", SAVED)
def test_a_saved_model_needs_trust(said: Outcomes, name: str) -> None:
    """It is a program."""
    assert (
        "is a SavedModel, a program that may read and write files: --trust runs it"
        in (said[f"{name}, plain"]["text"])
    )


@pytest.mark.parametrize("name", ["keras_3", "two_inputs", "only_signature"])
def test_a_saved_model_is_exported(said: Outcomes, name: str) -> None:
    """The signature that servers call, or the only one, held against TensorFlow."""
    outcome = said[f"{name}, trusted"]

    assert outcome["kind"] == "ok", outcome
    assert outcome["left"] == ["out.onnx"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_default", "has no signature serving_default, only more, sums: tf.saved_model.save("),
        ("counting", "changes variables in every call, and an ONNX graph keeps nothing"),
    ],
)
def test_a_saved_model_without_one_answer_is_refused(said: Outcomes, name: str, words: str) -> None:
    """Nobody says which function, or its answer depends on the calls before."""
    assert words in said[f"{name}, trusted"]["text"]


@pytest.mark.parametrize("name", ["weights loaded", "signature written"])
def test_the_lines_that_a_refusal_has_lead_to_a_file(said: Outcomes, name: str) -> None:
    """Followed as they stand."""
    assert said[name]["kind"] == "ok", said[name]


def test_an_old_file_is_exported_as_the_refusals_say(said: Outcomes) -> None:
    """Named as what it is, then trusted; or saved as .keras."""
    ways = said["hdf5"]

    assert "name it misnamed.h5" in ways["misnamed"]
    assert "load it and save it as .keras, or give --trust" in ways["old format"]
    assert (ways["trusted"], ways["saved"]) == ("ok", "ok")


def test_what_is_not_published_has_another_way(said: Outcomes) -> None:
    """Each is what the refusal says."""
    ways = said["repository"]

    assert ways["first"] == "ok"
    other = "publish in another --repository (a Keras file: or under another --name)"
    assert other in ways["another interface"]
    assert f"move it away, or {other}" in ways["no version"]
    assert "give -o OUT.onnx to write the file alone" in ways["no dimensions"]
    done = ("another name", "to a file", "moved away")
    assert {way: ways[way] for way in done} == dict.fromkeys(done, "ok")


def test_an_onnx_file_is_served_as_the_refusal_says(
    said: Outcomes,
    folder: Path,
    serving: Callable[..., AbstractContextManager[str]],
    tmp_path: Path,
) -> None:
    """Copied to its place, without a configuration."""
    assert "copy it to models/NAME/1/model.onnx" in said["mine.onnx"]["text"]
    place = tmp_path / "models/mine/1/model.onnx"
    place.parent.mkdir(parents=True)
    shutil.copy(folder / "mine.onnx", place)

    with serving(tmp_path / "models") as port, zoo.client.Client(f"127.0.0.1:{port}") as client:
        answer = client.infer("mine", np.zeros((2, 3), np.float32))

    assert answer.shape == (2, 2)


def test_a_path_is_no_model(said: Outcomes) -> None:
    """In Python: the command takes files."""
    assert "'mine.keras' is a path: zoo export mine.keras exports a file" in said["path"]["refused"]


def test_without_tf_keras_a_file_of_keras_2_has_two_ways(said: Outcomes) -> None:
    """Install it, or convert where it is; within one line of a terminal's few."""
    text = said["without tf-keras"]["text"]

    assert "is from Keras 2.15.0, and Keras 3 cannot load it" in text
    assert "pip install --no-deps tf-keras==2." in text
    assert "import tf_keras; tf_keras.models.load_model('keras_2.keras').export('keras_2')" in text
    assert len(text) < 500


@needs_tf_keras
@pytest.mark.parametrize("name", ["file.keras", "file.h5", "lines"])
def test_files_of_keras_2_are_exported(said: Outcomes, name: str) -> None:
    """Through tf-keras here, or through the SavedModel that the refusal's line writes."""
    assert said[name]["kind"] == "ok", said[name]


@needs_tf_keras
@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("sequential", ["series_input"], ["odds"]),
        ("branches", ["right", "left"], ["head_2", "head_1"]),
        ("subclassed", ["input"], ["output"]),
    ],
)
def test_models_of_keras_2_in_memory_are_exported(
    said: Outcomes, name: str, inputs: list[str], outputs: list[str]
) -> None:
    """Under their names, in their order, and answer as tf-keras does."""
    assert said[name]["inputs"] == inputs
    assert said[name]["outputs"] == outputs
    assert said[name]["difference"] < 1e-6


@needs_tf_keras
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("uncalled", "was never called, so its inputs are unknown: call it on one row"),
        ("stateful", "changes variables in every call"),
    ],
)
def test_models_of_keras_2_without_one_answer_are_refused(
    said: Outcomes, name: str, words: str
) -> None:
    """As those of Keras 3."""
    assert words in said[name]["refused"]
