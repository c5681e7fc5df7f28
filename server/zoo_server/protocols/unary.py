"""The path of unary inference calls, from a message's bytes to the answer's, one or a burst at a time.

    calls ──> short to read? ──> read ──> queue of the model ──> … ──> answer's bytes
                    └─ no ──> a worker reads it, after those of the same model that it has to read

A transport's loop, which everybody waits for, says how long it may be held (`inline_budget_ns`). Only
what is known to be short is then done on its thread: a message of a kind that is remembered, or one so
small that nothing in it takes long. A model's requests are read in the order in which they came as
far as that shows: those of sequences wait for one of the same model that a worker is reading.
"""

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from zoo_server.errors import Cancelled, ServerError
from zoo_server.inference.model import LoadedModel
from zoo_server.limits import InFlight, MemoryBudget, Reservation
from zoo_server.protocols.callers import CallerLimits
from zoo_server.protocols.response_sender import Call, ResponseSender
from zoo_server.schedulers.scheduler import UNBOUNDED

_LOG = logging.getLogger(__name__)

#: Messages up to this are read on the thread that has them: the worst takes two milliseconds.
SMALL_MESSAGE = 1024

#: Messages from this on are a worker's even where they are recognised: they may have to be copied.
_LARGE_MESSAGE = 1 << 20

S = TypeVar("S", bound=ResponseSender)


def _fail(sender: ResponseSender, error: Exception) -> None:
    """Refuse a call; one that cannot even be refused holds up nobody behind it."""
    try:
        sender.fail(error)
    except Exception:
        _LOG.exception("a request could not be refused")


def _budget_of(size: int, inline_budget_ns: int) -> int:
    """Return how long a thread may be held by requests of at most so many bytes; large ones are a worker's."""
    if inline_budget_ns != UNBOUNDED and size > _LARGE_MESSAGE:
        return 0
    return inline_budget_ns


class UnaryPath(ABC, Generic[S]):
    """Answers unary calls of one method; what they mean is its subclass's."""

    def __init__(
        self,
        sender: Callable[[Call, Callable[[], None], int], S],
        in_flight: InFlight,
        budget: MemoryBudget,
        workers: Executor,
    ) -> None:
        """`workers` read what a transport's loop must not."""
        #: Whether reading a small message is short: not where it may have to load a model.
        self.reads_small_here = True
        #: What each caller is granted, None for anything.
        self.callers: CallerLimits | None = None
        self._sender = sender
        self._in_flight = in_flight
        self._budget = budget
        self._unread: _Unread[S] = _Unread(workers, self._read_and_submit)

    @abstractmethod
    def read(self, raw: bytes, sender: S) -> bool:
        """Read a request into `sender`; False if it is answered elsewhere. Raises what is wrong."""

    @abstractmethod
    def model_name(self, raw: bytes) -> bytes:
        """Return the name of the model that a message is for; anything, if that cannot be seen."""

    def recognise(self, raw: bytes, sender: S) -> bool:
        """Read a request of a kind that is remembered; False, at once, for any other."""
        return False

    def keeps_order(self, model: bytes) -> bool:
        """Tell whether the requests for a model must be read in the order in which they came."""
        return False

    def answer(
        self, calls: Sequence[Call], inline_budget_ns: int = UNBOUNDED, *, stays: bool = False
    ) -> None:
        """Take calls that arrived together; each is answered, now or later, exactly once.

        `inline_budget_ns` and `stays`: see zoo_server.schedulers.scheduler.Scheduler.submit.
        """
        arrived = time.perf_counter_ns()
        senders = [self._sender(call, self._in_flight.leave, arrived) for call in calls]
        try:
            self._in_flight.enter(len(senders))
        except ServerError as error:
            for sender in senders:
                sender.refuse(error)
            return
        models_to_read: list[bytes] | None = None if inline_budget_ns == UNBOUNDED else []
        groups: dict[LoadedModel, list[S]] = {}
        for call, sender in zip(calls, senders, strict=True):
            if self._has_read(call.message, sender, models_to_read):
                members = groups.get(sender.model)
                if members is None:
                    groups[sender.model] = [sender]
                else:
                    members.append(sender)
        for model, members in groups.items():
            size = members[0].nbytes if len(members) == 1 else max([m.nbytes for m in members])
            model.submit(members, _budget_of(size, inline_budget_ns), stays=stays)
        # What is read overtakes nothing that came before it: that has been submitted by now.
        for name in models_to_read or ():
            self._unread.begin(name)

    def _has_read(self, raw: bytes, sender: S, models_to_read: list[bytes] | None) -> bool:
        """Tell whether a call is to be submitted now: not if it is refused, or read elsewhere.

        `models_to_read` gets the model whose messages a worker has to begin to read; None reads all here.
        """
        try:
            if self.callers is not None:
                sender.enter(self.callers)
            if models_to_read is None:
                return self._read_now(raw, sender)
            return self._read_if_short(raw, sender, models_to_read)
        except Exception as error:
            _fail(sender, error)
            return False

    def _read_now(self, raw: bytes, sender: S) -> bool:
        return self.recognise(raw, sender) or self.read(raw, sender)

    def _read_if_short(self, raw: bytes, sender: S, models_to_read: list[bytes]) -> bool:
        """Read a request that is known to be short; leave any other to a worker."""
        if not (self._unread.models and self._must_follow(raw)):
            if self.recognise(raw, sender):
                return True
            if len(raw) <= SMALL_MESSAGE and self.reads_small_here:
                return self.read(raw, sender)
        model = self.model_name(raw)
        if self._unread.put(model, raw, sender):
            models_to_read.append(model)
        return False

    def _must_follow(self, raw: bytes) -> bool:
        """Tell whether a request has to wait for one that a worker reads."""
        model = self.model_name(raw)
        return model in self._unread.models and self.keeps_order(model)

    def _read_and_submit(self, raw: bytes, sender: S) -> None:
        """On a worker; the run is another's, for this one may have more to read."""
        try:
            if sender.is_gone():
                raise Cancelled("the caller hung up before the request was read")
            if self._read_now(raw, sender):
                sender.model.submit((sender,), 0)
        except Exception as error:
            _fail(sender, error)

    def _reserve(self, sender: S) -> Reservation:
        """Return the account of what decoding a request takes; it ends with the call."""
        reservation = sender.reservation = Reservation(self._budget)
        return reservation


class _Unread(Generic[S]):
    """Messages that workers read: those for one model by one worker, in the order of their arrival."""

    def __init__(self, workers: Executor, read: Callable[[bytes, S], None]) -> None:
        self._workers = workers
        self._read = read
        self._lock = threading.Lock()
        #: What waits to be read or is being read, by the model's name.
        self.models: dict[bytes, deque[tuple[bytes, S]]] = {}

    def put(self, model: bytes, raw: bytes, sender: S) -> bool:
        """Have a message read; tell whether nobody does, so that `begin` has to be called."""
        with self._lock:
            queue = self.models.get(model)
            if queue is not None:
                queue.append((raw, sender))
                return False
            self.models[model] = deque([(raw, sender)])
        return True

    def begin(self, model: bytes) -> None:
        """Have a worker read a model's messages; returns at once."""
        self._workers.submit(self._read_all, model)

    def _read_all(self, model: bytes) -> None:
        queue = self.models[model]
        while True:
            try:
                self._read(*queue[0])
            # A request that cannot even be refused must not block those behind it.
            except Exception:
                _LOG.exception("a request could not be refused")
            with self._lock:
                queue.popleft()
                if not queue:
                    del self.models[model]
                    return
