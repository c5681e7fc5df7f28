"""A server without ports, for a program that hands it its calls.

Portless     in the place of the ports (server/zoo_server/endpoints.py)
OneOfMany    the topology of one process beside others that know nothing of each other
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn

from zoo_server.config import ServerConfig
from zoo_server.dataplane import DataPlane, DataPlaneParts
from zoo_server.endpoints import CallParts
from zoo_server.errors import Unsupported
from zoo_server.models.catalog import Catalog
from zoo_server.protocols.grpc.infer import InferPath, InferSender
from zoo_server.protocols.grpc.stream import InferStreams
from zoo_server.topology import Publish, SingleProcess, Topology

#: The protocol's extensions that need all of a caller's requests in one process.
_OF_ONE_PROCESS = frozenset(
    {
        "logging", "model_repository", "model_repository(unload_dependents)", "sequence",
        "system_shared_memory",
    }
)  # fmt: skip


class Portless:
    """Entry points that let nothing in: who embeds the server calls it."""

    grpc_port = 0
    addresses: Mapping[str, str] = {}
    reloads: Sequence[Callable[[], None]] = ()

    def __init__(
        self,
        config: ServerConfig,
        topology: Topology,
        calls: CallParts,
        handler_threads: int,
        on_failure: Callable[[], None],
    ) -> None:
        self.streams = InferStreams(calls.path, 0)

    def share_of_threads(self, share: float) -> int:
        """Return 0: calls hold no threads."""
        return 0

    def bind(self) -> None:
        """Nothing is bound."""

    def start(self, dataplane: DataPlane, is_reachable: Callable[[], bool]) -> None:
        """Nothing is started."""

    def stop(self, seconds: float) -> None:
        """Nothing is released."""


class OneOfMany(SingleProcess):
    """One of several processes, each of which a caller's next request may go to."""

    def __init__(self, catalog: Catalog, publish: Publish) -> None:
        super().__init__(catalog, publish)
        self.forward = _refuse_sequence

    def join(self, parts: DataPlaneParts, path: InferPath) -> DataPlane:
        offered = (name for name in parts.metadata.extensions if name not in _OF_ONE_PROCESS)
        metadata = replace(parts.metadata, extensions=tuple(offered))
        return super().join(replace(parts, metadata=metadata), path)


def _refuse_sequence(_: bytes, sender: InferSender) -> NoReturn:
    raise Unsupported(
        "a sequence needs one process, and each request may reach another replica: serve models with "
        "sequence_batching from one `zoo serve`"
    )
