"""One process of several on one port: what they know and count together, as one of them sees it."""

import json
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from zoo_server.dataplane import DataPlane, DataPlaneParts
from zoo_server.models.catalog import Catalog, reading_of
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.handlers import SERVICE
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.protocols.grpc.service import InferenceServicer
from zoo_server.supervisors.group_dataplane import GroupDataPlane
from zoo_server.supervisors.replay_log import LANES
from zoo_server.supervisors.sequence_forwarder import HANDED_ON, handing_on, taking_in
from zoo_server.supervisors.supervisor_channel import Seat
from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading
from zoo_server.topology import Publish, log_models


class WorkerGroup:
    """The whole server as one of its workers sees it (zoo_server.topology.Topology)."""

    shares_port = True
    #: The RPCs that ask the supervisor before they answer.
    waits: Set[str] = frozenset({*LANES, "ModelStatistics"})

    def __init__(self, seat: Seat, catalog: Catalog, publish: Publish) -> None:
        self.listeners = seat.place.listeners
        self.forward = handing_on(seat)
        self._seat = seat
        self._catalog = catalog
        self._publish = publish
        self._showing = threading.Lock()
        self._readiness = Readiness(server=False, models={})

    def changed(self) -> None:
        """Tell the supervisor; `_told` hears what that makes of the whole."""
        with self._showing:  # in turn, or an older picture could win
            self._seat.show(Readiness.of(self._catalog))

    def join(self, parts: DataPlaneParts, path: InferPath) -> DataPlane:
        local = InferenceServicer(DataPlane(parts))
        self._seat.serve(
            short={"readiness": self._told},
            long={
                **{method: _of_bytes(method, getattr(local, method)) for method in LANES},
                "readings": lambda _: readings.to_json(self._read_here()),
            },
            deferred={HANDED_ON: taking_in(path)},
        )
        loaded = len(self._catalog.loaded())
        unavailable = len(self._catalog.entries()) - loaded
        self._seat.call("loaded", json.dumps([loaded, unavailable]).encode())
        return GroupDataPlane(parts, self._seat.call, lambda: self._readiness, self._seat.readings)

    def serving(self) -> None:
        self._seat.call("serving")

    def leaving(self) -> None:
        """Say what this process has counted in all."""
        self._seat.tell("counted", readings.to_json(self._read_here()))

    def processes(self) -> Sequence[int]:
        return self._seat.processes()

    def log_ready(self, _: Mapping[str, str], __: float) -> None:
        """The models are the same in all workers: the first one names them."""
        if self._seat.place.number == 1:
            log_models(self._catalog)

    def _read_here(self) -> list[ModelReading]:
        return [reading_of(model) for model in self._catalog.loaded()]

    def _told(self, raw: bytes) -> bytes:
        self._readiness = Readiness.from_json(raw)
        self._publish(self._readiness)
        return b""


def _of_bytes(method: str, function: Callable[[Any], Message]) -> Callable[[bytes], bytes]:
    """Return what makes an RPC of this worker alone, from bytes to bytes."""
    request = GetMessageClass(SERVICE.methods_by_name[method].input_type)
    return lambda raw: function(request.FromString(raw)).SerializeToString()
