"""One process of several on one port: what they know and count together, as one of them sees it."""

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from zoo_server.inference.model import LoadedModel
from zoo_server.models.catalog import Catalog
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.infer import InferPath
from zoo_server.supervisors.group_servicer import WAITS, local_functions, whole_servicer
from zoo_server.supervisors.sequence_forwarder import HANDED_ON, handing_on, taking_in
from zoo_server.supervisors.supervisor_channel import Seat
from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Snapshot
from zoo_server.topology import Publish, log_models


class WorkerGroup:
    """The whole server as one of its workers sees it (zoo_server.topology.Topology)."""

    shares_port = True
    waits = WAITS

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

    def join(self, local: Any, path: InferPath) -> Any:
        self._seat.serve(
            short={"readiness": self._told},
            long={
                **local_functions(local),
                "readings": lambda _: readings.to_json(self._catalog.readings()),
            },
            deferred={HANDED_ON: taking_in(path)},
        )
        loaded = len(self._catalog.loaded())
        unavailable = len(self._catalog.entries()) - loaded
        self._seat.call("loaded", json.dumps([loaded, unavailable]).encode())
        return whole_servicer(local, self._seat, lambda: self._readiness)

    def serving(self) -> None:
        self._seat.call("serving")

    def leaving(self) -> None:
        """Say what this process has counted in all."""
        self._seat.tell("counted", readings.to_json(self._catalog.readings()))

    def readings(self) -> Sequence[ModelReading]:
        return self._seat.readings()

    def count(self, models: Sequence[LoadedModel]) -> Sequence[Snapshot]:
        known = {(one.name, one.version): one.sums for one in self._seat.readings()}
        return [
            known.get((model.settings.name, model.settings.version), Snapshot()) for model in models
        ]

    def processes(self) -> Sequence[int]:
        return self._seat.processes()

    def log_ready(self, _: Mapping[str, str], __: float) -> None:
        """The models are the same in all workers: the first one names them."""
        if self._seat.place.number == 1:
            log_models(self._catalog)

    def _told(self, raw: bytes) -> bytes:
        self._readiness = Readiness.from_json(raw)
        self._publish(self._readiness)
        return b""
