"""A server that may be given shared memory, and segments to give it."""

import pytest

from tests.server.inference.shared_segments import Segment
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.datatypes import DATA_TYPES


@pytest.fixture
def segment():
    """Make segments; they are removed with the test."""
    regions = []

    def make(size=4096):
        regions.append(Segment(size))
        return regions[-1]

    yield make
    for one in regions:
        one.file.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def shared_memory_server(tmp_path_factory, graphs, serve):
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


@pytest.fixture
def shm(shared_memory_server):
    """That server, for one test: no region is left behind."""
    yield shared_memory_server
    shared_memory_server.stub.SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
