"""inference.GRPCInferenceService: the Open Inference Protocol with Triton's extensions.

One method an RPC, named like it; those of the extensions stand in files of their own, and what is
nowhere answers UNIMPLEMENTED (server/zoo_server/protocols/grpc/handlers.py).
The rules are docs/protocol.md 2.1 (each RPC), 2.2 (inputs), 2.3 (outputs) and 1c (statuses).
"""

from collections.abc import Callable, Sequence
from typing import Any

from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import model_config_pb2
from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest
from zoo_server.inference.model import LoadedModel
from zoo_server.models.catalog import Catalog, parse_version
from zoo_server.telemetry.statistics import Duration, Snapshot

#: Returns what was counted of each of some versions.
Count = Callable[[Sequence[LoadedModel]], Sequence[Snapshot]]


def counted_here(models: Sequence[LoadedModel]) -> list[Snapshot]:
    """Count what this process has answered."""
    return [model.statistics.snapshot() for model in models]


#: What really works in every server; perf_analyzer asks for server-side statistics only if listed.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "logging",
    "model_configuration",
    "parameters",
    "schedule_policy",
    "sequence",
    "statistics",
)


class OpenInference:
    """The servicer: plain functions from message to message."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        server_name: str,
        server_version: str,
        extensions: Sequence[str] = EXTENSIONS,
        count: Count = counted_here,
    ) -> None:
        self._catalog = catalog
        self._extensions = sorted(extensions)
        self._server_name = server_name
        self._server_version = server_version
        self._count = count

    def ServerLive(self, _: pb.ServerLiveRequest) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    def ServerReady(self, _: pb.ServerReadyRequest) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._catalog.is_ready())

    def ModelReady(self, request: pb.ModelReadyRequest) -> pb.ModelReadyResponse:
        ready = self._catalog.is_model_ready(request.name, request.version)
        return pb.ModelReadyResponse(ready=ready)

    def ServerMetadata(self, _: pb.ServerMetadataRequest) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name=self._server_name, version=self._server_version, extensions=self._extensions
        )

    def ModelMetadata(self, request: pb.ModelMetadataRequest) -> pb.ModelMetadataResponse:
        model = self._catalog.find(request.name, request.version)
        settings = model.settings
        versions = [model] if request.version else self._catalog.ready_versions(settings.name)
        return pb.ModelMetadataResponse(
            name=settings.name,
            versions=[str(version.settings.version) for version in versions],
            platform=settings.platform,
            inputs=[_metadata(tensor, settings.max_batch_size) for tensor in settings.inputs],
            outputs=[_metadata(tensor, settings.max_batch_size) for tensor in settings.outputs],
        )

    def ModelConfig(self, request: pb.ModelConfigRequest) -> pb.ModelConfigResponse:
        model = self._catalog.find(request.name, request.version)
        config = model_config_pb2.ModelConfig.FromString(model.settings.config)
        return pb.ModelConfigResponse(config=config)

    def ModelStatistics(self, request: pb.ModelStatisticsRequest) -> pb.ModelStatisticsResponse:
        models = self._asked(request)
        return pb.ModelStatisticsResponse(
            model_stats=[
                _statistics(model, sums)
                for model, sums in zip(models, self._count(models), strict=True)
            ]
        )

    def _asked(self, request: pb.ModelStatisticsRequest) -> list[LoadedModel]:
        """docs/protocol.md 1c: an unknown model is INVALID_ARGUMENT here, unlike elsewhere."""
        number = parse_version(request.version)
        if not request.name:
            return self._catalog.loaded()
        ready = self._catalog.ready_versions(request.name)
        if not ready:
            raise InvalidRequest(f"requested model '{request.name}' is not available")
        if number is None:
            return ready
        chosen = [model for model in ready if model.settings.version == number]
        if not chosen:
            raise InvalidRequest(
                f"requested model version is not available for model '{request.name}'"
            )
        return chosen


def _metadata(tensor: Any, max_batch_size: int) -> pb.ModelMetadataResponse.TensorMetadata:
    """The batch is -1 where the model batches: perf_analyzer needs it (docs/protocol.md 2.1)."""
    batch = [VARIABLE] if max_batch_size > 0 else []
    return pb.ModelMetadataResponse.TensorMetadata(
        name=tensor.name, datatype=tensor.datatype.wire, shape=[*batch, *tensor.dims]
    )


def _statistics(model: LoadedModel, sums: Snapshot) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=model.settings.name,
        version=str(model.settings.version),
        last_inference=sums.last_inference_ms,
        inference_count=sums.inference_count,
        execution_count=sums.execution_count,
        inference_stats=_inference_statistics(sums),
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
        cache_hit=pb.StatisticDuration(),
        cache_miss=pb.StatisticDuration(),
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
