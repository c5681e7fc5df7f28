"""The program: what `zoo serve` runs, its signals and its exit status.

    serve(config)     one process, or a supervisor and its workers
    work(spec)        what each worker process runs

The first SIGTERM or SIGINT asks the server to shut down, also while models load; the second one ends the
process at once.
"""

import gc
import logging
import os
import resource
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from zoo_server.config import ServerConfig
from zoo_server.errors import OperatorError, ServerExiting
from zoo_server.malloc import heap
from zoo_server.server import Server
from zoo_server.telemetry import logs
from zoo_server.topology import SingleProcess, TopologyFactory

if TYPE_CHECKING:
    from zoo_server.supervisors.state import WorkerSpec

_LOG = logging.getLogger(__name__)

#: Exit statuses, as everywhere in `zoo`; FAILED is also that of a process that was signalled twice.
OK, FAILED, BAD_USAGE = 0, 1, 2

#: Stands in the pipe of signals for a request that is none: no signal has this number.
_SET = 0


class ShutdownRequest:
    """The request to shut down: set by the first signal, waited for by the main thread.

    Signals are read from a pipe into which the interpreter's own C handler writes their numbers. Waiting on
    a lock would miss a signal that another thread takes, or that comes while the lock is being entered:
    Python runs its handlers between the main thread's bytecodes, and there would be none.
    """

    def __init__(self, numbers: Collection[int]) -> None:
        """`numbers`: the signals that ask."""
        self._numbers = frozenset(numbers)
        #: Whether the server leaves because it can no longer serve.
        self.failed = False
        self._woken, self.wakeup = os.pipe()
        os.set_blocking(self.wakeup, False)  # as signal.set_wakeup_fd demands
        self._watch = threading.Thread(target=self._exit_on_signal, name="signals", daemon=True)

    def wait(self) -> None:
        """Return once the server is to leave; a signal after that ends the process at once."""
        while os.read(self._woken, 1)[0] not in {_SET, *self._numbers}:
            pass
        self._watch.start()

    def set(self) -> None:
        """Ask the server to shut down, from any thread and any number of times."""
        with suppress(OSError):  # full: it wakes anyway; closed: it has left
            os.write(self.wakeup, bytes([_SET]))

    def fail(self) -> None:
        """Ask the server to leave because it can no longer serve: the exit status is FAILED."""
        self.failed = True
        self.set()

    def close(self) -> None:
        """Close the pipe, once no signal is written to it."""
        os.close(self.wakeup)
        if self._watch.ident is not None:
            self._watch.join()
        os.close(self._woken)

    def _exit_on_signal(self) -> None:
        while number := os.read(self._woken, 1):
            if number[0] in self._numbers:
                os._exit(FAILED)  # without cleaning up


@contextmanager
def shutdown_on_signals(*numbers: signal.Signals) -> Iterator[ShutdownRequest]:
    """Turn signals into a ShutdownRequest for as long as the block runs (main thread).

    They are SIGTERM and SIGINT unless named.
    """
    numbers = numbers or (signal.SIGTERM, signal.SIGINT)
    request = ShutdownRequest(numbers)
    before: dict[int, Callable[..., object] | int | None] = {
        number: signal.signal(number, _left_to_the_pipe) for number in numbers
    }
    wakeup = signal.set_wakeup_fd(request.wakeup, warn_on_full_buffer=False)
    try:
        yield request
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        request.close()


def _left_to_the_pipe(number: int, frame: FrameType | None) -> None:
    """Do nothing: that there is a handler has the signal's number written to the pipe."""


def serve(config: ServerConfig) -> int:
    """Serve until SIGTERM or SIGINT; return the process's exit status."""
    logs.configure(config.log_level, line_format=config.log_format)
    _raise_descriptor_limit()
    if config.workers > 1:
        from zoo_server.supervisors.supervise import supervise

        return supervise(config)
    with shutdown_on_signals() as shutdown:
        return _serve(config, shutdown, SingleProcess, partial(_LOG.error, "%s"))


def _raise_descriptor_limit() -> None:
    """Allow as many open files as the system lets us: connections are files, and have their own limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(ValueError, OSError):  # some systems say "unlimited" and mean less
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def work(spec: "WorkerSpec") -> int:
    """Serve as one process of several, until the supervisor ends it; return its exit status.

    What the whole server logs once is the supervisor's to log.
    """
    from zoo_server.supervisors.supervisor_channel import SupervisorChannel
    from zoo_server.supervisors.worker_topology import WorkerTopology

    logs.configure(spec.config.log_level, spec.number, line_format=spec.config.log_format)
    with (
        shutdown_on_signals(signal.SIGTERM) as shutdown,
        closing(SupervisorChannel(spec, shutdown.set)) as supervisor,
    ):
        return _serve(
            spec.config,
            shutdown,
            partial(WorkerTopology, supervisor),
            lambda error: supervisor.tell("failed", str(error)),
            level=logging.DEBUG,
        )


def _serve(
    config: ServerConfig,
    shutdown: ShutdownRequest,
    topology: TopologyFactory,
    report: Callable[[OperatorError], None],
    *,
    level: int = logging.INFO,
) -> int:
    """Serve until shutdown is requested; `report` hears why the server cannot, `level` is the log's."""
    heap.keep_freed_pages()
    _spare_the_collector()
    try:
        server = Server(config, topology, shutdown.fail)
        started = _start(server, shutdown)
        shutdown.wait()
        if started.done():
            started.result()
            drain = "no new requests, up to {:g} s for those under way"
        else:
            drain = "no more models are loaded"
    except OperatorError as error:
        report(error)
        return BAD_USAGE
    except ServerExiting:
        return OK
    _LOG.log(level, "leaving: %s", drain.format(config.drain_seconds))
    cut_off = server.stop(config.drain_seconds)
    _LOG.log(level, "stopped")
    status = FAILED if shutdown.failed else OK
    if cut_off or shutdown.failed:
        # A run inside onnxruntime cannot be stopped from outside, and Python would wait for its
        # thread; the drain time was the wait. What a dead loop has left behind is no better.
        logging.shutdown()
        os._exit(status)
    return status


def _start(server: Server, shutdown: ShutdownRequest) -> "Future[None]":
    """Start the server on a thread of its own: the main one waits for signals meanwhile.

    If it cannot start it leaves.
    """
    started: Future[None] = Future()

    def start() -> None:
        try:
            server.start()
        except BaseException as error:
            started.set_exception(error)
            shutdown.set()
        else:
            started.set_result(None)
            gc.collect()
            _spare_the_collector()

    threading.Thread(target=start, name="start", daemon=True).start()
    return started


def _spare_the_collector() -> None:
    """Keep Python's garbage collector off what is there, and from looking every few requests.

    The fast transport's calls leave no cycles behind (tests/server/protocols/grpc/test_transport.py), the public
    one's and HTTP's connections do, a few objects each; a collection over all that was imported takes
    milliseconds.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
