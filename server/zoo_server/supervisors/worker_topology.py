"""The topology of a worker: one process of several that serve together."""

import threading
from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import grpc

from zoo_server.dataplane import DataPlane, DataPlaneParts
from zoo_server.models.catalog import Catalog, reading_of
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.infer import Forward, InferPath, InferSender
from zoo_server.supervisors import rpc
from zoo_server.supervisors.group_dataplane import GroupDataPlane
from zoo_server.supervisors.replay_log import LANES
from zoo_server.supervisors.sequence_forwarder import (
    SEQUENCE_WORKER,
    SequenceForwarder,
    answer_forwarded,
    worker_lost,
)
from zoo_server.supervisors.state import GroupState, WorkerState
from zoo_server.supervisors.supervisor_channel import SupervisorChannel
from zoo_server.telemetry.server_counts import ServerCounts
from zoo_server.topology import Publish, log_models

#: Threads for the supervisor's calls: a change of each lane, and some that are short.
_THREADS = 8

#: How long the last answers to other workers may take to leave.
_FLUSH_SECONDS = 2.0


class WorkerTopology:
    """One of several processes (zoo_server.topology.Topology)."""

    shares_port = True
    blocking_rpcs: Set[str] = frozenset(
        {"ModelStatistics", "SystemSharedMemoryUnregister", "TraceSetting", "LogSettings"}
    )

    def __init__(self, supervisor: SupervisorChannel, catalog: Catalog, publish: Publish) -> None:
        self._supervisor = supervisor
        self._spec = spec = supervisor.spec
        self._catalog = catalog
        self._publish = publish
        self.listeners: Mapping[str, int] = spec.listeners
        self.forward: Forward | None = None if spec.number == SEQUENCE_WORKER else self._forward
        self._forwarder: SequenceForwarder | None = None
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._group = GroupState()
        threads = ThreadPoolExecutor(_THREADS + spec.config.workers, "supervisor")
        self._server = grpc.server(threads, options=rpc.OPTIONS)
        self._has_joined = False
        self._counts: ServerCounts | None = None

    def changed(self) -> None:
        if self._has_joined:
            self._supervisor.tell("state", self._state())

    def join(self, parts: DataPlaneParts, path: InferPath) -> DataPlane:
        local = DataPlane(parts)
        self._counts = parts.counts
        functions: dict[str, Callable[..., object]] = {
            "alive": lambda: None,
            "exchange": self._exchange,
        }
        functions |= {method: getattr(local, method) for method in LANES}
        handlers = rpc.handlers(
            {name: rpc.answering(function) for name, function in functions.items()},
            forward=lambda requests, _: answer_forwarded(path, requests),
        )
        self._server.add_generic_rpc_handlers((handlers,))
        self._server.add_insecure_port(self._spec.address)
        self._server.start()
        self._has_joined = True
        self._supervisor.call("join", self._state(), seconds=rpc.CHANGE_SECONDS)
        return GroupDataPlane(parts, self._supervisor, lambda: self._group)

    def serving(self) -> None:
        self._supervisor.tell("serving", len(self._catalog.loaded()), self._catalog.missing())

    def leaving(self) -> None:
        self._supervisor.tell("state", self._state())
        if self._forwarder is not None:
            self._forwarder.close()
        self._server.stop(_FLUSH_SECONDS).wait()

    def processes(self) -> Sequence[int]:
        return self._group.processes

    def restarts(self) -> int:
        return self._group.restarts

    def log_ready(self, _: Mapping[str, str], __: float) -> None:
        """The models are the same in all workers: one of them names them."""
        if self._spec.number == 1:
            log_models(self._catalog)

    def _state(self) -> WorkerState:
        with self._lock:
            return WorkerState(
                number=next(self._numbers),
                readiness=Readiness.of(self._catalog),
                readings=[reading_of(model) for model in self._catalog.loaded()],
                counts={} if self._counts is None else self._counts.read(),
            )

    def _exchange(self, group: GroupState) -> WorkerState:
        """Hear what is true of the whole server, and tell what is of this worker."""
        with self._lock:
            if group.number > self._group.number:
                before, self._group = self._group.sequence_worker, group
                self._publish(group.readiness)
                address = group.sequence_worker
                if self.forward is not None and address != before:
                    self._forwarder = SequenceForwarder(address) if address else None
        return self._state()

    def _forward(self, request: bytes, sender: InferSender) -> None:
        forwarder = self._forwarder
        if forwarder is None:
            sender.fail(worker_lost())
        else:
            forwarder.forward(request, sender)
