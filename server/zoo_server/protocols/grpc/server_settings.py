"""Triton's trace and logging extensions: TraceSetting and LogSettings (docs/protocol.md 2.1)."""

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest
from zoo_server.models.catalog import Catalog
from zoo_server.telemetry.logs import LogControl, LogSettings
from zoo_server.telemetry.traces import TraceSettings


class ServerSettings:
    """The servicer of both extensions."""

    def __init__(self, catalog: Catalog, logs: LogControl, traces: TraceSettings) -> None:
        self._catalog = catalog
        self._logs = logs
        self._traces = traces

    def TraceSetting(self, request: pb.TraceSettingRequest) -> pb.TraceSettingResponse:
        name = request.model_name
        if name and not self._catalog.is_model_ready(name, ""):
            raise InvalidRequest(f"Request for unknown model : {name}")
        values = {key: list(setting.value) for key, setting in request.settings.items()}
        response = pb.TraceSettingResponse()
        for key, value in self._traces.change(name, values).items():
            response.settings[key].value.extend(value)
        return response

    def LogSettings(self, request: pb.LogSettingsRequest) -> pb.LogSettingsResponse:
        values = {
            key: getattr(setting, field) if field is not None else None
            for key, setting in request.settings.items()
            for field in [setting.WhichOneof("parameter_choice")]
        }
        return _response(self._logs.change(values))


def _response(settings: LogSettings) -> pb.LogSettingsResponse:
    response = pb.LogSettingsResponse()
    response.settings["log_file"].string_param = settings.log_file
    response.settings["log_info"].bool_param = settings.log_info
    response.settings["log_warning"].bool_param = settings.log_warning
    response.settings["log_error"].bool_param = settings.log_error
    response.settings["log_verbose_level"].uint32_param = settings.log_verbose_level
    response.settings["log_format"].string_param = settings.log_format
    return response
