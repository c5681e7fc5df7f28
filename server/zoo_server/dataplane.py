"""The data plane, the interface of the server behind every protocol: plain values in, plain values out.

    gRPC servicers ─┐
    REST            ├──> DataPlane ──> catalog, model control, shared memory, settings
    TensorFlow      ┘

Its errors are those of zoo_server/errors.py. It knows no protocol's messages. A server of several processes has one that speaks for all of them
(server/zoo_server/supervisors/group_dataplane.py).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from zoo_server.config import ServerConfig
from zoo_server.datatypes import VARIABLE
from zoo_server.errors import InvalidRequest, NotFound, Unsupported
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.plan import Plan
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.request import InferRequest
from zoo_server.inference.shared_memory import Region, SharedMemory
from zoo_server.model_config import InputSettings, OutputSettings
from zoo_server.models.catalog import Catalog, CatalogEntry, parse_version, reading_of
from zoo_server.models.control import ControlMode, ModelControl
from zoo_server.models.load_override import ControlValue
from zoo_server.telemetry.logs import LogControl, LogSettings, LogValue
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.server_counts import Counts, ServerCounts
from zoo_server.telemetry.traces import Settings as TraceValues
from zoo_server.telemetry.traces import TraceSettings
from zoo_server.version import VERSION

#: The protocol's extensions that work in every server; perf_analyzer asks for server-side statistics
#: only if they are listed.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetadata:
    """The server itself."""

    name: str
    version: str
    #: The protocol's extensions that are offered, sorted.
    extensions: tuple[str, ...]

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Return a server's; what an option switches on is listed only if it does."""
        extensions = {*EXTENSIONS}
        if config.model_control_mode == ControlMode.EXPLICIT:
            extensions |= {"model_repository", "model_repository(unload_dependents)"}
        if config.allow_shared_memory:
            extensions |= {"system_shared_memory"}
        return cls(name=config.server_name, version=VERSION, extensions=tuple(sorted(extensions)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorMetadata:
    """An input or output; `shape` has the batch dimension as -1 where the model batches."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelMetadata:
    """A model as its callers see it."""

    name: str
    #: The ready versions, ascending; only the one named if the request names one.
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPlaneParts:
    """The parts of the server that a data plane asks."""

    catalog: Catalog
    control: ModelControl
    memory: SharedMemory
    metadata: ServerMetadata
    logs: LogControl
    traces: TraceSettings
    counts: ServerCounts


class DataPlane:
    """What this process answers, from any number of threads at once."""

    def __init__(self, parts: DataPlaneParts) -> None:
        self.catalog = parts.catalog
        self.memory = parts.memory
        self.server_metadata = parts.metadata
        self._control = parts.control
        self._logs = parts.logs
        self._traces = parts.traces
        self._counts = parts.counts

    # -- health and metadata ---------------------------------------------------------------------

    def is_ready(self) -> bool:
        """Tell whether every version that should be served is."""
        return self.catalog.is_ready()

    def is_model_ready(self, name: str, version: str) -> bool:
        """Tell whether a version, or any if `version` is empty, takes requests."""
        return self.catalog.is_model_ready(name, version)

    def entries(self, name: str) -> list[CatalogEntry]:
        """Return what is known of a model, by version; empty if nothing is."""
        entries = [entry.at_present() for entry in self.catalog.versions(name)]
        return sorted(entries, key=lambda entry: entry.version or 0)

    def ready_versions(self, name: str) -> list[LoadedModel]:
        """Return the ready versions of a model, ascending; empty if there are none."""
        return self.catalog.ready_versions(name)

    def model_metadata(self, name: str, version: str) -> ModelMetadata:
        """Return what a model takes and answers; errors as Catalog.find's."""
        model = self.catalog.find(name, version)
        settings = model.settings
        versions = [model] if version else self.catalog.ready_versions(settings.name)
        batched = settings.max_batch_size > 0
        return ModelMetadata(
            name=settings.name,
            versions=tuple(str(one.settings.version) for one in versions),
            platform=settings.platform,
            inputs=tuple(_tensor(tensor, batched) for tensor in settings.inputs),
            outputs=tuple(_tensor(tensor, batched) for tensor in settings.outputs),
        )

    def model_config(self, name: str, version: str) -> bytes:
        """Return the completed configuration, a serialised ModelConfig; errors as Catalog.find's."""
        return self.catalog.find(name, version).settings.config

    def statistics(self, name: str, version: str) -> list[ModelReading]:
        """Return what was counted of some versions: all ready ones where a name is empty.

        InvalidRequest, unlike everywhere else, for a model or version that is not ready (1c).
        """
        number = parse_version(version)
        if not name:
            return self.readings(self.catalog.loaded())
        ready = self.catalog.ready_versions(name)
        if not ready:
            raise InvalidRequest(f"requested model '{name}' is not available")
        if number is not None:
            ready = [model for model in ready if model.settings.version == number]
            if not ready:
                raise InvalidRequest(f"requested model version is not available for model '{name}'")
        return self.readings(ready)

    def readings(self, models: Sequence[LoadedModel]) -> list[ModelReading]:
        """Return what was counted of some versions, in order."""
        return [reading_of(model) for model in models]

    def counts(self) -> Counts:
        """Return what the server counts as a whole."""
        return self._counts.read()

    # -- inference -------------------------------------------------------------------------------

    def find(self, name: str, version: str) -> LoadedModel:
        """Return the requested version, or the latest ready one; errors as Catalog.find's."""
        return self.catalog.find(name, version)

    def infer(
        self,
        model: LoadedModel,
        request: InferRequest,
        queue: Callable[[Plan], QueuedRequest],
        inline_budget_ns: int,
    ) -> None:
        """Check a request and hand it to its model; `queue` returns what hears of the outcome.

        A run that is known to take no longer than the budget may be done on the calling thread.
        InvalidRequest if the request does not fit the model.
        """
        checked = model.checker.check(request)
        queued = queue(checked.plan)
        queued.carry(checked.plan, checked.data, request.parameters)
        model.submit((queued,), inline_budget_ns)

    # -- the repository --------------------------------------------------------------------------

    def repository_index(self, repository: str, *, ready: bool) -> list[CatalogEntry]:
        """Return every version known, or every ready one."""
        _refuse_repository(repository)
        return self._control.index(ready=ready)

    def load_model(
        self, repository: str, name: str, parameters: Mapping[str, ControlValue]
    ) -> None:
        """Load a model, or load it again; errors as ModelControl.load's."""
        _refuse_repository(repository)
        self._control.load(name, parameters)

    def unload_model(self, repository: str, name: str, dependents: bool = False) -> None:
        """Take a model out of service; errors as ModelControl.unload's.

        `dependents`: and, of an ensemble, the models that it is made of.
        """
        _refuse_repository(repository)
        self._control.unload(name, dependents=dependents)

    # -- shared memory ---------------------------------------------------------------------------

    def system_regions(self, name: str) -> list[Region]:
        """Return the registered regions, or the one of a name; NotFound if there is none."""
        return list(self.memory.status(name))

    def register_system_region(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Open a shared memory object; errors as SharedMemory.register's."""
        self.memory.register(name, key, offset, byte_size)

    def unregister_system_region(self, name: str) -> None:
        """Forget a region, or all; fine where there is none: perf_analyzer does so at its start."""
        self.memory.unregister(name)

    def check_cuda_region(self, name: str) -> None:
        """Return for no name: no CUDA region is ever registered. NotFound for any other."""
        if name:
            raise NotFound(f"Unable to find cuda shared memory region: '{name}'")

    def register_cuda_region(self, name: str) -> None:
        """Unsupported: there is no CUDA shared memory."""
        raise Unsupported(
            f"failed to register CUDA shared memory region: '{name}', CUDA shared memory is not "
            "served; use system shared memory"
        )

    # -- settings --------------------------------------------------------------------------------

    def trace_settings(self, model: str, values: Mapping[str, Sequence[str]]) -> TraceValues:
        """Change some trace settings, of one model or of the server, and return all of them.

        InvalidRequest for an unknown model; else errors as TraceSettings.change's.
        """
        if model and not self.catalog.is_model_ready(model, ""):
            raise InvalidRequest(f"Request for unknown model : {model}")
        return self._traces.change(model, values)

    def log_settings(self, values: Mapping[str, LogValue | None]) -> LogSettings:
        """Change some log settings and return all of them; errors as LogControl.change's."""
        return self._logs.change(values)


def _tensor(tensor: InputSettings | OutputSettings, batched: bool) -> TensorMetadata:
    """2.1: the batch dimension is shown as -1 where the model batches, or perf_analyzer breaks."""
    batch = (VARIABLE,) if batched else ()
    return TensorMetadata(
        name=tensor.name, datatype=tensor.datatype.wire, shape=(*batch, *tensor.dims)
    )


def _refuse_repository(name: str) -> None:
    if name:
        raise Unsupported("'repository_name' specification is not supported")
