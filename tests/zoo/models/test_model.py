"""Models are found, loaded and asked by name, folder, file and server; the answers speak words."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import zoo
from tests.zoo.models.graphs import write_classifier, write_running_sum
from zoo.errors import UsageError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two versions of a classifier."""
    for version in (1, 2):
        write_classifier(tmp_path / "models/sides" / str(version) / "model.onnx")
    return tmp_path / "models"


def test_a_model_is_found_by_name_folder_and_file(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest version, unless one is named."""
    folder = repository / "sides"
    monkeypatch.chdir(repository.parent)
    for model in (
        zoo.load("sides"),
        zoo.load("sides", repository=repository),
        zoo.load(folder),
        zoo.load(folder / "2"),
        zoo.load(str(folder / "2/model.onnx")),
    ):
        assert (model.name, model.version) == ("sides", "2")
    assert zoo.load("sides", version=1).version == "1"
    assert zoo.list_models() == ["sides"]


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("side", None, "has no model 'side': did you mean sides?"),
        ("sides", 9, "sides has no version 9: it has 1, 2"),
        ("gone.onnx", None, "gone.onnx: there is no such file"),
        ("some/where", None, "some/where: there is no such folder"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(
    repository: Path, name: str, version: int | None, message: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        zoo.load(name, version=version, repository=repository)
    with pytest.raises(UsageError, match=r"there is no .*nowhere: name a model repository"):
        zoo.list_models(repository=repository / "nowhere")


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no model\n")
    with pytest.raises(UsageError, match=r"broken.onnx cannot be loaded: .+") as refused:
        zoo.load(tmp_path / "broken.onnx")

    assert "\n" not in str(refused.value)


def test_answers_have_labels_and_probabilities(repository: Path) -> None:
    """Likeliest first; one answer for each row, however many."""
    model = zoo.load("sides", repository=repository)
    (answer,) = model.predict([3.0, 1.0])
    many = model.predict(np.tile([[1.0, 2.0]], (3000, 1)))

    assert answer.label == "left"
    assert list(answer.probabilities) == ["left", "right"]
    assert str(answer) == "left (88.1%)"
    assert answer.to_json()["probabilities"]["left"] == pytest.approx(0.8808, abs=1e-4)
    assert len(many) == 3000
    assert {row.label for row in many} == {"right"}
    assert model.predict({"r": 3.0, "l": 1.0})[0].label == "right"
    assert model.session.get_inputs()[0].name == "x"
    feeds = model.preprocess([3, 1])
    assert model.postprocess(model.run(feeds))[0].label == "left"


def test_the_rows_of_a_model_with_a_state_are_one_sequence(tmp_path: Path) -> None:
    """The state starts at zero with each call, and goes from row to row."""
    model = zoo.load(write_running_sum(tmp_path / "sum.onnx"))

    for _ in range(2):
        answers = model.predict([1, 2, 4])
        assert [answer.value for answer in answers] == [1, 3, 7]
    assert str(answers[-1]) == "7 metres"
    assert [spec.name for spec in model.inputs] == ["value"]


def test_models_are_compared_on_the_same_rows(tmp_path: Path) -> None:
    first = write_classifier(tmp_path / "first.onnx")
    second = write_classifier(tmp_path / "second.onnx", classes="right,left")
    both = zoo.compare([first, second], [[3, 1], [1, 3]], answers=["left", "right"])

    assert both.agreement == 0
    assert both.scores == {"first": 1.0, "second": 0.0}
    assert str(both).splitlines()[0].split() == ["row", "first", "second"]
    with pytest.raises(UsageError, match="same name"):
        zoo.compare([first, first], [[3, 1]])


def test_importing_and_asking_loads_no_framework(repository: Path) -> None:
    code = (
        "import sys, zoo; zoo.load('sides', repository=sys.argv[1]).predict([1, 2]);"
        "wrong = {'tensorflow', 'keras', 'onnx', 'pandas', 'sklearn', 'grpc'} & set(sys.modules);"
        "assert not wrong, wrong"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(repository)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_a_published_model_answers_here_as_on_the_server(trained, address: str) -> None:  # type: ignore[no-untyped-def]
    """Every model: the same object over the wire, and both are what Keras answers."""
    for name in trained.names:
        feeds, expected = trained.keras(name)
        here = zoo.load(name, repository=trained.repository)
        with zoo.load(name, server=address) as there:
            assert there.version == here.version
            assert [s.image for s in there.inputs] == [s.image for s in here.inputs]
            for model in (here, there):
                outputs = model.run(model.preprocess(**feeds))
                for key, array in expected.items():
                    np.testing.assert_allclose(outputs[key], array, rtol=1e-3, atol=1e-3)


def test_a_step_is_asked_here_and_on_the_server(trained, address: str) -> None:  # type: ignore[no-untyped-def]
    """A sequence ends where the model of whole windows does."""
    values = [104.0, 63.0, 40.0, 22.0, 7.0]
    repository = trained.repository
    whole = zoo.load("lstm_sunspots", repository=repository).predict(values)[0]
    here = zoo.load("lstm_sunspots_step", repository=repository).predict(values)
    with zoo.load("lstm_sunspots_step", server=address) as model:
        there = model.predict(values)

    assert len(here) == len(there) == 5
    assert here[-1].value == pytest.approx(whole.value, rel=1e-4)
    assert there[-1].value == pytest.approx(whole.value, rel=1e-4)
    assert whole.units == "sunspots"


def test_a_blank_image_is_answered_with_nothing_drawn(trained) -> None:  # type: ignore[no-untyped-def]
    """In a batch too, and the others keep their answers."""
    model = zoo.load("cnn_digits10", repository=trained.repository)
    digit = trained.keras("cnn_digits10")[0]["image"][:1]
    blank = Image.new("L", (64, 64), "white")

    assert str(model.predict(blank)[0]) == "nothing drawn"
    first, second = model.predict(np.concatenate([digit, np.zeros_like(digit)]))
    assert first.label is not None
    assert (second.label, second.note) == (None, "nothing drawn")


def test_what_is_published_is_listed_with_its_facts(trained) -> None:  # type: ignore[no-untyped-def]
    repository = trained.repository
    names = zoo.list_models("cnn*", task="multiclass", repository=repository)
    facts = zoo.info("dense_iris", repository=repository)

    assert "cnn_digits10" in names
    assert "cnn_digit_pair" not in names
    assert facts.classes == ("setosa", "versicolor", "virginica")
    assert facts.weights == 67
    assert facts.metric["value"] > 0.8


def test_the_keras_model_is_the_one_that_was_exported(python, trained) -> None:  # type: ignore[no-untyped-def]
    """It answers like the file, and can be trained on; a model without one says so."""
    code = (
        "import sys, numpy as np, zoo\n"
        "model = zoo.load_keras('dense_iris', repository=sys.argv[1])\n"
        "x = np.float32([[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.7, 1.6]])\n"
        "here = zoo.load('dense_iris', repository=sys.argv[1]).predict(x)\n"
        "np.testing.assert_allclose(model(x), [row.values for row in here], atol=1e-5)\n"
        "model.compile('sgd', 'sparse_categorical_crossentropy')\n"
        "model.fit(x, np.int32([0, 1]), verbose=0)\n"
    )
    done = python("-c", code, trained.repository)

    assert done.returncode == 0, done.stderr


def test_a_model_without_a_keras_file_says_so(repository: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no .*model\.keras: recipes alone"):
        zoo.load_keras("sides", repository=repository)
