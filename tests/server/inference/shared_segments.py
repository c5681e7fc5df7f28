"""Shared memory objects as a client makes them, and requests whose tensors lie in them."""

import os
import uuid
from pathlib import Path

import grpc
import pytest

from zoo_proto import grpc_service_pb2 as pb

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
