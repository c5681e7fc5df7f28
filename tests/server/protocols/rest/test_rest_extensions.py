"""Triton's extensions over HTTP, by the unmodified tritonclient: control, shared memory, sequences."""

import uuid
from contextlib import contextmanager

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.utils.shared_memory as shm_utils
from onnx import TensorProto, helper
from tritonclient.utils import InferenceServerException

pytestmark = pytest.mark.interop

ROWS = np.float32([[1, 2, 3, 4], [5, 6, 7, 8]])


@pytest.fixture
def open_rest(repository, graphs, serve_rest):
    """Serve an identity and running sums, with explicit control and shared memory."""
    repository.add("identity", graphs.identity())
    repository.add("sums", _sums(graphs), SUMS)
    options = {
        "model_control_mode": "explicit", "load_model": ("*",), "allow_shared_memory": True,
    }  # fmt: skip
    with serve_rest(repository.path, **options) as rest:
        yield rest


@pytest.fixture
def extended(open_rest):
    """Return a client of that server."""
    with triton.InferenceServerClient(open_rest.server.http_address) as client:
        yield client


SUMS = """
max_batch_size: 8 sequence_batching {
  state [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] }]
}
"""


def _sums(graphs):
    """y = x + before, after = y: a running sum."""
    rows = ["batch", 1]
    nodes = [
        helper.make_node("Add", ["x", "before"], ["after"]),
        helper.make_node("Identity", ["after"], ["y"]),
    ]
    return graphs.model(
        nodes,
        [graphs.value(name, TensorProto.FLOAT, rows) for name in ("x", "before")],
        [graphs.value(name, TensorProto.FLOAT, rows) for name in ("y", "after")],
    )


def tensor_of(array):
    tensor = triton.InferInput("x", array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    return [tensor]


def test_load_and_unload(extended, graphs):
    """An unloaded model is gone at once; loaded again, with another configuration or other files."""
    extended.unload_model("identity")
    assert not extended.is_model_ready("identity")
    extended.load_model("identity", config='{"max_batch_size": "16"}')
    assert extended.get_model_config("identity")["max_batch_size"] == 16
    files = {"file:3/model.onnx": graphs.identity()}
    extended.load_model("sent", config='{"backend": "onnxruntime"}', files=files)
    assert extended.get_model_metadata("sent")["versions"] == ["3"]
    np.testing.assert_array_equal(extended.infer("sent", tensor_of(ROWS)).as_numpy("y"), ROWS)
    with pytest.raises(InferenceServerException, match="failed to load 'nobody'") as caught:
        extended.load_model("nobody")
    assert caught.value.status() == "500"


@pytest.mark.parametrize("file", ["../x", "1/../../x", "/etc/x", "1/a\\b"])
def test_no_file_leads_out_of_its_folder(extended, file):
    """500 with Triton's words, as INTERNAL is; the model that serves goes on serving."""
    with pytest.raises(InferenceServerException, match="stay within model directory") as caught:
        extended.load_model("identity", config="{}", files={f"file:{file}": b"x"})

    assert caught.value.status() == "500"
    np.testing.assert_array_equal(extended.infer("identity", tensor_of(ROWS)).as_numpy("y"), ROWS)


@pytest.mark.parametrize("name", ["..", "%20", "nobody", "a%00b"])
def test_unloading_what_cannot_be_a_model(open_rest, name):
    """It is unloaded already: 200, and what serves goes on serving."""
    answer = open_rest.ask("POST", f"/v2/repository/models/{name}/unload")

    assert (answer.status, answer.body) == (200, b"")
    assert open_rest.get("/v2/models/identity/ready").status == 200


def test_control_that_is_off_is_unavailable(rest):
    """Without explicit mode a load is 503, as UNAVAILABLE is."""
    answer = rest.ask("POST", "/v2/repository/models/simple/load", b"{}")
    assert answer.status == 503
    assert "explicit" in answer.error


@contextmanager
def _region(client, size):
    key = f"/layer-zoo-{uuid.uuid4().hex}"
    region = shm_utils.create_shared_memory_region("r", key, size)
    try:
        client.register_system_shared_memory("r", key, size)
        yield region
    finally:
        client.unregister_system_shared_memory()
        shm_utils.destroy_shared_memory_region(region)


def test_shared_memory_in_and_out(extended):
    """The input is read from the region and the output written there; the answer has no data."""
    with _region(extended, 64) as region:
        assert [status["name"] for status in extended.get_system_shared_memory_status()] == ["r"]
        shm_utils.set_shared_memory_region(region, [ROWS])
        source = triton.InferInput("x", ROWS.shape, "FP32")
        source.set_shared_memory("r", 32)
        target = triton.InferRequestedOutput("y")
        target.set_shared_memory("r", 32, offset=32)
        answer = extended.infer("identity", [source], outputs=[target])

        (output,) = answer.get_response()["outputs"]
        assert output == {"name": "y", "datatype": "FP32", "shape": [2, 4]}
        written = shm_utils.get_contents_as_numpy(region, np.float32, [2, 4], offset=32)
        np.testing.assert_array_equal(written, ROWS)
        del written
        source.set_shared_memory("r", 32, offset=48)
        with pytest.raises(InferenceServerException, match="Invalid offset"):
            extended.infer("identity", [source])


def test_shared_memory_that_is_off_or_unknown(extended, rest):
    """501 where the feature is off, 404 for a region nobody registered, 400 for a bad request."""
    part = {"shared_memory_region": "r", "shared_memory_byte_size": 16}
    request = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": part}]}
    assert rest.infer("identity_fp32", request).status == 501
    assert rest.ask("POST", "/v2/systemsharedmemory/region/r/register", b"{}").status == 400
    source = triton.InferInput("x", [1, 4], "FP32")
    source.set_shared_memory("r", 16)
    with pytest.raises(InferenceServerException, match="Unable to find shared memory region: 'r'"):
        extended.infer("identity", [source])
    target = {"name": "y", "parameters": {**part, "classification": 1}}
    settings = {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}],
        "outputs": [target],
    }
    refused = rest.infer("identity_fp32", settings)
    assert refused.status == 400
    assert refused.error.startswith("output can't set both 'shared_memory_region' and 'classifica")


def test_sequences(extended):
    """Two at once, by number and by name: each has its own running sum."""

    def step(value, sequence, **flags):
        array = np.float32([[value]])
        answer = extended.infer("sums", tensor_of(array), sequence_id=sequence, **flags)
        return answer.as_numpy("y").item()

    assert step(1, 7, sequence_start=True) == 1
    assert step(10, "seven", sequence_start=True) == 10
    assert step(2, 7) == 3
    assert step(20, "seven") == 30
    assert step(3, 7, sequence_end=True) == 6
    assert step(30, "seven", sequence_end=True) == 60


def test_trace_settings_of_one_model(extended):
    """A model has its own beside the global ones; null takes one back."""
    changed = extended.update_trace_settings("identity", {"trace_rate": "7"})
    assert changed["trace_rate"] == "7"
    assert extended.get_trace_settings("identity")["trace_rate"] == "7"
    assert extended.get_trace_settings("sums")["trace_rate"] != "7"
    assert extended.get_trace_settings()["trace_rate"] != "7"
    extended.update_trace_settings("identity", {"trace_rate": None})
    assert extended.get_trace_settings("identity")["trace_rate"] != "7"


def test_cuda_shared_memory_is_not_served(rest):
    """Register is 501 and says so; status is empty and unregister succeeds, as over gRPC."""
    body = b'{"raw_handle": {"b64": "aGFuZGxl"}, "device_id": 0, "byte_size": 8}'
    refused = rest.ask("POST", "/v2/cudasharedmemory/region/r/register", body)
    assert refused.status == 501
    assert "CUDA" in refused.error
    assert rest.get("/v2/cudasharedmemory/status").json == []
    for path in ("/v2/cudasharedmemory", "/v2/cudasharedmemory/region/r"):
        answer = rest.ask("POST", f"{path}/unregister")
        assert (answer.status, answer.body) == (200, b"")


def test_trace_and_log_settings(extended):
    """They are told, changed and told again."""
    assert extended.get_trace_settings()["trace_level"] == ["OFF"]
    before = extended.get_log_settings()
    assert isinstance(before["log_info"], bool)
    changed = extended.update_log_settings({"log_verbose_level": 1})
    assert changed["log_verbose_level"] == 1
    extended.update_log_settings({"log_verbose_level": before["log_verbose_level"]})
    with pytest.raises(InferenceServerException) as caught:
        extended.update_log_settings({"log_file": "/tmp/elsewhere"})
    assert caught.value.status() == "501"
