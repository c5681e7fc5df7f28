"""Random numbers at inference: a file draws them as the model does, and what it makes of them is proven."""

from collections.abc import Callable

import pytest

from tests.zoo.export.random_cases import MODELS
from tests.zoo.keras_process import Outcomes


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Every model of random_cases.py, exported in one process."""
    return cases("tests.zoo.export.random_cases", tmp_path_factory.mktemp("random"))


@pytest.mark.parametrize(
    ("name", "mean", "deviation"),
    [
        ("uniform", 4.0, 4 / 12**0.5),
        ("normal", 3.0, 0.5),
        ("difference", 1.0, 2**0.5),
        ("dropped", 1.0, 1.0),
        ("shuffled", 19.5, (1599 / 12) ** 0.5),
        ("twice_as_many", 0.0, 1.0),
        ("of_tensorflow", 1.0, 1.0),
        ("next_seeds", 1.0, 2**0.5),
    ],
)
def test_a_file_draws_as_the_model_does(
    exports: Outcomes, name: str, mean: float, deviation: float
) -> None:
    """Anew in each call, of the same distribution: of 12000 numbers or more, to some 5 deviations of the mean."""
    said = exports[name]

    assert said["text"] == ""
    assert said["differ"]
    assert said["mean"] == pytest.approx(mean, abs=0.07)
    assert said["deviation"] == pytest.approx(deviation, abs=0.07)


def test_the_numbers_are_no_inputs(exports: Outcomes) -> None:
    """They are while the file is compared, which the report says."""
    said = exports["autoencoder"]

    assert said["text"] == ""
    assert said["differ"]
    assert said["inputs"] == 1
    assert said["outputs"] == [["batch", 4]]
    assert said["max_abs"] < 1e-5
    assert said["notes"][0].startswith("the file draws random numbers, anew in each call (1 times)")


def test_they_have_the_shape_that_the_model_asks_for(exports: Outcomes) -> None:
    """Computed from the input's, whatever the batch is."""
    assert exports["twice_as_many"]["shape"] == [6000, 3]


def test_weights_may_lie_beside(exports: Outcomes) -> None:
    assert exports["external"] == {"data": True, "shape": [6, 4]}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gamma", "draws random numbers at inference (StatelessRandomGammaV3)"),
        ("one_seed", "draws the same numbers twice"),
        ("looped", "not every call draws as many random numbers at the same places"),
    ],
)
def test_what_onnx_cannot_draw_is_refused(exports: Outcomes, name: str, words: str) -> None:
    assert words in exports[name]["text"]
    assert not exports[name]["left"]


def test_what_goes_without_random_numbers_is_refused(exports: Outcomes) -> None:
    states, quantize = exports["refused"]

    assert states == quantize
    assert "leave states and quantize out" in states


def test_an_export_leaves_the_seeds_as_they_are(exports: Outcomes) -> None:
    """Keras is asked many times, and draws in each; also where the export is refused."""
    kept = {name: exports[name]["kept"] for name in MODELS}

    assert kept == dict.fromkeys(MODELS, True)
