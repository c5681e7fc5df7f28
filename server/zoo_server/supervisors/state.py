"""The states that the processes of a server exchange: numbered, and only the newest counts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from zoo_server.config import ServerConfig
from zoo_server.models.readiness import Readiness
from zoo_server.telemetry.readings import ModelReading
from zoo_server.telemetry.server_counts import Counts

#: Nothing is ready, and nothing known.
NOT_READY = Readiness(server=False, models={})


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a worker is when it starts."""

    config: ServerConfig
    #: Its number, counted from 1; its replacement has the same.
    number: int
    #: Where it answers the others, and where the supervisor does, as gRPC writes it.
    address: str
    supervisor: str
    #: Descriptors of listening sockets that it takes over, by what they are for: "HTTP", "metrics".
    listeners: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerState:
    """What a worker tells the supervisor."""

    number: int = 0
    readiness: Readiness = NOT_READY
    #: What it has counted since it was started.
    readings: Sequence[ModelReading] = ()
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupState:
    """What the supervisor tells every worker."""

    number: int = 0
    #: What is ready in all workers.
    readiness: Readiness = NOT_READY
    #: Where requests of sequences are forwarded to; None while there is no sequence worker.
    sequence_worker: str | None = None
    #: The ids of all processes of the server.
    processes: Sequence[int] = ()
    #: How many workers were started in the place of one that had ended.
    restarts: int = 0
