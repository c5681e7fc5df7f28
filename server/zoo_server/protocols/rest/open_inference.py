"""The Open Inference Protocol's routes but inference, with Triton's extensions: one method a route.

How a value looks in JSON is Triton's: names as in its messages, 64-bit numbers as numbers,
regions in a list where gRPC has a map.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from zoo_proto import model_config_pb2
from zoo_server.dataplane import DataPlane
from zoo_server.errors import InvalidRequest
from zoo_server.models.catalog import CatalogEntry
from zoo_server.protocols.rest.json_values import (
    READ,
    Json,
    decode_base64,
    flag,
    message_to_json,
    parameters,
    text,
    unsigned,
)
from zoo_server.telemetry.logs import LogValue
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Duration

#: What these methods take: the parts of the path by name, and the body's JSON.
PathParameters = Mapping[str, str]
Body = Json

#: What they return: JSON, or None and a flag for an answer without a body.
Answer = Json | list[Json] | bool | None

_FILE = "file:"

_LOG_FLAGS = frozenset({"log_error", "log_info", "log_warning"})

_MOST_VERBOSE = 2**32 - 1


class OpenInferenceRoutes:
    """One method a route (routes.py): the path and the body's JSON in, JSON out."""

    def __init__(self, dataplane: DataPlane) -> None:
        self._dataplane = dataplane

    # -- health and metadata -------------------------------------------------------------------

    def live(self, _: PathParameters, __: Body) -> Answer:
        return True

    def ready(self, _: PathParameters, __: Body) -> Answer:
        return self._dataplane.is_ready()

    def model_ready(self, path: PathParameters, _: Body) -> Answer:
        if not self._dataplane.is_model_ready(*_version(path)):
            raise InvalidRequest("Model version not ready")
        return True

    def server(self, _: PathParameters, __: Body) -> Answer:
        return asdict(self._dataplane.server_metadata)

    def model(self, path: PathParameters, _: Body) -> Answer:
        return asdict(self._dataplane.model_metadata(*_version(path)))

    def config(self, path: PathParameters, _: Body) -> Answer:
        config = self._dataplane.model_config(*_version(path))
        return message_to_json(model_config_pb2.ModelConfig.FromString(config))

    def statistics(self, path: PathParameters, _: Body) -> Answer:
        name, version = path.get("model", ""), path.get("version", "")
        readings = self._dataplane.statistics(name, version)
        return {"model_stats": [_statistics(reading) for reading in readings]}

    # -- the repository ------------------------------------------------------------------------

    def index(self, path: PathParameters, body: Body) -> Answer:
        ready = body.get("ready", False)
        if not isinstance(ready, bool):
            raise InvalidRequest("Invalid value for 'ready': expected a boolean")
        entries = self._dataplane.repository_index(path.get("repository", ""), ready=ready)
        return [_index_entry(entry) for entry in entries]

    def load(self, path: PathParameters, body: Body) -> Answer:
        values: dict[str, str | bytes] = {}
        members = parameters(body, READ)
        for key in members:
            value = text(members, key, READ)
            values[key] = decode_base64(value, key) if key.startswith(_FILE) else value
        self._dataplane.load_model(path.get("repository", ""), path["model"], values)
        return None

    def unload(self, path: PathParameters, body: Body) -> Answer:
        dependents = flag(parameters(body, READ), "unload_dependents")
        self._dataplane.unload_model(path.get("repository", ""), path["model"], dependents)
        return None

    # -- shared memory -------------------------------------------------------------------------

    def system_status(self, path: PathParameters, _: Body) -> Answer:
        return [
            {
                "name": region.name,
                "key": region.key,
                "offset": region.offset,
                "byte_size": region.byte_size,
            }
            for region in self._dataplane.system_regions(path.get("region", ""))
        ]

    def system_register(self, path: PathParameters, body: Body) -> Answer:
        self._dataplane.register_system_region(
            _region(path, "system"),
            text(_registered(body, "key"), "key", READ),
            unsigned(body.get("offset", 0), "offset", READ),
            unsigned(_registered(body, "byte_size")["byte_size"], "byte_size", READ),
        )
        return None

    def system_unregister(self, path: PathParameters, _: Body) -> Answer:
        self._dataplane.unregister_system_region(path.get("region", ""))
        return None

    def cuda_status(self, path: PathParameters, _: Body) -> Answer:
        self._dataplane.check_cuda_region(path.get("region", ""))
        return []

    def cuda_register(self, path: PathParameters, body: Body) -> Answer:
        name = _region(path, "cuda")
        handle = _registered(body, "raw_handle")["raw_handle"]
        decode_base64(text(handle if isinstance(handle, dict) else {}, "b64", READ), "raw_handle")
        unsigned(body.get("device_id"), "device_id", READ)
        unsigned(body.get("byte_size"), "byte_size", READ)
        self._dataplane.register_cuda_region(name)
        return None

    def cuda_unregister(self, _: PathParameters, __: Body) -> Answer:
        """Fine, as unregister_system_region: examples call both, on machines without a GPU too."""
        return None

    # -- trace and log settings ----------------------------------------------------------------

    def trace(self, path: PathParameters, body: Body) -> Answer:
        """With an empty object, tell; else change and tell."""
        # null takes a setting back to the global one: a value without elements.
        values = {key: _strings(key, value) for key, value in body.items()}
        settings = self._dataplane.trace_settings(path.get("model", ""), values)
        return {
            key: list(value) if key == "trace_level" else "".join(value)
            for key, value in settings.items()
        }

    def log(self, _: PathParameters, body: Body) -> Answer:
        """With an empty object, tell; else change and tell. null leaves a setting as it is."""
        values: dict[str, LogValue | None] = {}
        for key, value in body.items():
            if value is None:
                continue
            if key in _LOG_FLAGS:
                values[key] = flag(body, key, READ)
            elif key == "log_verbose_level":
                values[key] = unsigned(value, key, READ, most=_MOST_VERBOSE)
            else:  # the data plane knows which there are
                values[key] = text(body, key, READ)
        return asdict(self._dataplane.log_settings(values))


def _version(path: PathParameters) -> tuple[str, str]:
    """Return the model and the version that a path names, "" for any version."""
    return path["model"], path.get("version", "")


def _index_entry(entry: CatalogEntry) -> Json:
    """A model that was never loaded has a name and nothing else."""
    row = {
        "name": entry.name,
        "version": "" if entry.version is None else str(entry.version),
        "state": entry.state.value,
        "reason": entry.reason,
    }
    return {key: value for key, value in row.items() if value or key == "name"}


def _statistics(reading: ModelReading) -> Json:
    sums = reading.sums
    return {
        "name": reading.name,
        "version": str(reading.version),
        "last_inference": sums.last_inference_ms,
        "inference_count": sums.inference_count,
        "execution_count": sums.execution_count,
        "inference_stats": {
            "success": _duration(sums.success),
            "fail": _duration(sums.fail),
            "queue": _duration(sums.queue),
            "compute_input": _duration(sums.compute_input),
            "compute_infer": _duration(sums.compute_infer),
            "compute_output": _duration(sums.compute_output),
            "cache_hit": _duration(sums.cache_hit),
            "cache_miss": _duration(sums.cache_miss),
        },
        "batch_stats": [
            {
                "batch_size": size,
                "compute_input": _duration(batch.compute_input),
                "compute_infer": _duration(batch.compute_infer),
                "compute_output": _duration(batch.compute_output),
            }
            for size, batch in sorted(sums.batches.items())
        ],
        "memory_usage": [{"type": "CPU", "id": 0, "byte_size": reading.memory_bytes}],
        "response_stats": {},
    }


def _duration(duration: Duration) -> dict[str, int]:
    return {"count": duration.count, "ns": duration.ns}


def _region(path: PathParameters, kind: str) -> str:
    if "region" not in path:
        raise InvalidRequest(f"'region name' is necessary to register {kind} shared memory region")
    return path["region"]


def _registered(body: Body, key: str) -> Body:
    """Return the body of a registration, which must have a member of that name."""
    if key not in body:
        raise InvalidRequest(f"Shared memory register request has no '{key}' field")
    return body


def _strings(key: str, value: object) -> Sequence[str]:
    if value is None:
        return []
    return [
        text({key: item}, key, READ) for item in (value if isinstance(value, list) else [value])
    ]
