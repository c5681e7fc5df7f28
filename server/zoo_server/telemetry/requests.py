"""Hands a record of each finished request to the access log and to traces (spans.py).

    a run ends ──> RunObserver ──> queue ──> a thread of its own ──> each listener

Nothing of it exists unless an option asks for it. The thread that ran the model only appends: what
listeners do, such as writing to a pipe that nobody reads, holds up no request. If they fall behind,
records are lost, and counted.
"""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from zoo_server.telemetry.statistics import Execution

_LOG = logging.getLogger(__name__)

_ACCESS = logging.getLogger("zoo_server.access")

#: Batches that may wait to be told.
_MOST_WAITING = 4096

#: How long what waits may take to be told at the end.
_CLOSE_SECONDS = 2.0

#: Of a caller's own id.
_ID_CHARACTERS = 256

#: The header or metadata of a trace (W3C Trace Context), and of an id where a protocol has none.
TRACE_HEADER, ID_HEADER = "traceparent", "x-request-id"


class Observed(Protocol):
    """What a record reads of a request (zoo_server.inference.queued_request.QueuedRequest)."""

    rows: int
    arrived_ns: int

    def request_id(self) -> str:
        """Return the caller's id of the request, "" without one."""

    def header(self, name: str) -> str:
        """Return a header or metadata of the call, "" without it; the name is in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request; moments in ns of time.perf_counter_ns."""

    model: str
    version: int
    id: str
    #: W3C's, as it came; "" without one.
    traceparent: str
    rows: int
    #: The rows of the whole run; 0 if there was none.
    batch: int
    arrived_ns: int
    #: When its run began, and the graph, and when that ended; 0 if there was none.
    started_ns: int
    ready_ns: int
    inferred_ns: int
    finished_ns: int
    #: The name of the error's class; "" for none.
    error: str = ""


Listener = Callable[[RequestRecord], None]


class RequestJournal:
    """Hands records to listeners, on a thread of its own, from a bounded queue."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self._listeners = tuple(listeners)
        self._queue: SimpleQueue[Sequence[RequestRecord] | None] = SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._tell, name="request-journal", daemon=True)
        self._thread.start()

    def put(self, records: Sequence[RequestRecord]) -> None:
        """Queue records for the listeners, from any thread and without waiting; a full queue drops them."""
        if self._queue.qsize() < _MOST_WAITING:
            self._queue.put(records)
        else:
            # Two threads may lose a count to each other: the line says about how many.
            self._dropped += len(records)

    def close(self) -> None:
        """Hand over what is queued, and end the thread."""
        self._queue.put(None)
        self._thread.join(_CLOSE_SECONDS)

    def _tell(self) -> None:
        while (records := self._queue.get()) is not None:
            for record in records:
                for listener in self._listeners:
                    try:
                        listener(record)
                    except Exception:  # one bad record must not be the last
                        _LOG.exception("a request could not be told of")
            if self._dropped and self._queue.empty():
                lost, self._dropped = self._dropped, 0
                _LOG.warning("about %d requests were not told of: there were too many", lost)


class RunObserver:
    """Makes the records of one model version's requests."""

    def __init__(self, journal: RequestJournal, model: str, version: int) -> None:
        self._journal = journal
        self._model = model
        self._version = version

    def ran(self, batch: Sequence[Observed], execution: Execution) -> None:
        """Record the requests that a run answered."""
        self._journal.put([self._record(member, execution) for member in batch])

    def cached(self, member: Observed, now_ns: int) -> None:
        """Record a request that the response cache answered: its batch is 0."""
        self._journal.put([self._record(member, None, now_ns)])

    def failed(self, member: Observed, error: Exception, now_ns: int) -> None:
        """Record a request that was accepted and then failed, whether or not it was run."""
        self._journal.put([self._record(member, None, now_ns, type(error).__name__)])

    def _record(
        self, member: Observed, run: Execution | None, now_ns: int = 0, error: str = ""
    ) -> RequestRecord:
        return RequestRecord(
            model=self._model,
            version=self._version,
            id=(member.request_id() or member.header(ID_HEADER))[:_ID_CHARACTERS],
            traceparent=member.header(TRACE_HEADER),
            rows=member.rows,
            batch=run.rows if run else 0,
            arrived_ns=member.arrived_ns,
            started_ns=run.started_ns if run else 0,
            ready_ns=run.ready_ns if run else 0,
            inferred_ns=run.inferred_ns if run else 0,
            finished_ns=run.finished_ns if run else now_ns,
            error=error,
        )


def log_request(record: RequestRecord) -> None:
    """Write a line of the access log: a listener."""
    began = record.started_ns or record.finished_ns
    fields = {
        "id": record.id,
        "model": record.model,
        "version": record.version,
        "status": record.error or "OK",
        "rows": record.rows,
        "batch": record.batch,
        "queue_us": (began - record.arrived_ns) // 1000,
        "compute_us": (record.finished_ns - began) // 1000,
        "total_us": (record.finished_ns - record.arrived_ns) // 1000,
    }
    if record.traceparent:
        fields["traceparent"] = record.traceparent[:_ID_CHARACTERS]
    # A caller's words may hold line breaks; as JSON they do not.
    text = " ".join(
        f"{key}={json.dumps(value) if key in ('id', 'traceparent') else value}"
        for key, value in fields.items()
    )
    _ACCESS.info("request %s", text, extra={"fields": fields})
