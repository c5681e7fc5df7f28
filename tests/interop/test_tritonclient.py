"""The unmodified tritonclient, and plain stubs, get Keras's answers from every model."""

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.http as triton_http

from zoo.parity.compare import Tolerance, compare, scale_of
from zoo.recipes.registry import Registry
from zoo_proto import grpc_service_pb2, grpc_service_pb2_grpc

pytestmark = pytest.mark.interop

KNOWN = Registry.default()
#: A step is asked in sequences (test_step.py).
RECIPES = [KNOWN.get(name) for name in KNOWN.names()]
MODELS = tuple(sorted(r.name for r in RECIPES if r.step_of is None and r.dataset.home is None))

#: What the tutorial asks for; more may be added, none may go.
TUTORIAL = {
    "cnn_digits",
    "cnn_digits10",
    "cnn_rgb",
    "cnn_valid",
    "dense_cancer",
    "dense_diabetes",
    "dense_iris",
    "lstm_sunspots",
    "lstm_sunspots_sequence",
}


def test_every_model_is_published(trained) -> None:
    """The registry's models, the tutorial's nine among them, each trained and proven."""
    assert tuple(trained.names) == MODELS
    assert set(MODELS) >= TUTORIAL


def first(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The only tensor of a model's inputs or outputs."""
    (array,) = arrays.values()
    return array


@pytest.fixture(scope="module")
def client(address):
    """An unmodified tritonclient, connected."""
    with triton.InferenceServerClient(address) as connected:
        yield connected


@pytest.mark.parametrize("name", MODELS)
def test_tritonclient_gets_keras_answers(trained, client, name: str) -> None:
    """Within the parity bound on 64 held-out rows, in one request and row by row."""
    feeds, answers = trained.keras(name)
    metadata = client.get_model_metadata(name)
    assert [tensor.name for tensor in metadata.inputs] == list(feeds)
    assert [tensor.name for tensor in metadata.outputs] == list(answers)

    for chunk in (slice(None), slice(0, 1), slice(3, 4)):
        tensors = []
        for tensor in metadata.inputs:
            rows = feeds[tensor.name][chunk]
            tensors.append(triton.InferInput(tensor.name, list(rows.shape), tensor.datatype))
            tensors[-1].set_data_from_numpy(rows)
        result = client.infer(name, tensors)
        for output, expected in answers.items():
            verdict = compare(
                expected[chunk],
                result.as_numpy(output),
                Tolerance(),
                argmax=expected.ndim == 2 and expected.shape[1] > 1,
                scale=scale_of(expected),
            )
            assert verdict["ok"], verdict["reason"]


@pytest.mark.parametrize("name", MODELS)
def test_the_configuration_tells_people_what_they_need(client, name: str) -> None:
    """Task, and classes or units, travel with the model."""
    config = client.get_model_config(name).config
    parameters = {key: value.string_value for key, value in config.parameters.items()}

    assert config.max_batch_size > 0
    assert parameters["task"] in ("multiclass", "binary", "regression", "forecast")
    assert parameters.get("classes") or parameters.get("units")


def test_classification_comes_with_labels(trained, client) -> None:
    """The top class of an iris is named."""
    rows, answers = (first(side) for side in trained.keras("dense_iris"))
    tensor = triton.InferInput("measurements", [1, 4], "FP32")
    tensor.set_data_from_numpy(rows[:1])
    output = triton.InferRequestedOutput("probabilities", class_count=1)
    (text,) = client.infer("dense_iris", [tensor], outputs=[output]).as_numpy("probabilities")[0:1]
    value, index, label = text.item().decode().split(":") if text.ndim else text.decode().split(":")

    assert int(index) == answers[0].argmax()
    assert float(value) == pytest.approx(answers[0].max(), rel=1e-5)
    assert label == ("setosa", "versicolor", "virginica")[int(index)]


@pytest.mark.parametrize("name", MODELS)
def test_tritonclient_over_http_gets_the_same(trained, addresses, client, name: str) -> None:
    """The same rows over REST, as bytes and as JSON: the same answers as over gRPC, to the bit."""
    feeds, answers = trained.keras(name)
    by_grpc, by_http = [], []
    for tensor in client.get_model_metadata(name).inputs:
        rows = feeds[tensor.name][:8]
        by_grpc.append(triton.InferInput(tensor.name, list(rows.shape), tensor.datatype))
        by_grpc[-1].set_data_from_numpy(rows)
        by_http.append(triton_http.InferInput(tensor.name, list(rows.shape), tensor.datatype))
        by_http[-1].set_data_from_numpy(rows, binary_data=len(by_http) % 2 == 0)
    expected = client.infer(name, by_grpc)
    with triton_http.InferenceServerClient(addresses["HTTP"]) as web:
        binary = web.infer(name, by_http)
        outputs = [triton_http.InferRequestedOutput(key, binary_data=False) for key in answers]
        plain = web.infer(name, by_http, outputs=outputs)

    for output in answers:
        np.testing.assert_array_equal(binary.as_numpy(output), expected.as_numpy(output))
        np.testing.assert_array_equal(plain.as_numpy(output), expected.as_numpy(output))


def test_statistics_count_what_was_asked(client, trained) -> None:
    """Rows and runs rise with each request."""
    rows = first(trained.keras("lstm_sunspots")[0])

    def counts() -> tuple[int, int]:
        (stats,) = client.get_inference_statistics("lstm_sunspots").model_stats
        return stats.inference_count, stats.inference_stats.success.count

    before = counts()
    tensor = triton.InferInput("years", list(rows[:5].shape), "FP32")
    tensor.set_data_from_numpy(rows[:5])
    client.infer("lstm_sunspots", [tensor])

    assert counts() == (before[0] + 5, before[1] + 1)


def test_plain_stubs_get_the_same(trained, address) -> None:
    """The README's second example: generated stubs and numpy, nothing else."""
    import grpc

    rows, answers = (first(side) for side in trained.keras("dense_iris"))
    with grpc.insecure_channel(address) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = grpc_service_pb2.ModelInferRequest(model_name="dense_iris")
        request.inputs.add(name="measurements", datatype="FP32", shape=rows.shape)
        request.raw_input_contents.append(rows.tobytes())
        response = stub.ModelInfer(request)
    answer = np.frombuffer(response.raw_output_contents[0], np.float32).reshape(
        response.outputs[0].shape
    )

    assert compare(answers, answer, Tolerance(), argmax=True)["ok"]
