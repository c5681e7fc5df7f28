"""What differs between a server of one process and one of several, as a process sees it.

    SingleProcess    the server is this one process
    WorkerTopology   one of several on one port (server/zoo_server/supervisors/worker_topology.py)

The server asks this object where the two differ, and does not ask which of them it is.
"""

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

from zoo_server.dataplane import DataPlane, DataPlaneParts
from zoo_server.models.catalog import Catalog
from zoo_server.models.readiness import Readiness
from zoo_server.protocols.grpc.infer import Forward, InferPath

_LOG = logging.getLogger(__name__)

#: Hears what is ready in the whole server, one call at a time.
Publish = Callable[[Readiness], None]


class Topology(Protocol):
    """The whole server, as one of its processes sees it."""

    #: Whether other processes listen on the gRPC port, which is then bound once calls can be answered.
    shares_port: bool
    #: Descriptors of listening sockets to take over, by what they are for: "HTTP", "metrics".
    listeners: Mapping[str, int]
    #: RPCs that ask other processes before they answer, and so need a thread.
    blocking_rpcs: Set[str]
    #: Forwards a request of a sequence to the process that keeps it; None if that is this one.
    forward: Forward | None

    def changed(self) -> None:
        """Look at the catalog again, and publish what is ready in the whole server."""

    def join(self, parts: DataPlaneParts, path: InferPath) -> DataPlane:
        """Wait until this process may serve; return what answers for the whole server.

        `parts` are this process's, `path` answers what other processes forward. ServerExiting if the
        server leaves before it ever served.
        """

    def serving(self) -> None:
        """Note that this process takes calls."""

    def leaving(self) -> None:
        """Note that this process takes no more calls, and ends."""

    def processes(self) -> Sequence[int]:
        """Return the ids of the server's processes."""

    def restarts(self) -> int:
        """Return how many workers were started in the place of one that had ended."""

    def log_ready(self, addresses: Mapping[str, str], seconds: float) -> None:
        """Log that calls are answered, at addresses by what they are for, after a start of so long."""


class SingleProcess:
    """A server of one process."""

    shares_port = False
    listeners: Mapping[str, int] = {}
    blocking_rpcs: Set[str] = frozenset()
    forward: Forward | None = None

    def __init__(self, catalog: Catalog, publish: Publish) -> None:
        self._catalog = catalog
        self._publish = publish
        self._publishing = threading.Lock()

    def changed(self) -> None:
        with self._publishing:  # in turn, or an older picture could win
            self._publish(Readiness.of(self._catalog))

    def join(self, parts: DataPlaneParts, _: InferPath) -> DataPlane:
        return DataPlane(parts)

    def serving(self) -> None:
        """Nobody else has to know."""

    def leaving(self) -> None:
        """Nobody else has to know."""

    def processes(self) -> Sequence[int]:
        return [os.getpid()]

    def restarts(self) -> int:
        return 0

    def log_ready(self, addresses: Mapping[str, str], seconds: float) -> None:
        log_models(self._catalog)
        _LOG.info(
            "ready: %s, %d models, %d unavailable (loaded in %.2f s)",
            ", ".join(f"{name} on {address}" for name, address in addresses.items()),
            len(self._catalog.loaded()),
            self._catalog.missing(),
            seconds,
        )


#: Makes the topology of a server from its catalog.
TopologyFactory = Callable[[Catalog, Publish], Topology]


def log_models(catalog: Catalog) -> None:
    """Log one line for each model that is served, and how many are not."""
    for model in catalog.loaded():
        settings = model.settings
        _LOG.info("serving %s version %d on %s", settings.name, settings.version, model.provider)
    failed = catalog.missing()
    if failed:
        _LOG.warning(
            "ServerReady answers false: %d could not be loaded (see above), %d served",
            failed,
            len(catalog.loaded()),
        )
