"""The RPCs, asked by our own stubs and by the unmodified tritonclient."""

import warnings

import grpc
import numpy as np
import pytest

from tests.server.byte_strings import parse_bytes
from zoo_proto import grpc_service_pb2 as pb
from zoo_server import datatypes
from zoo_server.datatypes import DATA_TYPES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what a client's import warns about is not our business
    import tritonclient.grpc as triton

NUMERIC = [row for row in DATA_TYPES if row.byte_size is not None and row.wire != "BF16"]


@pytest.fixture
def client(wire):
    """Return the unmodified tritonclient, connected."""
    with triton.InferenceServerClient(wire.address) as connected:
        yield connected


@pytest.mark.parametrize("row", NUMERIC, ids=lambda row: row.wire)
def test_every_numeric_datatype_comes_back_raw(row, wire):
    """An identity answers the very bytes, with datatype and shape, whatever the type."""
    array = (np.arange(8) % 2 if row.wire == "BOOL" else np.arange(8)).astype(row.numpy)
    request = pb.ModelInferRequest(model_name=f"identity_{row.wire.lower()}")
    request.inputs.add(name="x", datatype=row.wire, shape=[2, 4])
    request.raw_input_contents.append(array.tobytes())
    answer = wire.stub.ModelInfer(request)

    assert list(answer.raw_output_contents) == [array.tobytes()]
    assert [(o.name, o.datatype, list(o.shape)) for o in answer.outputs] == [
        ("y", row.wire, [2, 4])
    ]


@pytest.mark.parametrize(
    "row", [row for row in DATA_TYPES if row.contents], ids=lambda row: row.wire
)
def test_typed_contents_are_taken_and_answered_raw(row, wire):
    """Each typed field is read as its datatype; the answer is raw all the same."""
    values = [b"a", b"", b"\0", "ü".encode()] if row.byte_size is None else [1, 0, 1, 1]
    request = pb.ModelInferRequest(model_name=f"identity_{row.wire.lower()}")
    tensor = request.inputs.add(name="x", datatype=row.wire, shape=[1, 4])
    getattr(tensor.contents, row.contents).extend(values)
    answer = wire.stub.ModelInfer(request)

    expected = (
        datatypes.serialize_bytes(values)
        if row.byte_size is None
        else np.array(values, row.numpy).tobytes()
    )
    assert list(answer.raw_output_contents) == [expected]
    assert not answer.outputs[0].HasField("contents")


def test_tritonclient_strings(client):
    """NUL, empty, non-ASCII and trailing-NUL strings survive tritonclient's own codec."""
    array = np.array([["a\0b", "", "größe", "tail\0"]], dtype=object)
    tensor = triton.InferInput("x", array.shape, "BYTES")
    tensor.set_data_from_numpy(array)
    answer = client.infer("identity_bytes", [tensor]).as_numpy("y")

    assert [element.decode() for element in answer[0]] == list(array[0])


def test_tritonclient_infer(client):
    """tritonclient reads ours with as_numpy; one output asked for is one answered."""
    array = np.arange(16, dtype=np.int32).reshape(1, 16)
    inputs = []
    for name in ("INPUT0", "INPUT1"):
        tensor = triton.InferInput(name, array.shape, "INT32")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    result = client.infer(
        "simple",
        inputs,
        outputs=[triton.InferRequestedOutput("OUTPUT1")],
        request_id="7",
        compression_algorithm="gzip",
        parameters={"mine": "x"},
        timeout=1000,
        priority=1,
        sequence_id=3,
        sequence_start=True,
    )

    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), array - array)
    assert result.as_numpy("OUTPUT0") is None
    assert result.get_response().id == "7"


def test_classification(client):
    """The best classes come as value:index:label, best first, clipped, a row each."""
    array = np.array([[0.1, 0.5, 0.2, 0.2], [4, 3, 2, 1]], np.float32)
    tensor = triton.InferInput("x", array.shape, "FP32")
    tensor.set_data_from_numpy(array)

    def ask(count):
        output = triton.InferRequestedOutput("y", class_count=count)
        return client.infer("classes", [tensor], outputs=[output]).as_numpy("y")

    assert ask(2).tolist() == [
        [b"0.500000:1:dog", b"0.200000:2:bird"],
        [b"4.000000:0:cat", b"3.000000:1:dog"],
    ]
    assert ask(99).shape == (2, 4)
    assert ask(99)[0][2] == b"0.200000:3"  # the fourth class has no label


def test_classification_without_batching(wire, make_request):
    """A model that does not batch is ranked whole; integers are written as integers."""
    request = make_request("fixed", x=np.arange(6, dtype=np.float32).reshape(2, 3))
    output = request.outputs.add(name="y")
    output.parameters["classification"].int64_param = 1
    answer = wire.stub.ModelInfer(request)

    assert list(answer.outputs[0].shape) == [1]
    assert parse_bytes(answer.raw_output_contents[0], 1) == [b"5.000000:5"]


def test_classification_of_strings_is_refused(wire):
    """An output without an order cannot be ranked."""
    request = pb.ModelInferRequest(model_name="identity_bytes")
    tensor = request.inputs.add(name="x", datatype="BYTES", shape=[1, 4])
    tensor.contents.bytes_contents.extend([b"a"] * 4)
    request.outputs.add(name="y").parameters["classification"].int64_param = 1
    with pytest.raises(grpc.RpcError, match="class result not available for output due to unsup"):
        wire.stub.ModelInfer(request)


def test_shapes_scalar_empty_variable_optional_reshaped(wire):
    """Rank 0, no elements, any length, a default left out, and config.pbtxt's reshape."""
    f32 = np.float32
    assert wire.infer("scalar", x=np.array(3, f32))["y"].shape == ()
    assert wire.infer("variable", x=np.zeros((2, 0), f32))["y"].shape == (2, 0)
    assert wire.infer("variable", x=np.zeros((2, 5), f32))["y"].shape == (2, 5)
    assert wire.infer("optional", x=np.ones((1, 4), f32))["y"].tolist() == [[11] * 4]
    inputs = {"x": np.ones((1, 4), f32), "bias": np.ones((1, 4), f32)}
    assert wire.infer("optional", **inputs)["y"].tolist() == [[2] * 4]
    assert wire.infer("reshaped", x=np.zeros((3, 1, 2, 7), f32))["y"].shape == (3, 2, 7, 1)


def test_versions(wire, client):
    """Each version is answered by its number, and the latest one when none is asked for."""
    array = np.zeros((1, 4), np.float32)
    tensor = triton.InferInput("x", array.shape, "FP32")
    tensor.set_data_from_numpy(array)

    assert client.infer("versions", [tensor]).get_response().model_version == "3"
    assert client.infer("versions", [tensor], "2").get_response().model_version == "2"
    assert list(client.get_model_metadata("versions").versions) == ["1", "2", "3"]
    assert list(client.get_model_metadata("versions", "2").versions) == ["2"]


def versioned(wire):
    """Return each RPC that names a version, as a function of it."""
    stub, array = wire.stub, np.zeros((1, 4), np.float32)
    infer = pb.ModelInferRequest(model_name="versions", raw_input_contents=[array.tobytes()])
    infer.inputs.add(name="x", datatype="FP32", shape=array.shape)

    def ask_infer(version):
        infer.model_version = version
        return stub.ModelInfer(infer)

    return {
        "ModelInfer": ask_infer,
        "ModelReady": lambda v: stub.ModelReady(pb.ModelReadyRequest(name="versions", version=v)),
        "ModelMetadata": lambda v: stub.ModelMetadata(
            pb.ModelMetadataRequest(name="versions", version=v)
        ),
        "ModelConfig": lambda v: stub.ModelConfig(
            pb.ModelConfigRequest(name="versions", version=v)
        ),
        "ModelStatistics": lambda v: stub.ModelStatistics(
            pb.ModelStatisticsRequest(name="versions", version=v)
        ),
    }


@pytest.mark.parametrize("version", ["x", "-1", "1.0", "+1", " 1", "１", "9" * 40, str(2**63)])
def test_what_is_no_version_is_refused_by_every_rpc(version, wire):
    """2.1: INVALID_ARGUMENT and the text, wherever a version is named."""
    for name, ask in versioned(wire).items():
        with pytest.raises(grpc.RpcError) as caught:
            ask(version)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, name
        assert "version should be an integral value > 0" in caught.value.details(), name
        assert f"'{version}'" in caught.value.details(), name


def test_an_unknown_version_by_rpc(wire):
    """1c: NOT_FOUND, but for ModelReady, to which it is not ready, and for ModelStatistics."""
    rpcs = versioned(wire)
    assert not rpcs.pop("ModelReady")("9").ready
    with pytest.raises(grpc.RpcError, match="requested model version is not available") as caught:
        rpcs.pop("ModelStatistics")("9")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    for name, ask in rpcs.items():
        with pytest.raises(grpc.RpcError, match="'versions' version 9 is not found") as caught:
            ask("9")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND, name


def test_a_known_version_by_rpc(wire):
    """What is refused above for its version is answered with a good one, leading zeros and all."""
    for version in ("2", "02"):
        rpcs = versioned(wire)
        assert rpcs["ModelInfer"](version).model_version == "2"
        assert rpcs["ModelReady"](version).ready
        assert list(rpcs["ModelMetadata"](version).versions) == ["2"]
        assert rpcs["ModelConfig"](version).config.name == "versions"
        (stats,) = rpcs["ModelStatistics"](version).model_stats
        assert stats.version == "2"


def test_live_ready_and_server_metadata(client):
    """The server is live and ready and lists only extensions that work."""
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert metadata.name == "layer-zoo"
    assert metadata.version
    assert {"statistics", "classification", "binary_tensor_data"} <= set(metadata.extensions)
    assert not {"system_shared_memory", "trace"} & set(metadata.extensions)


def test_server_name_is_an_option(repository, graphs, serve):
    """Clients that insist on Triton's name can have it."""
    repository.add("m", graphs.identity())
    with serve(repository.path, server_name="triton") as wire:
        assert wire.stub.ServerMetadata(pb.ServerMetadataRequest()).name == "triton"


def test_model_ready(client):
    """An unknown model or version is not ready, which is no error; a bad version is one."""
    assert client.is_model_ready("simple")
    assert client.is_model_ready("simple", "1")
    assert not client.is_model_ready("simple", "2")
    assert not client.is_model_ready("nope")
    with pytest.raises(triton.InferenceServerException, match="failed to get model version"):
        client.is_model_ready("simple", "x")


def test_model_metadata(client):
    """Batching models show -1 first; others show their shape as it is."""
    metadata = client.get_model_metadata("simple")
    assert metadata.platform == "onnxruntime_onnx"
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [
        ("INPUT0", "INT32", [-1, 16]),
        ("INPUT1", "INT32", [-1, 16]),
    ]
    assert list(client.get_model_metadata("fixed").inputs[0].shape) == [2, 3]
    with pytest.raises(
        triton.InferenceServerException, match="Request for unknown model"
    ) as caught:
        client.get_model_metadata("nope")
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_model_config(client):
    """The configuration is complete, whether written or derived; dims leave the batch out."""
    config = client.get_model_config("simple").config
    assert (config.name, config.max_batch_size, config.backend) == ("simple", 8, "onnxruntime")
    derived = client.get_model_config("identity_fp32").config
    assert (derived.max_batch_size, list(derived.input[0].dims)) == (1024, [4])
    assert client.get_model_config("optional").config.input[1].optional


def test_model_statistics(wire, make_request):
    """Counts follow the rules that perf_analyzer relies on."""

    def ask():
        (one,) = wire.stub.ModelStatistics(pb.ModelStatisticsRequest(name="simple")).model_stats
        return one

    before = ask()
    array = np.zeros((3, 16), np.int32)
    for _ in range(2):
        wire.infer("simple", INPUT0=array, INPUT1=array)
    after = ask()
    stats = after.inference_stats

    assert after.inference_count - before.inference_count == 6
    assert after.execution_count - before.execution_count == 2
    assert stats.queue.count - before.inference_stats.queue.count == 2
    assert stats.success.count == stats.queue.count == stats.compute_input.count
    assert stats.compute_input.count == stats.compute_infer.count == stats.compute_output.count
    assert stats.success.ns >= stats.compute_infer.ns > 0
    assert after.last_inference > 1_600_000_000_000
    assert {batch.batch_size for batch in after.batch_stats} >= {3}
    assert sum(batch.compute_infer.count for batch in after.batch_stats) == after.execution_count


def test_model_statistics_of_all_and_of_none(wire):
    """No name means every ready version; an unknown name or version is INVALID_ARGUMENT."""
    everything = wire.stub.ModelStatistics(pb.ModelStatisticsRequest()).model_stats
    assert ("versions", "2") in {(one.name, one.version) for one in everything}
    for request, text in (
        (pb.ModelStatisticsRequest(name="nope"), "requested model 'nope' is not available"),
        (pb.ModelStatisticsRequest(name="simple", version="9"), "requested model version is not"),
    ):
        with pytest.raises(grpc.RpcError, match=text) as caught:
            wire.stub.ModelStatistics(request)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_failed_run_is_counted_and_kept_private(wire, make_request):
    """A graph that fails while it runs is INTERNAL with an id, without onnxruntime's words."""

    def failures():
        (stats,) = wire.stub.ModelStatistics(pb.ModelStatisticsRequest(name="fails")).model_stats
        return stats.inference_stats.fail.count

    before = failures()
    with pytest.raises(grpc.RpcError) as caught:
        wire.infer("fails", x=np.array([[7]], np.int64))

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "internal error, incident" in caught.value.details()
    assert "Gather" not in caught.value.details()
    assert failures() == before + 1
    assert wire.infer("fails", x=np.array([[2]], np.int64))["y"].tolist() == [[2]]


def test_repository_index(wire):
    """One entry a version; another repository's name is UNIMPLEMENTED."""
    index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    assert [(m.version, m.state) for m in index if m.name == "versions"] == [
        ("1", "READY"),
        ("2", "READY"),
        ("3", "READY"),
    ]
    with pytest.raises(grpc.RpcError, match="specification is not supported") as caught:
        wire.stub.RepositoryIndex(pb.RepositoryIndexRequest(repository_name="x"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_shared_memory_unregister_is_ok(client):
    """perf_analyzer and the examples unregister everything first, GPU or not."""
    client.unregister_system_shared_memory()
    client.unregister_cuda_shared_memory()


def test_large_message(wire):
    """A tensor beyond gRPC's usual 4 MB is taken; the client's own limit is raised as well."""
    array = np.ones((1, 2_000_000), np.float32)
    with triton.InferenceServerClient(wire.address) as client:
        tensor = triton.InferInput("x", array.shape, "FP32")
        tensor.set_data_from_numpy(array)
        np.testing.assert_array_equal(client.infer("variable", [tensor]).as_numpy("y"), array)


def test_message_cap(repository, graphs, serve):
    """A message above --max-message-bytes is refused by its size."""
    repository.add("m", graphs.identity(shape=("batch", "length")))
    with serve(repository.path, max_message_bytes=2048) as wire:
        assert wire.infer("m", x=np.zeros((1, 8), np.float32))["y"].shape == (1, 8)
        with pytest.raises(grpc.RpcError) as caught:
            wire.infer("m", x=np.zeros((1, 1000), np.float32))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
