"""Everything but inference: gRPC's own servicer, asked with messages made of a path and JSON.

One function a route: it makes the request message of the RPC of the same meaning and turns the
answer into what Triton's HTTP shows. An RPC that the servicer lacks answers as it does over gRPC.
"""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest
from zoo_server.protocols.grpc.handlers import unsupported
from zoo_server.protocols.rest.json_values import (
    READ,
    decode_base64,
    flag,
    message_to_json,
    parameters,
    text,
    unsigned,
)

#: A request as these functions see it: what the path names, and the body's JSON.
Path = Mapping[str, str]
Body = dict[str, Any]

#: What becomes of it: JSON, or None for an answer without a body.
Answer = Any

_FILE = "file:"

_LOG_FLAGS = frozenset({"log_error", "log_info", "log_warning"})

_MOST_VERBOSE = 2**32 - 1


class Control:
    """The routes' functions."""

    def __init__(self, servicer: object) -> None:
        self._servicer = servicer

    def _call(self, method: str, request: Message) -> Any:
        handler: Callable[[Message], Message] | None = getattr(self._servicer, method, None)
        if handler is None:
            raise unsupported(method)
        return handler(request)

    # -- health and metadata -------------------------------------------------------------------

    def live(self, _: Path, __: Body) -> bool:
        return bool(self._call("ServerLive", pb.ServerLiveRequest()).live)

    def ready(self, _: Path, __: Body) -> bool:
        return bool(self._call("ServerReady", pb.ServerReadyRequest()).ready)

    def model_ready(self, path: Path, _: Body) -> bool:
        request = pb.ModelReadyRequest(name=path["model"], version=path.get("version", ""))
        if not self._call("ModelReady", request).ready:
            raise InvalidRequest("Model version not ready")
        return True

    def server(self, _: Path, __: Body) -> Answer:
        return message_to_json(self._call("ServerMetadata", pb.ServerMetadataRequest()))

    def model(self, path: Path, _: Body) -> Answer:
        request = pb.ModelMetadataRequest(name=path["model"], version=path.get("version", ""))
        return message_to_json(self._call("ModelMetadata", request))

    def config(self, path: Path, _: Body) -> Answer:
        request = pb.ModelConfigRequest(name=path["model"], version=path.get("version", ""))
        return message_to_json(self._call("ModelConfig", request).config)

    def statistics(self, path: Path, _: Body) -> Answer:
        request = pb.ModelStatisticsRequest(
            name=path.get("model", ""), version=path.get("version", "")
        )
        return message_to_json(self._call("ModelStatistics", request))

    # -- the repository ------------------------------------------------------------------------

    def index(self, path: Path, body: Body) -> Answer:
        ready = body.get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidRequest("Invalid value for 'ready': expected a boolean")
        request = pb.RepositoryIndexRequest(repository_name=path.get("repository", ""), ready=ready)
        models = self._call("RepositoryIndex", request).models
        # A model that was never loaded has a name and nothing else.
        return [
            {key: value for key, value in message_to_json(model).items() if value or key == "name"}
            for model in models
        ]

    def load(self, path: Path, body: Body) -> None:
        request = pb.RepositoryModelLoadRequest(
            repository_name=path.get("repository", ""), model_name=path["model"]
        )
        given = parameters(body, READ)
        for key in given:
            value = text(given, key, READ)
            if key.startswith(_FILE):
                request.parameters[key].bytes_param = decode_base64(value, key)
            else:
                request.parameters[key].string_param = value
        self._call("RepositoryModelLoad", request)

    def unload(self, path: Path, body: Body) -> None:
        request = pb.RepositoryModelUnloadRequest(
            repository_name=path.get("repository", ""), model_name=path["model"]
        )
        given = parameters(body, READ)
        if "unload_dependents" in given:
            request.parameters["unload_dependents"].bool_param = flag(given, "unload_dependents")
        self._call("RepositoryModelUnload", request)

    # -- shared memory -------------------------------------------------------------------------

    def system_status(self, path: Path, _: Body) -> Answer:
        request = pb.SystemSharedMemoryStatusRequest(name=path.get("region", ""))
        return _regions(self._call("SystemSharedMemoryStatus", request))

    def system_register(self, path: Path, body: Body) -> None:
        request = pb.SystemSharedMemoryRegisterRequest(
            name=_region(path, "system"),
            key=text(_registered(body, "key"), "key", READ),
            offset=unsigned(body.get("offset", 0), "offset", READ),
            byte_size=unsigned(_registered(body, "byte_size")["byte_size"], "byte_size", READ),
        )
        self._call("SystemSharedMemoryRegister", request)

    def system_unregister(self, path: Path, _: Body) -> None:
        request = pb.SystemSharedMemoryUnregisterRequest(name=path.get("region", ""))
        self._call("SystemSharedMemoryUnregister", request)

    def cuda_status(self, path: Path, _: Body) -> Answer:
        request = pb.CudaSharedMemoryStatusRequest(name=path.get("region", ""))
        return _regions(self._call("CudaSharedMemoryStatus", request))

    def cuda_register(self, path: Path, body: Body) -> None:
        handle = _registered(body, "raw_handle")["raw_handle"]
        request = pb.CudaSharedMemoryRegisterRequest(
            name=_region(path, "cuda"),
            raw_handle=decode_base64(
                text(handle if isinstance(handle, dict) else {}, "b64", READ), "raw_handle"
            ),
            device_id=unsigned(body.get("device_id"), "device_id", READ),
            byte_size=unsigned(body.get("byte_size"), "byte_size", READ),
        )
        self._call("CudaSharedMemoryRegister", request)

    def cuda_unregister(self, path: Path, _: Body) -> None:
        request = pb.CudaSharedMemoryUnregisterRequest(name=path.get("region", ""))
        self._call("CudaSharedMemoryUnregister", request)

    # -- trace and log settings ----------------------------------------------------------------

    def trace(self, path: Path, body: Body) -> Answer:
        """With an empty object, tell; else change and tell."""
        request = pb.TraceSettingRequest(model_name=path.get("model", ""))
        for key, value in body.items():
            # null takes a setting back to the global one: a value without elements.
            request.settings[key].value.extend(_strings(key, value))
        answer = self._call("TraceSetting", request)
        return {
            key: list(setting.value) if key == "trace_level" else "".join(setting.value)
            for key, setting in answer.settings.items()
        }

    def log(self, _: Path, body: Body) -> Answer:
        """With an empty object, tell; else change and tell. null leaves a setting as it is."""
        request = pb.LogSettingsRequest()
        for key, value in body.items():
            if value is None:
                continue
            setting = request.settings[key]
            if key in _LOG_FLAGS:
                setting.bool_param = flag(body, key, READ)
            elif key == "log_verbose_level":
                setting.uint32_param = unsigned(value, key, READ, most=_MOST_VERBOSE)
            else:  # the servicer knows which there are
                setting.string_param = text(body, key, READ)
        answer = self._call("LogSettings", request)
        return {
            key: getattr(setting, setting.WhichOneof("parameter_choice") or "string_param")
            for key, setting in answer.settings.items()
        }


def _regions(answer: Any) -> list[dict[str, Any]]:
    return [message_to_json(region) for _, region in sorted(answer.regions.items())]


def _region(path: Path, kind: str) -> str:
    if "region" not in path:
        raise InvalidRequest(f"'region name' is necessary to register {kind} shared memory region")
    return path["region"]


def _registered(body: Body, key: str) -> Body:
    """Return the body of a registration, which must have a member of that name."""
    if key not in body:
        raise InvalidRequest(f"Shared memory register request has no '{key}' field")
    return body


def _strings(key: str, value: Any) -> list[str]:
    if value is None:
        return []
    return [
        text({key: item}, key, READ) for item in (value if isinstance(value, list) else [value])
    ]
