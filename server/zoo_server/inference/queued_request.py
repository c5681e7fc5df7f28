"""A validated request in a scheduler's queue, and the delivery of its answer.

Each protocol derives its own: a request knows how its answer is written and where it goes
(zoo_server.protocols.unary.ResponseSender, zoo_server.protocols.rest.infer).
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from zoo_server.inference.execution import Rows
from zoo_server.inference.plan import Data, Plan, planned_array
from zoo_server.inference.request import ParameterValue
from zoo_server.schedulers.response_cache import Key


class QueuedRequest(ABC):
    """One request (zoo_server.schedulers.batch_queue.Member, sequence_batcher.SequenceMember).

    Exactly one of `answer` and `fail` is called, once, from any thread.
    """

    __slots__ = (
        "arrived_ns", "data", "deadline_ns", "expires_ns", "key", "level", "lookup", "nbytes",
        "parameters", "plan", "queued_ns", "rows", "sequence", "size", "timeout_ns",
    )  # fmt: skip

    #: Outputs of so many bytes are written in little more than the time that handing them to another
    #: thread takes.
    short_bytes: ClassVar[int] = 1 << 18

    plan: Plan
    data: Sequence[Data]
    parameters: Mapping[str, ParameterValue]
    rows: int
    size: int
    key: Hashable
    #: Set where there is a cache: what stands for the request there, and what the lookup took, in ns.
    lookup: tuple[Key, int]

    def __init__(self, arrived_ns: int, deadline_ns: int = 0, nbytes: int = 0) -> None:
        """`deadline_ns`: when the caller gives up, 0 if never; `nbytes`: the message's size."""
        self.arrived_ns = arrived_ns
        self.deadline_ns = deadline_ns
        self.nbytes = nbytes
        self.level = self.timeout_ns = self.size = 0
        self.queued_ns = self.expires_ns = 0
        self.sequence: Any = None

    def carry(
        self, plan: Plan, data: Sequence[Data], parameters: Mapping[str, ParameterValue]
    ) -> None:
        """Take what was checked; `priority` and `timeout` in microseconds are read from the
        parameters (docs/protocol.md 2.4).
        """
        self.plan = plan
        self.data = data
        self.rows = plan.rows
        self.size = plan.size
        self.key = plan.key
        self.parameters = parameters
        if parameters:
            self.level = int(parameters.get("priority", 0))
            # Below 0 there is no limit, as where Triton reads it without its sign.
            self.timeout_ns = max(0, int(parameters.get("timeout", 0))) * 1000

    def add_inputs(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take inputs that the caller does not send: what a sequence adds."""
        added = tuple(planned_array(name, item.dtype, item.shape) for name, item in arrays.items())
        self.plan = self.plan.with_inputs(added)
        self.data = [*self.data, *arrays.values()]

    def request_id(self) -> str:
        """Return the caller's id of the request, "" without one."""
        return ""

    def header(self, name: str) -> str:
        """Return a header or metadata of the call, "" without it; the name is in lower case."""
        return ""

    @abstractmethod
    def is_gone(self) -> bool:
        """Tell whether the caller no longer waits for the answer."""

    @abstractmethod
    def answer(self, rows: Rows) -> None:
        """Take the request's part of a run's outputs."""

    @abstractmethod
    def fail(self, error: Exception) -> None:
        """Take what went wrong."""
