"""One checked request on its way through the queue, and where its answer goes."""

from collections.abc import Hashable
from typing import Protocol

from zoo_server.inference.execution import Rows
from zoo_server.inference.validation import CheckedRequest


class Reply(Protocol):
    """Where the answer to one request goes; exactly one of the two is called, from any thread."""

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more."""

    def answer(self, rows: Rows) -> None:
        """Take the request's part of a run's outputs."""

    def fail(self, error: Exception) -> None:
        """Take what went wrong."""


class Pending:
    """One checked request on its way through the queue (zoo_server.schedulers.batch_queue.Member)."""

    __slots__ = (
        "arrived_ns", "checked", "expires_ns", "key", "level", "queued_ns", "reply",
        "rows", "timeout_ns",
    )  # fmt: skip

    def __init__(self, checked: CheckedRequest, reply: Reply, arrived_ns: int) -> None:
        self.checked = checked
        self.reply = reply
        self.arrived_ns = arrived_ns
        self.rows = checked.plan.batch_size or 1
        self.key: Hashable = checked.plan.key
        self.level = self.timeout_ns = 0
        self.queued_ns = self.expires_ns = 0

    def is_gone(self) -> bool:
        """Tell whether nobody waits any more."""
        return self.reply.is_gone()
