"""Triton's trace and logging extensions: TraceSetting and LogSettings (docs/protocol.md 2.1)."""

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.dataplane import DataPlane
from zoo_server.telemetry.logs import LogSettings


class ServerSettings:
    """The servicer of both extensions."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    def TraceSetting(self, request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
        values = {key: list(setting.value) for key, setting in request.settings.items()}
        response = pb.TraceSettingResponse()
        for key, value in self._dataplane.trace_settings(request.model_name, values).items():
            response.settings[key].value.extend(value)
        return response

    def LogSettings(self, request: pb.LogSettingsRequest) -> pb.LogSettingsResponse:
        values = {
            key: getattr(setting, field) if field is not None else None
            for key, setting in request.settings.items()
            for field in [setting.WhichOneof("parameter_choice")]
        }
        return _response(self._dataplane.log_settings(values))


def _response(settings: LogSettings) -> pb.LogSettingsResponse:
    response = pb.LogSettingsResponse()
    response.settings["log_file"].string_param = settings.log_file
    response.settings["log_info"].bool_param = settings.log_info
    response.settings["log_warning"].bool_param = settings.log_warning
    response.settings["log_error"].bool_param = settings.log_error
    response.settings["log_verbose_level"].uint32_param = settings.log_verbose_level
    response.settings["log_format"].string_param = settings.log_format
    return response
