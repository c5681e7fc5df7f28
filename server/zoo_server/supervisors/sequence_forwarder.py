"""Forwards the requests of sequences to the sequence worker, the one worker that holds them all.

    caller ──> worker 2 ── number, request ──> worker 1: as if its own caller had sent it
       <── the answer ──  <── number, status, answer ──┘  one stream a worker, answers in any order

Every worker has every model, so that metadata, readiness and loading are the same everywhere; only
requests for models with sequences leave theirs. The stream keeps their order. Over HTTP nothing is
forwarded: the sequence worker owns those ports.

If it dies its sequences are lost. Until another has taken its place such requests end as UNAVAILABLE;
afterwards they must START again, as in a server of one process that was restarted. If it hangs the
supervisor ends it, and the stream with it: that is the bound on an answer.
"""

import logging
import math
import pickle
import threading
from collections.abc import Callable, Iterator
from itertools import count
from queue import SimpleQueue
from typing import TypeVar

import grpc

from zoo_server.errors import QueueFull, WorkerLost
from zoo_server.protocols.grpc.infer import InferPath, InferSender
from zoo_server.supervisors import rpc

_LOG = logging.getLogger(__name__)

#: The number of the worker that keeps sequences.
SEQUENCE_WORKER = 1

#: The most bytes of requests that are forwarded and not answered, unless it is one; and what each
#: counts at least.
_MOST_BYTES, _LEAST_BYTES = 1 << 28, 1 << 14

#: The most requests or answers in one message.
_MOST_OF_A_BURST = 64

#: The longest run that the thread which reads the stream takes on itself, as HTTP's loop does.
_INLINE_BUDGET_NS = 500_000

#: The number of a request, its status unless it is OK, and the answer.
_Answer = tuple[int, tuple[grpc.StatusCode, str] | None, bytes]

T = TypeVar("T")


class SequenceForwarder:
    """Forwards requests to one process that keeps sequences, for as long as it lives."""

    def __init__(self, address: str) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        #: Who waits for an answer, and what the request counts.
        self._waiting: dict[int, tuple[InferSender, int]] = {}
        self._bytes = 0
        self._has_ended = False
        self._requests: SimpleQueue[tuple[int, bytes] | None] = SimpleQueue()
        self._channel = grpc.insecure_channel(address, rpc.OPTIONS)
        threading.Thread(target=self._read, name="forwarder", daemon=True).start()

    def forward(self, request: bytes, sender: InferSender) -> None:
        """Forward a request; its sender gets the answer, or the error."""
        size = max(len(request), _LEAST_BYTES)
        with self._lock:
            is_full = self._waiting and self._bytes + size > _MOST_BYTES
            if not (self._has_ended or is_full):
                number = next(self._numbers)
                self._waiting[number] = sender, size
                self._bytes += size
                self._requests.put((number, request))
                return
        sender.fail(worker_lost() if self._has_ended else QueueFull("Exceeds maximum queue size"))

    def close(self) -> None:
        """End the stream once what is under way is answered."""
        self._requests.put(None)

    def _read(self) -> None:
        try:
            forward = self._channel.stream_stream(rpc.path("forward"), pickle.dumps, pickle.loads)
            for answers in forward(_bursts(self._requests)):
                for number, status, answer in answers:
                    with self._lock:
                        sender, size = self._waiting.pop(number)
                        self._bytes -= size
                    _tell(sender.relay, answer, status)
        except grpc.RpcError:
            pass  # the sequence worker has ended
        finally:
            with self._lock:
                self._has_ended = True
            for sender, _ in self._waiting.values():
                _tell(sender.fail, worker_lost())
            self._requests.put(None)
            self._channel.close()


def _tell(callback: Callable[..., None], *outcome: object) -> None:
    """Tell a sender its outcome; a call that is lost is no reason to leave the others waiting."""
    try:
        callback(*outcome)
    except Exception:
        _LOG.exception("a forwarded request could not be answered")


def answer_forwarded(
    path: InferPath, requests: Iterator[list[tuple[int, bytes]]]
) -> Iterator[list[_Answer]]:
    """Answer the requests of another worker, in any order."""
    answers: SimpleQueue[_Answer | None] = SimpleQueue()

    def read() -> None:
        try:
            for burst in requests:
                path.answer([_ForwardedCall(*one, answers) for one in burst], _INLINE_BUDGET_NS)
        except grpc.RpcError:
            pass  # the worker has ended
        finally:
            answers.put(None)

    threading.Thread(target=read, name="forwarded", daemon=True).start()
    yield from _bursts(answers)


def _bursts(queue: "SimpleQueue[T | None]") -> Iterator[list[T]]:
    """Yield what a queue holds at a time, until it gives None: gRPC's messages cost more than ours."""
    while (one := queue.get()) is not None:
        burst = [one]
        while len(burst) < _MOST_OF_A_BURST and not queue.empty():
            if (one := queue.get()) is None:
                queue.put(None)
                break
            burst.append(one)
        yield burst


class _ForwardedCall:
    """A call of another worker (zoo_server.protocols.unary.Call)."""

    __slots__ = ("_answers", "_number", "message")

    def __init__(self, number: int, message: bytes, answers: "SimpleQueue[_Answer | None]") -> None:
        self._number = number
        self.message = message
        self._answers = answers

    @property
    def metadata(self) -> tuple[()]:
        """The worker that received the call has checked its metadata."""
        return ()

    def peer(self) -> str:
        """Return "": the worker that has the caller's connection counts it."""
        return ""

    def is_gone(self) -> bool:
        """Never: the state moves on although the caller hung up, as if the answer were lost."""
        return False

    def reply(self, answer: bytes) -> None:
        self._answers.put((self._number, None, answer))

    def time_remaining(self) -> float:
        """Infinite, for the same reason."""
        return math.inf

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        self._answers.put((self._number, (code, details), b""))


def worker_lost() -> WorkerLost:
    """Return the error of a request that no worker can answer at the moment."""
    return WorkerLost(
        f"worker {SEQUENCE_WORKER} has ended, and with it all sequences: another takes its place"
    )
