"""inference.GRPCInferenceService: the Open Inference Protocol with Triton's extensions.

One method an RPC, named like it, from message to message; those of the extensions stand in files of
their own, and what is nowhere answers UNIMPLEMENTED (server/zoo_server/protocols/grpc/handlers.py).
The rules are docs/protocol.md 2.1 (each RPC), 2.2 (inputs), 2.3 (outputs) and 1c (statuses).
"""

from collections.abc import Sequence

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import model_config_pb2
from zoo_server.dataplane import DataPlane, TensorMetadata
from zoo_server.protocols.grpc.model_repository import ModelRepository
from zoo_server.protocols.grpc.server_settings import ServerSettings
from zoo_server.protocols.grpc.shared_memory import SharedMemoryRegions
from zoo_server.protocols.interceptor import Answer, WrittenAnswer
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Duration, Snapshot

#: The answers that probes get again and again.
_LIVE = WrittenAnswer(pb.ServerLiveResponse(live=True).SerializeToString())
_SERVER_READY = {
    ready: WrittenAnswer(pb.ServerReadyResponse(ready=ready).SerializeToString())
    for ready in (False, True)
}
_MODEL_READY = {
    ready: WrittenAnswer(pb.ModelReadyResponse(ready=ready).SerializeToString())
    for ready in (False, True)
}


class OpenInference:
    """The servicer of health, metadata and statistics."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def ServerLive(self, _: pb.ServerLiveRequest) -> Answer:
        return _LIVE

    def ServerReady(self, _: pb.ServerReadyRequest) -> Answer:
        return _SERVER_READY[self._dataplane.is_ready()]

    def ModelReady(self, request: pb.ModelReadyRequest) -> Answer:
        return _MODEL_READY[self._dataplane.is_model_ready(request.name, request.version)]

    def ServerMetadata(self, _: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        metadata = self._dataplane.server_metadata
        return pb.ServerMetadataResponse(
            name=metadata.name, version=metadata.version, extensions=metadata.extensions
        )

    def ModelMetadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        metadata = self._dataplane.model_metadata(request.name, request.version)
        return pb.ModelMetadataResponse(
            name=metadata.name,
            versions=metadata.versions,
            platform=metadata.platform,
            inputs=_tensors(metadata.inputs),
            outputs=_tensors(metadata.outputs),
        )

    def ModelConfig(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        config = self._dataplane.model_config(request.name, request.version)
        return pb.ModelConfigResponse(config=model_config_pb2.ModelConfig.FromString(config))

    def ModelStatistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        readings = self._dataplane.statistics(request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=[_statistics(one) for one in readings])


def _tensors(
    tensors: Sequence[TensorMetadata],
) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    return [
        pb.ModelMetadataResponse.TensorMetadata(
            name=tensor.name, datatype=tensor.datatype, shape=tensor.shape
        )
        for tensor in tensors
    ]


def _statistics(reading: ModelReading) -> pb.ModelStatistics:
    sums = reading.sums
    return pb.ModelStatistics(
        name=reading.name,
        version=str(reading.version),
        last_inference=sums.last_inference_ms,
        inference_count=sums.inference_count,
        execution_count=sums.execution_count,
        inference_stats=_inference_statistics(sums),
        memory_usage=[pb.MemoryUsage(type="CPU", id=0, byte_size=reading.memory_bytes)],
        batch_stats=[
            pb.InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
                compute_output=_duration(batch.compute_output),
            )
            for size, batch in sorted(sums.batches.items())
        ],
    )


def _inference_statistics(sums: Snapshot) -> pb.InferStatistics:
    return pb.InferStatistics(
        success=_duration(sums.success),
        fail=_duration(sums.fail),
        queue=_duration(sums.queue),
        compute_input=_duration(sums.compute_input),
        compute_infer=_duration(sums.compute_infer),
        compute_output=_duration(sums.compute_output),
        cache_hit=_duration(sums.cache_hit),
        cache_miss=_duration(sums.cache_miss),
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)


class InferenceServicer(OpenInference, ModelRepository, SharedMemoryRegions, ServerSettings):
    """Every RPC of the service but inference itself."""
