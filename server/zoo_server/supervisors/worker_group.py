"""What the processes of one server know and count together, as one of them sees it.

A server of one process is a company of its own: what is true here is true of the whole.
"""

import json
import os
import threading
from collections.abc import Callable, Sequence, Set
from typing import Any

from zoo_server.inference.model import LoadedModel
from zoo_server.models.catalog import Catalog
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.infer import HandOn, InferPath
from zoo_server.supervisors.group_servicer import WAITS, local_functions, whole_servicer
from zoo_server.supervisors.sequence_forwarder import HANDED_ON, handing_on, taking_in
from zoo_server.supervisors.supervisor_channel import Seat
from zoo_server.telemetry import readings
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.statistics import Snapshot


class Company:
    """The whole server; `seat` is this process's place among several, None where it is alone."""

    def __init__(
        self, seat: Seat | None, catalog: Catalog, publish: Callable[[Readiness], None]
    ) -> None:
        """`publish` hears what is ready in all processes, one call at a time."""
        self._seat = seat
        self._catalog = catalog
        self._publish = publish
        self._publishing = threading.Lock()
        self._readiness = Readiness(server=False, models={})

    def changed(self) -> None:
        """Look at the catalog again; in turn, or an older picture could win."""
        with self._publishing:
            readiness = Readiness.of(self._catalog)
            if self._seat is None:
                self._publish(readiness)
            else:
                self._seat.show(readiness)  # and `_told` hears what that makes of the whole

    @property
    def hand_on(self) -> HandOn | None:
        """What hands requests of sequences on to the process that keeps them; None if it is this."""
        return None if self._seat is None else handing_on(self._seat)

    def join(self, local: Any, path: InferPath) -> Any:
        """Wait until this process may serve; return the servicer that speaks for all.

        `path` answers what other processes hand on. ServerExiting if the server leaves before it ever served.
        """
        if self._seat is None:
            return local
        self._seat.serve(
            short={"readiness": self._told},
            long={
                **local_functions(local),
                "readings": lambda _: readings.to_json(self._read_here()),
            },
            deferred={HANDED_ON: taking_in(path)},
        )
        loaded = len(self._catalog.loaded())
        unavailable = len(self._catalog.entries()) - loaded
        self._seat.call("loaded", json.dumps([loaded, unavailable]).encode())
        return whole_servicer(local, self._seat, lambda: self._readiness)

    @property
    def waits(self) -> Set[str]:
        """The RPCs that ask other processes before they answer."""
        return frozenset() if self._seat is None else WAITS

    def serves(self) -> None:
        """Say that this process takes calls."""
        if self._seat is not None:
            self._seat.call("serving")

    def leaves(self) -> None:
        """Say what this process has counted in all: it takes no more calls, and goes."""
        if self._seat is not None:
            self._seat.tell("counted", readings.to_json(self._read_here()))

    def readings(self) -> list[ModelReading]:
        """Return what was counted of every served version."""
        return self._read_here() if self._seat is None else self._seat.readings()

    def processes(self) -> list[int]:
        """Return the ids of the server's processes."""
        return [os.getpid()] if self._seat is None else self._seat.processes()

    def counted(self, models: Sequence[LoadedModel]) -> list[Snapshot]:
        """Return what was counted of some versions, in order."""
        if self._seat is None:
            return [model.statistics.snapshot() for model in models]
        known = {(one.name, one.version): one.sums for one in self._seat.readings()}
        return [
            known.get((model.settings.name, model.settings.version), Snapshot()) for model in models
        ]

    def _told(self, raw: bytes) -> bytes:
        self._readiness = Readiness.from_json(raw)
        self._publish(self._readiness)
        return b""

    def _read_here(self) -> list[ModelReading]:
        return [
            ModelReading(
                name=model.settings.name,
                version=model.settings.version,
                sums=model.statistics.snapshot(),
                pending=model.waiting,
                load_seconds=model.load_seconds,
                loaded_ns=model.loaded_ns,
            )
            for model in self._catalog.loaded()
        ]
