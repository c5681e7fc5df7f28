"""Triton's model_repository extension: RepositoryIndex, RepositoryModelLoad, RepositoryModelUnload.

The rules are docs/protocol.md 2.1; what loading means is server/zoo_server/models/control.py.
"""

from typing import Any

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest, Unsupported
from zoo_server.models.control import ModelControl


class ModelRepository:
    """The servicer of the extension."""

    def __init__(self, control: ModelControl) -> None:
        self._control = control

    def RepositoryIndex(self, request: pb.RepositoryIndexRequest) -> pb.RepositoryIndexResponse:
        _refuse_repository_name(request)
        return pb.RepositoryIndexResponse(
            models=[
                pb.RepositoryIndexResponse.ModelIndex(
                    name=entry.name,
                    version="" if entry.version is None else str(entry.version),
                    state=entry.state.value,
                    reason=entry.reason,
                )
                for entry in self._control.index(ready=request.ready)
            ]
        )

    def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest
    ) -> pb.RepositoryModelLoadResponse:
        _refuse_repository_name(request)
        parameters = {
            key: getattr(value, value.WhichOneof("parameter_choice") or "bool_param")
            for key, value in request.parameters.items()
        }
        self._control.load(request.model_name, parameters)
        return pb.RepositoryModelLoadResponse()

    def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest
    ) -> pb.RepositoryModelUnloadResponse:
        _refuse_repository_name(request)
        parameter = request.parameters.get("unload_dependents")
        # Nothing here depends on another model (ensembles are refused), so that both values mean
        # the same; a value of another type is a mistake all the same.
        if parameter is not None and parameter.WhichOneof("parameter_choice") != "bool_param":
            raise InvalidRequest(
                "invalid value type for 'unload_dependents' parameter, expected bool_param."
            )
        self._control.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()


def _refuse_repository_name(request: Any) -> None:
    if request.repository_name:
        raise Unsupported("'repository_name' specification is not supported")
