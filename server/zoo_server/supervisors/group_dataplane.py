"""The data plane of a worker, which answers for all workers.

    changes       go through the supervisor to every worker, the asked one first
    readiness     is what is ready in all of them, which each of them is told
    statistics    are added up by the supervisor when somebody asks

Everything else is the same in every worker and answered from its own memory, inference above all.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo_server.dataplane import DataPlane, DataPlaneParts
from zoo_server.errors import ServerExiting
from zoo_server.inference.model import LoadedModel
from zoo_server.models.load_override import ControlValue
from zoo_server.supervisors import rpc
from zoo_server.supervisors.state import GroupState
from zoo_server.supervisors.supervisor_channel import SupervisorChannel
from zoo_server.telemetry.logs import LogSettings, LogValue
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.server_counts import Counts
from zoo_server.telemetry.statistics import Snapshot
from zoo_server.telemetry.traces import Settings as TraceValues

_LOG = logging.getLogger(__name__)


class GroupDataPlane(DataPlane):
    """What every worker answers alike."""

    def __init__(
        self,
        parts: DataPlaneParts,
        supervisor: SupervisorChannel,
        group: Callable[[], GroupState],
    ) -> None:
        """`group` returns what is true of the whole server now."""
        super().__init__(parts)
        self._supervisor = supervisor
        self._group = group

    def is_ready(self) -> bool:
        return self._group().readiness.server

    def is_model_ready(self, name: str, version: str) -> bool:
        return self._group().readiness.is_model_ready(name, version)

    def readings(self, models: Sequence[LoadedModel]) -> list[ModelReading]:
        try:
            whole: Sequence[ModelReading] = self._supervisor.call(
                "readings", seconds=rpc.ASK_READINGS_SECONDS
            )
        except ServerExiting:
            _LOG.warning("the supervisor does not answer: only this worker's counts are told")
            return super().readings(models)
        known = {(reading.name, reading.version): reading for reading in whole}
        names = [(model.settings.name, model.settings.version) for model in models]
        return [known.get(name) or _nothing(*name) for name in names]

    def counts(self) -> Counts:
        """Return what all workers counted as a whole, as they told last; `readings` makes them tell."""
        try:
            whole: Counts = self._supervisor.call("counts", seconds=rpc.ASK_READINGS_SECONDS)
        except ServerExiting:
            return super().counts()
        return whole

    def load_model(
        self, repository: str, name: str, parameters: Mapping[str, ControlValue]
    ) -> None:
        self._change("load_model", repository, name, dict(parameters))

    def unload_model(self, repository: str, name: str, dependents: bool = False) -> None:
        self._change("unload_model", repository, name, dependents)

    def register_system_region(self, name: str, key: str, offset: int, byte_size: int) -> None:
        self._change("register_system_region", name, key, offset, byte_size)

    def unregister_system_region(self, name: str) -> None:
        self._change("unregister_system_region", name)

    def trace_settings(self, model: str, values: Mapping[str, Sequence[str]]) -> TraceValues:
        if not values:  # what is in force is the same in all workers
            return super().trace_settings(model, values)
        plain = {key: tuple(value) for key, value in values.items()}
        settings: TraceValues = self._change("trace_settings", model, plain)
        return settings

    def log_settings(self, values: Mapping[str, LogValue | None]) -> LogSettings:
        if not values:
            return super().log_settings(values)
        settings: LogSettings = self._change("log_settings", dict(values))
        return settings

    def _change(self, method: str, *arguments: object) -> Any:
        return self._supervisor.call(method, *arguments, seconds=rpc.CHANGE_SECONDS)


def _nothing(name: str, version: int) -> ModelReading:
    return ModelReading(
        name=name,
        version=version,
        sums=Snapshot(),
        pending=0,
        load_seconds=0.0,
        memory_bytes=0,
        loaded_ns=0,
    )
