"""The unmodified tritonclient[http]: everything it can ask of a server of ONNX models."""

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def client(rest):
    """Return a client, connected."""
    with triton.InferenceServerClient(rest.server.http_address) as connected:
        yield connected


def inputs(binary=True, **arrays):
    """Return InferInputs of arrays."""
    from tritonclient.utils import np_to_triton_dtype

    tensors = []
    for name, array in arrays.items():
        tensors.append(triton.InferInput(name, array.shape, np_to_triton_dtype(array.dtype)))
        tensors[-1].set_data_from_numpy(array, binary_data=binary)
    return tensors


SUM = {"INPUT0": np.arange(16, dtype=np.int32)[None], "INPUT1": np.ones((1, 16), np.int32)}


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False, None])
def test_sum_and_difference(client, binary_in, binary_out):
    """As in its example: each form of inputs with each form of outputs, or none asked for."""
    outputs = None
    if binary_out is not None:
        outputs = [
            triton.InferRequestedOutput(name, binary_data=binary_out)
            for name in ("OUTPUT0", "OUTPUT1")
        ]
    answer = client.infer(
        "simple", inputs(binary_in, **SUM), outputs=outputs, request_id="9", priority=0,
        timeout=10_000_000, parameters={"mine": 1},
    )  # fmt: skip

    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), SUM["INPUT0"] + 1)
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT1"), SUM["INPUT0"] - 1)
    assert answer.get_response()["id"] == "9"


@pytest.mark.parametrize("request_by", [None, "gzip", "deflate"])
@pytest.mark.parametrize("response_by", [None, "gzip", "deflate"])
def test_compression(client, request_by, response_by):
    """Both algorithms, both ways."""
    answer = client.infer(
        "simple", inputs(**SUM), request_compression_algorithm=request_by,
        response_compression_algorithm=response_by,
    )  # fmt: skip
    np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), SUM["INPUT0"] + 1)


def test_strings(client):
    """Unicode, NUL and the empty string arrive whole."""
    array = np.array([["größer", "a\0b", "", "x"]], dtype=object)
    encoded = np.array([[text.encode() for text in array[0]]], dtype=object)
    answer = client.infer("identity_bytes", inputs(x=encoded))
    assert answer.as_numpy("y")[0].tolist() == encoded[0].tolist()
    answer = client.infer(
        "identity_bytes", inputs(False, x=encoded),
        outputs=[triton.InferRequestedOutput("y", binary_data=False)],
    )  # fmt: skip
    assert answer.as_numpy("y")[0].tolist() == array[0].tolist()


def test_half_precision(client):
    """FP16 goes as bytes."""
    array = np.array([[0.5, -1, 65504, 0]], np.float16)
    np.testing.assert_array_equal(
        client.infer("identity_fp16", inputs(x=array)).as_numpy("y"), array
    )


def test_classification(client):
    """The best class, with its label."""
    output = triton.InferRequestedOutput("y", class_count=1)
    array = np.array([[0.0, 0.25, 1.0, 0.5]], np.float32)
    answer = client.infer("classes", inputs(x=array), outputs=[output])
    assert answer.as_numpy("y").tolist() == [[b"1.000000:2:bird"]]


def test_many_at_once(rest):
    """async_infer over several connections: each request its own answer."""
    with triton.InferenceServerClient(rest.server.http_address, concurrency=4) as client:
        arrays = [np.full((1, 4), number, np.float32) for number in range(32)]
        calls = [client.async_infer("identity_fp32", inputs(x=array)) for array in arrays]
        for array, request in zip(arrays, calls, strict=True):
            np.testing.assert_array_equal(request.get_result().as_numpy("y"), array)


def test_what_the_server_tells(client):
    """Health, metadata, configuration, index and statistics."""
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert client.is_model_ready("versions", "2")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "layer-zoo"
    assert client.get_model_metadata("simple")["inputs"][0]["shape"] == [-1, 16]
    assert client.get_model_config("simple")["max_batch_size"] == 8
    assert {"name": "simple", "version": "1", "state": "READY"} in (
        client.get_model_repository_index()
    )
    client.infer("simple", inputs(**SUM))
    (stats,) = client.get_inference_statistics("simple")["model_stats"]
    assert stats["inference_stats"]["queue"]["count"] >= 1


def test_errors_keep_their_words(client):
    """The client raises with the server's message and status."""
    with pytest.raises(InferenceServerException, match="Request for unknown model") as caught:
        client.get_model_metadata("nobody")
    assert caught.value.status() == "404"
    with pytest.raises(InferenceServerException, match="unexpected shape") as caught:
        client.infer("identity_fp32", inputs(x=np.zeros((1, 3), np.float32)))
    assert caught.value.status() == "400"


def test_shared_memory_is_unregistered_by_whoever_begins(client):
    """perf_analyzer and the examples do it first, whether or not there is any."""
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()
