"""A small GPT with its cache as a state: published, served, and asked token by token."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import zoo
from tests.zoo.export.gpt_cases import LENGTH, TOKENS
from tests.zoo.keras_process import Outcomes
from zoo.client import Client

#: TensorFlow, two exports and a server.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the models are published, below `models`."""
    return tmp_path_factory.mktemp("generation")


@pytest.fixture(scope="module")
def exports(cases: Callable[..., Outcomes], folder: Path) -> Outcomes:
    """Every case of gpt_cases.py, in one process."""
    return cases("tests.zoo.export.gpt_cases", folder)


@pytest.fixture(scope="module")
def server(
    exports: Outcomes, folder: Path, serving: Callable[..., AbstractContextManager[str]]
) -> Iterator[str]:
    """The address of a server of both."""
    assert exports["published"]
    with serving(folder / "models") as port:
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("name", ["gpt", "gpt_grows"])
def test_token_by_token_it_gives_what_the_whole_model_gives(
    exports: Outcomes, server: str, name: str
) -> None:
    """Three sequences at once, each from its first token to the last that fits."""
    expected = np.array(exports["published"]["logits"])

    def generate(row: int) -> Any:
        with Client(server) as client:
            steps = client.sequence(name)
            return [steps.infer(TOKENS[row : row + 1, at : at + 1])[0] for at in range(LENGTH)]

    with ThreadPoolExecutor(len(TOKENS)) as pool:
        answers = np.array(list(pool.map(generate, range(len(TOKENS)))))

    assert np.abs(answers - expected).max() < 5e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["gpt", "gpt_grows"])
def test_the_file_alone_says_what_its_states_are(
    exports: Outcomes, folder: Path, name: str
) -> None:
    """Rows are the steps of one sequence, as for a recurrent model."""
    expected = np.array(exports["published"]["logits"])
    with zoo.load(folder / "models" / name / "1" / "model.onnx") as model:
        answers = model.run({"token": TOKENS[0][:, None]})

    assert np.abs(answers["logits"] - expected[0]).max() < 5e-5 * np.abs(expected).max()


def test_what_is_no_state_is_refused(exports: Outcomes) -> None:
    """By the name of the input or output that does not fit."""
    other, absent, unknown, half, twice = exports["refused"]

    assert "logits is float32[None, 29], and cache, which it becomes" in other
    assert "after is no output: there are logits, next_cache, next_position" in absent
    assert "before is no input: there are token, position, cache" in unknown
    assert half.startswith("states='cache': must be 'inputs', or inputs with the outputs")
    assert "a name is there twice" in twice
