"""Every way to name a wrong region, or a wrong part of one."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.server.inference.shared_segments import PAGE, Segment, error_of, part, register
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import ServerError
from zoo_server.inference.shared_memory import SharedMemory


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
    error = error_of(shm.stub.SystemSharedMemoryRegister, request)

    assert error[0] == code
    assert text in error[1]
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
    error = error_of(shm.stub.ModelInfer, request)

    assert error[0] == code
    assert text in error[1]


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
        view = memory.source("r", offset, size).read()
    except ServerError:
        inside = begin >= 0 and length > 0 and begin + length <= 2 * PAGE
        assert not (inside and 0 <= offset < length and 0 <= size <= length - offset)
    else:
        assert bytes(view) == content[begin + offset : begin + offset + size]
        assert len(view) == size
    finally:
        one.file.unlink()
