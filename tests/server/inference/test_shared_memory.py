"""System shared memory: regions as inputs and outputs."""

import uuid

import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.utils as triton_utils
import tritonclient.utils.shared_memory as shm_utils

from tests.server.byte_strings import parse_bytes
from tests.server.inference.shared_segments import PAGE, error_of, part, register
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import DATA_TYPES, by_wire, serialize_bytes
from zoo_server.inference.execution import gather
from zoo_server.inference.request import InferRequest, InputTensor
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.inference.validation import RequestChecker
from zoo_server.model_config import Batching, InputSettings, ModelSettings, OutputSettings


@pytest.mark.parametrize("row", [row for row in DATA_TYPES if row.wire not in ("BF16", "BYTES")])
@pytest.mark.parametrize("offset", [0, 64, 3], ids="offset {}".format)
def test_every_datatype(row, offset, shm, segment):
    """Input and output in one region, at any offset, aligned or not; the answer holds no data."""
    one = segment()
    values = np.arange(8).reshape(2, 4).astype(row.numpy)
    one.write(100 + offset, values.tobytes())
    register(shm, "r", one, offset=100)
    request = pb.ModelInferRequest(model_name=f"identity_{row.wire.lower()}")
    part(request.inputs.add(name="x", datatype=row.wire, shape=[2, 4]), "r", values.nbytes, offset)
    part(request.outputs.add(name="y"), "r", 200, 1000 + offset)
    answer = shm.stub.ModelInfer(request)

    assert list(answer.raw_output_contents) == [b""]
    assert (answer.outputs[0].datatype, list(answer.outputs[0].shape)) == (row.wire, [2, 4])
    assert one.read(1100 + offset, values.nbytes) == values.tobytes()


def test_strings(shm, segment):
    """BYTES lie in a region as they do on the wire: each after its length."""
    one = segment()
    elements = ["", "a\0b", "ünïcode", "x" * 100]
    raw = serialize_bytes(elements)
    one.write(0, raw)
    register(shm, "r", one)
    request = pb.ModelInferRequest(model_name="identity_bytes")
    part(request.inputs.add(name="x", datatype="BYTES", shape=[1, 4]), "r", len(raw))
    part(request.outputs.add(name="y"), "r", 1024, 2048)
    shm.stub.ModelInfer(request)

    strings = parse_bytes(one.read(2048, len(raw)), 4)
    assert [element.decode() for element in strings] == elements
    request.outputs[0].parameters["shared_memory_byte_size"].int64_param = len(raw) - 1
    code, text = error_of(shm.stub.ModelInfer, request)
    assert code == "INTERNAL"
    assert f"should be at least {len(raw)} bytes to hold the results" in text
    part(request.inputs[0], "r", len(raw) - 1)
    assert error_of(shm.stub.ModelInfer, request)[0] == "INVALID_ARGUMENT"


def test_mixed_with_raw(shm, segment):
    """An input in shared memory takes no slot of the raw contents; outputs choose one by one."""
    one = segment()
    first, second = np.arange(16, dtype=np.int32), np.ones(16, np.int32)
    one.write(0, first.tobytes())
    register(shm, "r", one)
    request = pb.ModelInferRequest(model_name="simple")
    part(request.inputs.add(name="INPUT0", datatype="INT32", shape=[1, 16]), "r", 64)
    request.inputs.add(name="INPUT1", datatype="INT32", shape=[1, 16])
    request.raw_input_contents.append(second.tobytes())
    request.outputs.add(name="OUTPUT0")
    part(request.outputs.add(name="OUTPUT1"), "r", 64, 64)
    answer = shm.stub.ModelInfer(request)

    assert [len(raw) for raw in answer.raw_output_contents] == [64, 0]
    assert answer.raw_output_contents[0] == (first + second).tobytes()
    assert one.read(64, 64) == (first - second).tobytes()


def test_status_and_unregister(shm, segment):
    """The status shows what is registered; unregistering one, all, or none of that name is OK."""
    one = segment(3 * PAGE)
    register(shm, "a", one)
    register(shm, "b", one, offset=PAGE + 1, byte_size=7)

    def status(name=""):
        request = pb.SystemSharedMemoryStatusRequest(name=name)
        regions = shm.stub.SystemSharedMemoryStatus(request).regions
        assert all(key == region.name for key, region in regions.items())
        return {r.name: (r.key, r.offset, r.byte_size) for r in regions.values()}

    def unregister(name=""):
        shm.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name=name))

    assert status() == {"a": (one.key, 0, 3 * PAGE), "b": (one.key, PAGE + 1, 7)}
    assert status("b") == {"b": (one.key, PAGE + 1, 7)}
    unregister("nothing")
    unregister("a")
    assert list(status()) == ["b"]
    request = pb.SystemSharedMemoryStatusRequest(name="a")
    assert error_of(shm.stub.SystemSharedMemoryStatus, request) == (
        "NOT_FOUND",
        "Unable to find system shared memory region: 'a'",
    )
    unregister()
    assert status() == {}
    register(shm, "a", one)


def test_the_graph_is_fed_the_region_itself(segment):
    """No copy is made of an input: the array for the runtime is the object's memory."""
    one = segment()
    fp32 = by_wire("FP32")
    memory = SharedMemory(enabled=True)
    memory.register("r", one.key, 0, 4096)
    served = ModelSettings(
        name="m",
        version=1,
        platform="onnxruntime_onnx",
        max_batch_size=0,
        inputs=(InputSettings(name="x", datatype=fp32, dims=(4,), graph_dims=(4,)),),
        outputs=(OutputSettings(name="y", datatype=fp32, dims=(4,), graph_dims=(4,)),),
        batching=Batching(),
        config=b"",
    )
    sent = InputTensor(name="x", datatype="FP32", shape=(4,), data=memory.source("r", 64, 16))
    checked = RequestChecker(served).check(InferRequest(id="", inputs=(sent,)))
    array = gather([checked])["x"]
    one.write(64, np.arange(4, dtype=np.float32).tobytes())

    assert array.tolist() == [0, 1, 2, 3]


def test_tritonclient_utilities(shm):
    """Objects made and read by tritonclient's own utilities, strings too."""
    size = 4096
    key = f"/layer-zoo-{uuid.uuid4().hex}"
    region = shm_utils.create_shared_memory_region("made", key, size)
    try:
        with triton.InferenceServerClient(shm.address) as client:
            client.unregister_system_shared_memory()
            client.unregister_cuda_shared_memory()
            client.register_system_shared_memory("made", key, size)
            words = np.array([[b"one", b"", b"drei", b"cuatro"]], dtype=object)
            raw = triton_utils.serialize_byte_tensor(words)
            shm_utils.set_shared_memory_region(region, [raw])
            length = len(raw.item())
            tensor = triton.InferInput("x", [1, 4], "BYTES")
            tensor.set_shared_memory("made", length)
            output = triton.InferRequestedOutput("y")
            output.set_shared_memory("made", size - 1024, offset=1024)
            answer = client.infer("identity_bytes", [tensor], outputs=[output]).get_output("y")
            copied = shm_utils.get_contents_as_numpy(
                region, triton_utils.triton_to_np_dtype(answer.datatype), list(answer.shape), 1024
            )
            assert copied.tolist() == words.tolist()
            assert client.get_system_shared_memory_status("made").regions["made"].byte_size == size
            client.unregister_system_shared_memory("made")
    finally:
        shm_utils.destroy_shared_memory_region(region)


def test_off_by_default(wire, segment, make_request):
    """Without the option: registering and using are UNIMPLEMENTED, the status is empty."""
    one = segment()
    request = pb.SystemSharedMemoryRegisterRequest(name="r", key=one.key, byte_size=64)
    infer = make_request("fixed", x=np.zeros((2, 3), np.float32))
    part(infer.outputs.add(name="y"), "r", 64)
    for method, message in (
        (wire.stub.SystemSharedMemoryRegister, request),
        (wire.stub.ModelInfer, infer),
    ):
        code, text = error_of(method, message)
        assert code == "UNIMPLEMENTED"
        assert text.startswith("Client shared memory is disabled")
    assert not wire.stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions
    wire.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())


def test_cuda_is_answered(wire):
    """CUDA regions: none are there, none can be registered, all are unregistered already."""
    assert not wire.stub.CudaSharedMemoryStatus(pb.CudaSharedMemoryStatusRequest()).regions
    wire.stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest())
    wire.stub.CudaSharedMemoryUnregister(pb.CudaSharedMemoryUnregisterRequest(name="x"))
    request = pb.CudaSharedMemoryStatusRequest(name="x")
    assert error_of(wire.stub.CudaSharedMemoryStatus, request) == (
        "NOT_FOUND",
        "Unable to find cuda shared memory region: 'x'",
    )
    request = pb.CudaSharedMemoryRegisterRequest(name="x", raw_handle=bytes(64), byte_size=1)
    code, text = error_of(wire.stub.CudaSharedMemoryRegister, request)
    assert code == "UNIMPLEMENTED"
    assert text.startswith("failed to register CUDA shared memory region: 'x'")
