"""Triton's model_repository extension: RepositoryIndex, RepositoryModelLoad, RepositoryModelUnload.

The rules are docs/protocol.md 2.1; what loading means is server/zoo_server/models/control.py.
"""

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.errors import InvalidRequest


class ModelRepository:
    """The servicer of the extension."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def RepositoryIndex(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        entries = self._dataplane.repository_index(request.repository_name, ready=request.ready)
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=entry.name,
                    version="" if entry.version is None else str(entry.version),
                    state=entry.state.value,
                    reason=entry.reason,
                )
                for entry in entries
            ]
        )

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest
    ) -> pb.RepositoryModelLoadResponse:
        parameters = {
            key: getattr(value, value.WhichOneof("parameter_choice") or "bool_param")
            for key, value in request.parameters.items()
        }
        self._dataplane.load_model(request.repository_name, request.model_name, parameters)
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest
    ) -> pb.RepositoryModelUnloadResponse:
        parameter = request.parameters.get("unload_dependents")
        if parameter is not None and parameter.WhichOneof("parameter_choice") != "bool_param":
            raise InvalidRequest(
                "invalid value type for 'unload_dependents' parameter, expected bool_param."
            )
        dependents = parameter is not None and parameter.bool_param
        self._dataplane.unload_model(request.repository_name, request.model_name, dependents)
        return pb.RepositoryModelUnloadResponse()
