"""Server reflection (grpc.reflection.v1alpha), so that grpcurl needs no .proto file.

Our descriptors live in a private pool and those of health and reflection in the process-wide one;
what is shown comes from a third, made here, that holds copies of both.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from zoo_server.protocols.grpc import health

SERVICE_NAME: str = reflection.SERVICE_NAME

#: Reflection streams held open at once; each keeps a thread, taken from a pool of its own.
_STREAMS = 4


def reflection_handlers(services: Sequence[ServiceDescriptor]) -> grpc.GenericRpcHandler:
    """Return the handlers of reflection, showing our services, health and itself."""
    names = (*(service.full_name for service in services), health.SERVICE_NAME, SERVICE_NAME)
    servicer = reflection.ReflectionServicer(names, pool=_shown_pool(services))

    def info(requests: Iterator[object], context: grpc.ServicerContext) -> Iterator[object]:
        yield from servicer.ServerReflectionInfo(requests, context)

    # grpcio reads this off the function: a caller that keeps its stream open starves no inference.
    pool = ThreadPoolExecutor(_STREAMS, "reflection")
    vars(info).update(experimental_thread_pool=pool)
    return grpc.method_handlers_generic_handler(
        SERVICE_NAME,
        {
            "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                info,
                reflection_pb2.ServerReflectionRequest.FromString,
                reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        },
    )


def _shown_pool(services: Sequence[ServiceDescriptor]) -> DescriptorPool:
    pool = DescriptorPool()
    added: set[str] = set()

    def add(file: FileDescriptor) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        pool.AddSerializedFile(file.serialized_pb)

    for file in (*(service.file for service in services), health_pb2.DESCRIPTOR):
        add(file)
    add(reflection_pb2.DESCRIPTOR)
    return pool
