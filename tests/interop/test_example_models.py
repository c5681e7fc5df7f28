"""The models that Triton's client examples ask for load, and answer what the examples assert."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from zoo_server.config import ServerConfig
from zoo_server.server import running

pytestmark = pytest.mark.interop


def _example_models() -> Any:
    """Return the module beside this file, as client_examples.py sees it."""
    path = Path(__file__).with_name("example_models.py")
    spec = importlib.util.spec_from_file_location("example_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory):
    """A client of a server of all of them."""
    path = tmp_path_factory.mktemp("examples") / "models"
    _example_models().write(path)
    options = {"grpc_port": 0, "http_port": None, "metrics_port": None, "drain_seconds": 2.0}
    with (
        running(ServerConfig(repository=path, **options)) as server,
        triton.InferenceServerClient(server.grpc_address) as connected,
    ):
        yield connected


def test_all_are_ready(client) -> None:
    """Twelve models, of which the index of the control examples lists eight and seven."""
    models = _example_models()
    index = client.get_model_repository_index().models

    assert {entry.state for entry in index} == {"READY"}
    assert len(index) == 12
    assert (len(models.COUNTED_BY_GRPC), len(models.COUNTED_BY_HTTP)) == (8, 7)


@pytest.mark.parametrize(
    ("model", "sequence", "answers"),
    [
        ("simple_sequence", 7, [3, 4, 5]),
        ("simple_sequence", "a name", [3, 4, 5]),
        ("simple_dyna_sequence", 7, [3, 4, 12]),
        ("simple_string_dyna_sequence", "7", [2, 6, 18]),
    ],
)
def test_sequences_answer_as_the_examples_expect(client, model, sequence, answers) -> None:
    """One more at the start; a running sum; the id added at the end."""
    outputs = []
    for at, value in enumerate((2, 4, 5)):
        tensor = triton.InferInput("INPUT", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.full((1, 1), value, np.int32))
        result = client.infer(
            model, [tensor], sequence_id=sequence, sequence_start=at == 0, sequence_end=at == 2
        )
        outputs.append(result.as_numpy("OUTPUT").item())

    assert outputs == answers


def test_an_ensemble_reads_a_picture_and_names_its_class(client) -> None:
    """As ensemble_image_client.py asks: files as BYTES, one class of each."""
    models = _example_models()
    values = [" 20 200 90", " 9 8 77"]
    texts = [models.TEXT_HEAD + value * models.TEXT_SIDE**2 for value in values]
    sent = triton.InferInput("INPUT", [2, 1], "BYTES")
    sent.set_data_from_numpy(np.array([[text.encode()] for text in texts], dtype=object))
    wanted = triton.InferRequestedOutput("OUTPUT", class_count=1)
    answer = client.infer("preprocess_inception_ensemble", [sent], outputs=[wanted])

    names = [one.decode().split(":")[2] for one in answer.as_numpy("OUTPUT")[:, 0]]
    assert names == ["green", "blue"]
