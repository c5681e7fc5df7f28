"""Triton's shared memory extensions: the six RPCs. The rules are docs/protocol.md 2.1.

System shared memory is server/zoo_server/inference/shared_memory.py. There is no CUDA shared memory: nothing
can be registered, so that the status is empty and whatever is named is unregistered now.
"""

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.dataplane import DataPlane


class SharedMemoryRegions:
    """The servicer of both extensions."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def SystemSharedMemoryStatus(
        self, request: pb.SystemSharedMemoryStatusRequest
    ) -> pb.SystemSharedMemoryStatusResponse:
        response = pb.SystemSharedMemoryStatusResponse()
        for region in self._dataplane.system_regions(request.name):
            status = response.regions[region.name]
            status.name, status.key = region.name, region.key
            status.offset, status.byte_size = region.offset, region.byte_size
        return response

    def SystemSharedMemoryRegister(
        self, request: pb.SystemSharedMemoryRegisterRequest
    ) -> pb.SystemSharedMemoryRegisterResponse:
        self._dataplane.register_system_region(
            request.name, request.key, request.offset, request.byte_size
        )
        return pb.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(
        self, request: pb.SystemSharedMemoryUnregisterRequest
    ) -> pb.SystemSharedMemoryUnregisterResponse:
        """OK where the feature is off too: perf_analyzer unregisters before it starts."""
        self._dataplane.unregister_system_region(request.name)
        return pb.SystemSharedMemoryUnregisterResponse()

    def CudaSharedMemoryStatus(
        self, request: pb.CudaSharedMemoryStatusRequest
    ) -> pb.CudaSharedMemoryStatusResponse:
        self._dataplane.check_cuda_region(request.name)
        return pb.CudaSharedMemoryStatusResponse()

    def CudaSharedMemoryRegister(
        self, request: pb.CudaSharedMemoryRegisterRequest
    ) -> pb.CudaSharedMemoryRegisterResponse:
        self._dataplane.register_cuda_region(request.name)
        return pb.CudaSharedMemoryRegisterResponse()

    def CudaSharedMemoryUnregister(
        self, _: pb.CudaSharedMemoryUnregisterRequest
    ) -> pb.CudaSharedMemoryUnregisterResponse:
        """As above: perf_analyzer and the examples call both, on machines without a GPU too."""
        return pb.CudaSharedMemoryUnregisterResponse()
