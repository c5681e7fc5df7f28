"""The data plane of one worker, speaking for all of them.

    changes       go through the supervisor to every worker, the asked one first (replay_log.py)
    readiness     is what is ready in all of them; known here, since each change of it is told to all
    statistics    are added up when somebody asks

Everything else is the same in every worker and answered from its own memory, inference above all.
"""

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.message import Message

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.dataplane import DataPlane, DataPlaneParts
from zoo_server.inference.model import LoadedModel
from zoo_server.models.payload import ControlValue
from zoo_server.models.readiness import Readiness
from zoo_server.telemetry.logs import LogSettings, LogValue
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Snapshot
from zoo_server.telemetry.traces import Settings as TraceValues

#: Makes a change in every worker: the RPC of that name with a serialised request, and its answer.
Change = Callable[[str, bytes], bytes]


class GroupDataPlane(DataPlane):
    """What every worker answers alike."""

    def __init__(
        self,
        parts: DataPlaneParts,
        change: Change,
        readiness: Callable[[], Readiness],
        read: Callable[[], Sequence[ModelReading]],
    ) -> None:
        """`readiness` and `read` return what is ready in, and was counted by, the whole server."""
        super().__init__(parts)
        self._change = change
        self._readiness = readiness
        self._read = read

    def is_ready(self) -> bool:
        return self._readiness().server

    def is_model_ready(self, name: str, version: str) -> bool:
        return self._readiness().is_model_ready(name, version)

    def readings(self, models: Sequence[LoadedModel]) -> list[ModelReading]:
        known = {(reading.name, reading.version): reading for reading in self._read()}
        names = [(model.settings.name, model.settings.version) for model in models]
        return [known.get(name) or _nothing(*name) for name in names]

    def load_model(
        self, repository: str, name: str, parameters: Mapping[str, ControlValue]
    ) -> None:
        request = pb.RepositoryModelLoadRequest(repository_name=repository, model_name=name)
        for key, value in parameters.items():
            setattr(request.parameters[key], _PARAMETER_FIELDS[type(value)], value)
        self._send("RepositoryModelLoad", request)

    def unload_model(self, repository: str, name: str) -> None:
        request = pb.RepositoryModelUnloadRequest(repository_name=repository, model_name=name)
        self._send("RepositoryModelUnload", request)

    def register_system_region(self, name: str, key: str, offset: int, byte_size: int) -> None:
        self._send(
            "SystemSharedMemoryRegister",
            pb.SystemSharedMemoryRegisterRequest(
                name=name, key=key, offset=offset, byte_size=byte_size
            ),
        )

    def unregister_system_region(self, name: str) -> None:
        request = pb.SystemSharedMemoryUnregisterRequest(name=name)
        self._send("SystemSharedMemoryUnregister", request)

    def trace_settings(self, model: str, values: Mapping[str, Sequence[str]]) -> TraceValues:
        if not values:  # what is in force is the same in all workers
            return super().trace_settings(model, values)
        request = pb.TraceSettingRequest(model_name=model)
        for key, value in values.items():
            request.settings[key].value.extend(value)
        response = pb.TraceSettingResponse.FromString(self._send("TraceSetting", request))
        return {key: tuple(setting.value) for key, setting in response.settings.items()}

    def log_settings(self, values: Mapping[str, LogValue | None]) -> LogSettings:
        if not values:
            return super().log_settings(values)
        request = pb.LogSettingsRequest()
        for key, value in values.items():
            setting = request.settings[key]
            if value is not None:
                setattr(setting, _SETTING_FIELDS[type(value)], value)
        response = pb.LogSettingsResponse.FromString(self._send("LogSettings", request))
        return LogSettings(
            **{
                key: getattr(setting, setting.WhichOneof("parameter_choice") or "string_param")
                for key, setting in response.settings.items()
            }
        )

    def _send(self, method: str, request: Message) -> bytes:
        return self._change(method, request.SerializeToString())


#: The field of a ModelRepositoryParameter, and of a LogSettings value, by the value's type.
_PARAMETER_FIELDS = {
    bool: "bool_param",
    int: "int64_param",
    str: "string_param",
    bytes: "bytes_param",
}
_SETTING_FIELDS = {bool: "bool_param", int: "uint32_param", str: "string_param"}


def _nothing(name: str, version: int) -> ModelReading:
    return ModelReading(
        name=name, version=version, sums=Snapshot(), pending=0, load_seconds=0.0, loaded_ns=0
    )
