"""System shared memory: regions as inputs and outputs, and every way to name a wrong one."""

import gc
import os
import threading
import time
import uuid
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.utils as triton_utils
import tritonclient.utils.shared_memory as shm_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import DATA_TYPES, by_wire, parse_bytes, serialize_bytes
from zoo_server.errors import InvalidRequest, ServerError
from zoo_server.inference.execution import gather
from zoo_server.inference.request import InferRequest, InputTensor
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.inference.validation import CheckedRequest, Plan, PlannedInput, RequestChecker
from zoo_server.model_config import Batching, InputSettings, ModelSettings, OutputSettings
from zoo_server.schedulers.latency_model import LatencyModel

PAGE = os.sysconf("SC_PAGE_SIZE")


class Segment:
    """A POSIX shared memory object of a test, as another process would make it."""

    def __init__(self, size):
        self.key = f"/layer-zoo-test-{uuid.uuid4().hex}"
        self.file = Path("/dev/shm") / self.key[1:]
        self.file.write_bytes(bytes(size))

    def write(self, offset, data):
        with self.file.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self, offset, size):
        return self.file.read_bytes()[offset : offset + size]


@pytest.fixture
def segment():
    """Make segments; they are removed with the test."""
    made = []

    def make(size=4096):
        made.append(Segment(size))
        return made[-1]

    yield make
    for one in made:
        one.file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shm(tmp_path_factory, graphs, serve):
    """A server with shared memory on: identities of every datatype, a slow model, simple."""
    path = tmp_path_factory.mktemp("shm")
    models = {
        f"identity_{row.wire.lower()}": graphs.identity(row.onnx_enum)
        for row in DATA_TYPES
        if row.wire != "BF16"
    }
    for name, model in {**models, "simple": graphs.simple(), "slow": graphs.slow()}.items():
        (path / f"{name}.onnx").write_bytes(model)
    with serve(path, allow_shared_memory=True) as wire:
        yield wire


@pytest.fixture(autouse=True)
def clean(request):
    """Leave no region behind."""
    yield
    if "shm" in request.fixturenames:
        wire = request.getfixturevalue("shm")
        wire.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())


def register(wire, name, segment, offset=0, byte_size=None):
    size = segment.file.stat().st_size - offset if byte_size is None else byte_size
    wire.stub.SystemSharedMemoryRegister(
        pb.SystemSharedMemoryRegisterRequest(
            name=name, key=segment.key, offset=offset, byte_size=size
        )
    )


def part(tensor, region, byte_size, offset=None):
    """Make a tensor of a request lie in a region."""
    tensor.parameters["shared_memory_region"].string_param = region
    tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
    if offset is not None:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def error_of(method, request):
    with pytest.raises(grpc.RpcError) as caught:
        method(request)
    return caught.value.code().name, caught.value.details()


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

    given = parse_bytes(one.read(2048, len(raw)), 4)
    assert [element.decode() for element in given] == elements
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


def test_the_same_request_again_finds_other_values(shm, segment):
    """What is remembered of a request is where its inputs and outputs lie, not what lay there."""
    one = segment()
    register(shm, "r", one)
    request = pb.ModelInferRequest(model_name="simple")
    part(request.inputs.add(name="INPUT0", datatype="INT32", shape=[1, 16]), "r", 64)
    part(request.inputs.add(name="INPUT1", datatype="INT32", shape=[1, 16]), "r", 64, 64)
    part(request.outputs.add(name="OUTPUT0"), "r", 64, 128)
    request.outputs.add(name="OUTPUT1")
    for number in range(4):
        first, second = np.full(16, 10 + number, np.int32), np.full(16, number, np.int32)
        one.write(0, first.tobytes() + second.tobytes())
        answer = shm.stub.ModelInfer(request)

        assert one.read(128, 64) == (first + second).tobytes()
        assert list(answer.raw_output_contents) == [b"", (first - second).tobytes()]


def test_the_same_request_again_finds_the_region_of_today(shm, segment, make_request):
    """A name that was unregistered is unknown, and one that was given anew is the new region."""
    old, new = segment(), segment()
    register(shm, "r", old)
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.outputs.add(name="OUTPUT0"), "r", 64)
    for _ in range(3):
        shm.stub.ModelInfer(request)
    assert mappings(old) == 1
    shm.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest(name="r"))

    assert is_let_go_of(old)
    assert error_of(shm.stub.ModelInfer, request) == (
        "NOT_FOUND",
        "Unable to find shared memory region: 'r'",
    )
    old.write(0, bytes(64))
    register(shm, "r", new)
    shm.stub.ModelInfer(request)
    assert new.read(0, 64) == (2 * ones).tobytes()
    assert old.read(0, 64) == bytes(64)


def test_a_raw_input_too_many_beside_shared_memory(shm, segment, make_request):
    """Triton ignores it; it most likely belongs to another input, and is refused."""
    register(shm, "r", segment())
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.inputs[0], "r", 64)

    assert error_of(shm.stub.ModelInfer, request) == (
        "INVALID_ARGUMENT",
        "expected 1 raw_input_contents for model 'simple', got 2",
    )
    del request.raw_input_contents[0]
    shm.stub.ModelInfer(request)


def test_an_output_part_of_no_bytes(shm, segment, make_request):
    """It is too small, as any other is, and nothing is written."""
    one = segment()
    one.write(0, b"before")
    register(shm, "r", one)
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.outputs.add(name="OUTPUT0"), "r", 0)

    assert error_of(shm.stub.ModelInfer, request) == (
        "INTERNAL",
        "shared memory size specified with the request for output 'OUTPUT0' (0 bytes) should be at "
        "least 64 bytes to hold the results",
    )
    assert one.read(0, 6) == b"before"


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


HUGE = 2**64 - 1

BAD_REGISTRATIONS = [
    ({"key": "/no-such-object-here"}, "INTERNAL", "Unable to open shared memory region: '/no-such"),
    ({"key": ""}, "INVALID_ARGUMENT", "cannot register shared memory region 'r' - invalid shm key"),
    ({"key": "///"}, "INVALID_ARGUMENT", "invalid shm key '///'"),
    ({"key": ".."}, "INTERNAL", "Unable to open shared memory region: "),
    ({"key": "/."}, "INTERNAL", "Unable to open shared memory region: "),
    ({"key": "../../etc/passwd"}, "INTERNAL", "Unable to open shared memory region: "),
    ({"key": "/a/b"}, "INTERNAL", "Unable to open shared memory region: "),
    ({"key": "/a\0b"}, "INTERNAL", "Unable to open shared memory region: "),
    ({"key": "/" + "k" * 256}, "INTERNAL", "Unable to open shared memory region: "),
    ({"key": "//triton_python_backend_shm_region_1"}, "INVALID_ARGUMENT", "reserved prefix"),
    ({"byte_size": 4097}, "INVALID_ARGUMENT", "failed to register shared memory region 'r'"),
    ({"offset": 1}, "INVALID_ARGUMENT", "invalid args"),
    ({"offset": 4096, "byte_size": 1}, "INVALID_ARGUMENT", "invalid args"),
    ({"byte_size": 0}, "INVALID_ARGUMENT", "invalid args"),
    ({"offset": 4097, "byte_size": 0}, "INVALID_ARGUMENT", "invalid args"),
    ({"offset": HUGE}, "INVALID_ARGUMENT", "invalid args"),
    ({"byte_size": HUGE}, "INVALID_ARGUMENT", "invalid args"),
    ({"offset": HUGE, "byte_size": HUGE}, "INVALID_ARGUMENT", "invalid args"),
    ({"offset": HUGE - 15, "byte_size": 32}, "INVALID_ARGUMENT", "invalid args"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "code", "text"), BAD_REGISTRATIONS, ids=range(len(BAD_REGISTRATIONS))
)
def test_bad_registration(fields, code, text, shm, segment):
    """A registration that cannot be is refused, and nothing is registered."""
    one = segment(4096)
    good = {"name": "r", "key": one.key, "offset": 0, "byte_size": 4096}
    request = pb.SystemSharedMemoryRegisterRequest(**{**good, **fields})
    given = error_of(shm.stub.SystemSharedMemoryRegister, request)

    assert given[0] == code
    assert text in given[1]
    assert not shm.stub.SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest()).regions


def test_a_name_is_taken_once(shm, segment):
    """Registering a name twice is ALREADY_EXISTS; the first one stays."""
    one = segment()
    register(shm, "r", one, byte_size=16)
    request = pb.SystemSharedMemoryRegisterRequest(name="r", key=one.key, byte_size=4096)
    assert error_of(shm.stub.SystemSharedMemoryRegister, request) == (
        "ALREADY_EXISTS",
        "shared memory region 'r' already in manager",
    )
    (region,) = shm.stub.SystemSharedMemoryStatus(
        pb.SystemSharedMemoryStatusRequest()
    ).regions.values()
    assert region.byte_size == 16


def test_links_and_pipes_are_not_opened(shm, segment, tmp_path):
    """A key that leads elsewhere, or to something that is no memory, is refused without waiting."""
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(64))
    link, pipe = segment(), segment()
    link.file.unlink()
    link.file.symlink_to(secret)
    pipe.file.unlink()
    os.mkfifo(pipe.file)
    for one in (link, pipe):
        request = pb.SystemSharedMemoryRegisterRequest(name="r", key=one.key, byte_size=64)
        code, text = error_of(shm.stub.SystemSharedMemoryRegister, request)
        assert code == "INTERNAL"
        assert "shared memory region" in text


BAD_PARTS = [
    ("none", 64, 0, "NOT_FOUND", "Unable to find shared memory region: 'none'"),
    ("r", 64, 4096, "INVALID_ARGUMENT", "Invalid offset for shared memory region: 'r'"),
    ("r", 64, -1, "INVALID_ARGUMENT", "Invalid offset for shared memory region: 'r'"),
    ("r", 64, 2**63 - 1, "INVALID_ARGUMENT", "Invalid offset for shared memory region: 'r'"),
    ("r", 64, 4033, "INVALID_ARGUMENT", "Invalid offset + byte size for shared memory region"),
    ("r", -1, 0, "INVALID_ARGUMENT", "Invalid offset + byte size for shared memory region"),
    ("r", 2**63 - 1, 32, "INVALID_ARGUMENT", "Invalid offset + byte size for shared memory region"),
]  # fmt: skip


@pytest.mark.parametrize("side", ["input", "output"])
@pytest.mark.parametrize(
    ("region", "size", "offset", "code", "text"), BAD_PARTS, ids=range(len(BAD_PARTS))
)
def test_bad_part(side, region, size, offset, code, text, shm, segment, make_request):
    """An input or output outside its region, or in none, is refused before anything runs."""
    register(shm, "r", segment(4096))
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    if side == "input":
        del request.raw_input_contents[0]
        part(request.inputs[0], region, size, offset)
    else:
        part(request.outputs.add(name="OUTPUT0"), region, size, offset)
    given = error_of(shm.stub.ModelInfer, request)

    assert given[0] == code
    assert text in given[1]


def test_bad_parameters(shm, segment, make_request):
    """Parameters of a wrong type, alone, or beside contents are INVALID_ARGUMENT, and say which."""
    register(shm, "r", segment())
    ones = np.ones((1, 16), np.int32)
    cases = [
        ({"shared_memory_region": ("int64_param", 1)}, "expected string_param"),
        (
            {"shared_memory_region": ("string_param", "r")},
            "'shared_memory_byte_size' must be specified",
        ),
        (
            {"shared_memory_byte_size": ("int64_param", 64)},
            "can not be specified without 'shared_memory_region'",
        ),
        (
            {"shared_memory_offset": ("int64_param", 0)},
            "can not be specified without 'shared_memory_region'",
        ),
        (
            {
                "shared_memory_region": ("string_param", "r"),
                "shared_memory_byte_size": ("string_param", "64"),
            },
            "expected int64_param",
        ),
        (
            {
                "shared_memory_region": ("string_param", "r"),
                "shared_memory_byte_size": ("int64_param", 64),
                "shared_memory_offset": ("uint64_param", 0),
            },
            "expected int64_param",
        ),
    ]
    for parameters, text in cases:
        for side in ("inputs", "outputs"):
            request = make_request("simple", INPUT0=ones, INPUT1=ones)
            request.outputs.add(name="OUTPUT0")
            for key, (field, value) in parameters.items():
                setattr(getattr(request, side)[0].parameters[key], field, value)
            code, details = error_of(shm.stub.ModelInfer, request)
            assert code == "INVALID_ARGUMENT"
            assert text in details

    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.inputs[0], "r", 64)
    request.inputs[0].contents.int_contents.extend([1] * 16)
    del request.raw_input_contents[0]
    assert (
        "unexpected 'content' provided when using shared memory"
        in (error_of(shm.stub.ModelInfer, request)[1])
    )
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    output = request.outputs.add(name="OUTPUT0")
    part(output, "r", 64)
    output.parameters["classification"].int64_param = 1
    assert error_of(shm.stub.ModelInfer, request) == (
        "INVALID_ARGUMENT",
        "output can't set both 'shared_memory_region' and 'classification'",
    )


def test_wrong_sizes(shm, segment, make_request):
    """An input part of another size than the tensor, or an output part that is too small."""
    register(shm, "r", segment())
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    del request.raw_input_contents[0]
    part(request.inputs[0], "r", 60)
    code, text = error_of(shm.stub.ModelInfer, request)
    assert code == "INVALID_ARGUMENT"
    assert "input byte size mismatch for input 'INPUT0' for model 'simple'. Expected 64" in text
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.outputs.add(name="OUTPUT0"), "r", 63)
    assert error_of(shm.stub.ModelInfer, request) == (
        "INTERNAL",
        "shared memory size specified with the request for output 'OUTPUT0' (63 bytes) should be at "
        "least 64 bytes to hold the results",
    )


def test_a_region_that_shrinks(shm, segment, make_request):
    """An object cut shorter after it was registered is an error, not the end of the process."""
    one = segment(2 * PAGE)
    register(shm, "r", one)
    os.truncate(one.file, PAGE)
    ones = np.ones((1, 16), np.int32)
    request = make_request("simple", INPUT0=ones, INPUT1=ones)
    part(request.outputs.add(name="OUTPUT0"), "r", 64, PAGE)
    code, text = error_of(shm.stub.ModelInfer, request)
    assert code == "INVALID_ARGUMENT"
    assert "has become smaller" in text
    request.outputs[0].parameters["shared_memory_offset"].int64_param = PAGE - 64
    shm.stub.ModelInfer(request)


def test_unregistered_while_a_request_runs(shm, segment):
    """Regions of a running request stay until it ends: its output arrives; then they are gone."""
    one = segment()

    def ask(count, output=True):
        one.write(0, np.array([count], np.int64).tobytes())
        request = pb.ModelInferRequest(model_name="slow")
        part(request.inputs.add(name="n", datatype="INT64", shape=[1]), "in", 8)
        if output:
            part(request.outputs.add(name="y"), "out", 8, 0)
        return shm.stub.ModelInfer.future(request)

    register(shm, "in", one, byte_size=8)
    register(shm, "out", one, offset=64, byte_size=8)
    ask(20_000).result()
    began = time.perf_counter()
    ask(20_000).result()
    trips = int(20_000 * 0.7 / (time.perf_counter() - began))
    before = mappings(one)
    assert before > 0
    under_way = ask(trips)
    slow = shm.server.catalog.find("slow", "")
    until(lambda: slow.scheduler.running)
    shm.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
    assert not under_way.done()
    assert mappings(one) == before

    under_way.result(60)
    assert np.frombuffer(one.read(64, 8), np.int64)[0] == trips
    assert is_let_go_of(one)
    assert error_of(ask(1).result, 20)[0] == "NOT_FOUND"


def mappings(segment):
    """How often this process, which is the server too, has the object mapped."""
    return Path("/proc/self/maps").read_text().count(segment.key)


def is_let_go_of(segment):
    """Wait until nobody has the object mapped: an answer is out before its request is forgotten."""
    gc.collect()
    until(lambda: mappings(segment) == 0)
    return True


def test_many_at_once(shm, segment):
    """Callers with a region each, registering and unregistering all the while, get their own."""
    wrong = []

    def call(number):
        one = segment(256)
        values = np.full((1, 4), number, np.float32)
        one.write(0, values.tobytes())
        for turn in range(10):
            register(shm, f"{number}-{turn}", one)
            request = pb.ModelInferRequest(model_name="identity_fp32")
            part(
                request.inputs.add(name="x", datatype="FP32", shape=[1, 4]), f"{number}-{turn}", 16
            )
            part(request.outputs.add(name="y"), f"{number}-{turn}", 16, 128)
            shm.stub.ModelInfer(request)
            if one.read(128, 16) != values.tobytes():
                wrong.append(number)
            shm.stub.SystemSharedMemoryUnregister(
                pb.SystemSharedMemoryUnregisterRequest(name=f"{number}-{turn}")
            )

    threads = [threading.Thread(target=call, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


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


ANY = st.integers(-(2**63), 2**64) | st.integers(-2, 2 * PAGE + 2)


@given(begin=ANY, length=ANY, offset=ANY, size=ANY)
@settings(max_examples=500, deadline=None)
def test_no_arithmetic_leads_out(begin, length, offset, size):
    """Whatever the numbers: a view of exactly those bytes of the object, or an error that is ours."""
    one = Segment(2 * PAGE)
    content = np.arange(2 * PAGE).astype(np.uint8).tobytes()
    one.write(0, content)
    memory = SharedMemory(enabled=True)
    try:
        memory.register("r", one.key, begin, length)
        view = memory.source("r", offset, size).now()
    except ServerError:
        inside = begin >= 0 and length > 0 and begin + length <= 2 * PAGE
        assert not (inside and 0 <= offset < length and 0 <= size <= length - offset)
    else:
        assert bytes(view) == content[begin + offset : begin + offset + size]
        assert len(view) == size
    finally:
        one.file.unlink()


@pytest.mark.parametrize("together", [1, 2])
def test_a_shrunk_region_is_not_read(together, segment):
    """Nor an input, which may have waited for its run since it was looked at."""
    one = segment(2 * PAGE)
    memory = SharedMemory(enabled=True)
    memory.register("r", one.key, 0, 2 * PAGE)
    planned = PlannedInput(name="x", dtype=np.dtype("<f4"), shape=(1, 4), nbytes=16)
    plan = Plan(
        inputs=(planned,),
        batch_size=1,
        outputs=(),
        names=(),
        key=(),
        rows=1,
        classifies=False,
        size=1,
    )
    other = CheckedRequest(plan, [bytes(16)])
    requests = [CheckedRequest(plan, [memory.source("r", PAGE, 16)]), other][:together]
    assert gather(requests)["x"].tolist() == [[0] * 4] * together
    os.truncate(one.file, PAGE)
    with pytest.raises(InvalidRequest, match="has become smaller"):
        gather(requests)


def test_a_region_that_shrinks_while_a_request_waits(shm, segment):
    """The request is refused when its turn comes, its neighbours are answered."""
    one = segment(2 * PAGE)
    one.write(0, np.array([1_000_000], np.int64).tobytes())
    register(shm, "r", one)
    long, waiting, whole = (slow_request(offset) for offset in (0, PAGE, 8))
    model = shm.server.catalog.find("slow", "")
    model.scheduler.latency = LatencyModel()  # a run of a length that nobody knows is a worker's
    running = shm.stub.ModelInfer.future(long, timeout=60)
    calls = [shm.stub.ModelInfer.future(asked, timeout=60) for asked in (waiting, whole)]
    until(lambda: model.waiting == 2)
    os.truncate(one.file, PAGE)

    assert not running.done()
    assert calls[0].code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "'r' has become smaller than it was registered" in calls[0].details()
    assert calls[1].code() is running.code() is grpc.StatusCode.OK


def slow_request(offset):
    request = pb.ModelInferRequest(model_name="slow")
    part(request.inputs.add(name="n", datatype="INT64", shape=[1]), "r", 8, offset)
    return request


def test_a_shrunk_region_is_not_written(segment):
    """The end of the object is looked at once more before an output is written."""
    one = segment(2 * PAGE)
    memory = SharedMemory(enabled=True)
    memory.register("r", one.key, 0, 2 * PAGE)
    destination = memory.destination("r", PAGE, 4)
    os.truncate(one.file, PAGE)
    with pytest.raises(InvalidRequest, match="has become smaller"):
        destination.write("y", bytes(4))


def test_tritonclient_utilities(shm):
    """Objects made and read by tritonclient's own utilities, strings too."""
    size = 4096
    key = f"/layer-zoo-{uuid.uuid4().hex}"
    made = shm_utils.create_shared_memory_region("made", key, size)
    try:
        with triton.InferenceServerClient(shm.address) as client:
            client.unregister_system_shared_memory()
            client.unregister_cuda_shared_memory()
            client.register_system_shared_memory("made", key, size)
            words = np.array([[b"one", b"", b"drei", b"cuatro"]], dtype=object)
            raw = triton_utils.serialize_byte_tensor(words)
            shm_utils.set_shared_memory_region(made, [raw])
            length = len(raw.item())
            tensor = triton.InferInput("x", [1, 4], "BYTES")
            tensor.set_shared_memory("made", length)
            output = triton.InferRequestedOutput("y")
            output.set_shared_memory("made", size - 1024, offset=1024)
            answer = client.infer("identity_bytes", [tensor], outputs=[output]).get_output("y")
            given = shm_utils.get_contents_as_numpy(
                made, triton_utils.triton_to_np_dtype(answer.datatype), list(answer.shape), 1024
            )
            assert given.tolist() == words.tolist()
            assert client.get_system_shared_memory_status("made").regions["made"].byte_size == size
            client.unregister_system_shared_memory("made")
    finally:
        shm_utils.destroy_shared_memory_region(made)


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
