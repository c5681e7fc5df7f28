"""What a transport's loop does itself of a hot call, what it leaves to a worker, and what is remembered."""

import math
import threading
from concurrent.futures import Executor, ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.inference.shared_memory import SharedMemory
from zoo_server.limits import InFlight, MemoryBudget
from zoo_server.models.catalog import Catalog
from zoo_server.protocols.grpc.infer import InferPath, InferSender
from zoo_server.protocols.unary import SMALL_MESSAGE

#: Of the loop: any run that is known at all is short enough.
GENEROUS_NS = 10**12


class Call:
    """A call that notes its answer, and which thread gave it."""

    metadata = ()

    def __init__(self, message: pb.ModelInferRequest) -> None:
        self.message = message.SerializeToString()
        self.thread = ""
        self.status: tuple[grpc.StatusCode, str] | None = None
        self._answer = b""
        self._done = threading.Event()

    def is_gone(self) -> bool:
        return False

    def time_remaining(self) -> float:
        return math.inf

    def reply(self, answer: bytes) -> None:
        self._answer = answer
        self._end()

    def abort(
        self, code: grpc.StatusCode, details: str, retry_ms: int = 0, *, waiting: int = 0
    ) -> None:
        self.status = (code, details)
        self._end()

    def _end(self) -> None:
        self.thread = threading.current_thread().name
        self._done.set()

    def answered(self) -> pb.ModelInferResponse:
        """Wait for the answer."""
        assert self._done.wait(20)
        assert self.status is None, self.status
        return pb.ModelInferResponse.FromString(self._answer)


@pytest.fixture
def catalog(repository, graphs, serve):
    """Serve models of numbers, strings, variable lengths and sequences."""
    repository.add("numbers", graphs.identity(), "max_batch_size: 8")
    value, float_ = graphs.value, TensorProto.FLOAT
    for name, kind in (("text", TensorProto.STRING), ("variable", float_)):
        model = graphs.model(
            [helper.make_node("Identity", ["x"], ["y"])],
            [value("x", kind, ["batch", "n"])],
            [value("y", kind, ["batch", "n"])],
        )
        repository.add(name, model, "max_batch_size: 8")
    repository.add("set", graphs.which_are_set())
    repository.add(
        "sums",
        graphs.wide_sums(),
        "max_batch_size: 8 sequence_batching { state [{ input_name: 'before' "
        "output_name: 'after' data_type: TYPE_FP32 dims: [ 1 ] }] }",
    )
    with serve(repository.path) as wire:
        yield wire.server.catalog


def path_to(catalog: Catalog, workers: Executor, in_flight: InFlight | None = None) -> InferPath:
    memory = SharedMemory(enabled=False)
    return InferPath(catalog, in_flight or InFlight(), MemoryBudget(1 << 30), workers, memory)


@pytest.fixture
def path(catalog):
    """Return a path to the models, with workers of its own."""
    with ThreadPoolExecutor(4, "worker") as workers:
        yield path_to(catalog, workers)


def request(model: str, array: np.ndarray, datatype: str = "FP32") -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype=datatype, shape=array.shape)
    message.raw_input_contents.append(array.tobytes())
    return message


def typed(model: str, array: np.ndarray) -> pb.ModelInferRequest:
    message = request(model, array)
    del message.raw_input_contents[:]
    message.inputs[0].contents.fp32_contents.extend(array.ravel())
    return message


def text(model: str, count: int) -> pb.ModelInferRequest:
    message = request(model, np.zeros((1, count), np.float32), "BYTES")
    message.raw_input_contents[0] = b"\2\0\0\0ab" * count
    return message


def threads(path: InferPath, message: pb.ModelInferRequest, times: int = 3) -> list[str]:
    """Send a request some times as a loop does; return which threads answered: "here", or not."""
    names = []
    for _ in range(times):
        call = Call(message)
        path.answer([call], GENEROUS_NS, stays=True)
        call.answered()
        names.append("here" if call.thread == threading.current_thread().name else "worker")
    return names


def row(size: int) -> np.ndarray:
    return np.zeros((1, size), np.float32)


def test_a_short_request_stays(path):
    """Small, of a kind that is known or so small that it may be read here, once its size was run."""
    assert threads(path, request("variable", row(8))) == ["worker", "here", "here"]
    assert threads(path, typed("variable", row(8))) == ["here"] * 3


@pytest.mark.parametrize(
    "message",
    [
        text("text", 2),
        text("text", 1000),
        typed("variable", row(SMALL_MESSAGE)),
    ],
    ids=["strings", "many strings", "typed contents"],
)
def test_what_must_be_read_or_written_one_by_one_does_not(path, message):
    """However often it comes."""
    assert threads(path, message) == ["worker"] * 3


def test_a_large_request_of_a_kind_is_a_workers_once(path):
    """The first is read on a worker; what it takes and gives is then known to be little."""
    assert threads(path, request("variable", row(4096))) == ["worker", "here", "here"]


def test_large_tensors_are_a_workers(path):
    """Those that come out, and those that go in and may have to be copied."""
    assert threads(path, request("variable", row(1 << 17))) == ["worker"] * 3
    assert threads(path, request("variable", row(1 << 19))) == ["worker"] * 3


def test_a_longer_row_is_not_taken_for_one_that_was_short(path):
    """One row of many elements, where rows of few were short: their number says nothing."""
    assert threads(path, request("variable", row(1))) == ["here"] * 3
    path.answer([first := Call(request("variable", row(1 << 14)))], 2_000_000, stays=True)
    first.answered()
    # Read already; the run of that size has been seen once.
    assert first.thread.startswith("worker")


def test_requests_of_a_sequence_keep_their_order(path):
    """One that a worker has to read, and behind it some that the loop could answer at once."""
    messages = []
    for number in range(40):
        message = request("sums", np.ones((1, 1), np.float32))
        message.parameters["sequence_id"].int64_param = 7
        message.parameters["sequence_start"].bool_param = number == 0
        if number % 10 == 0:  # too large to be read at once
            message.parameters["padding"].string_param = "a" * 100_000
        messages.append(message)
    calls = [Call(message) for message in messages]
    for call in calls:
        path.answer([call], GENEROUS_NS, stays=True)
    sums = [np.frombuffer(call.answered().raw_output_contents[0], np.float32)[0] for call in calls]

    assert sums == list(range(1, 41))


class Hasty(Executor):
    """Does at once what it is given, as a worker may that gets its turn first."""

    def submit(self, function, /, *arguments, **options):
        function(*arguments, **options)


@pytest.mark.parametrize("kind", ["raw", "typed"])
def test_requests_of_a_sequence_keep_their_order_in_a_burst(catalog, kind):
    """Some short ones, and between them large ones that are known, or that a worker has to read."""
    path = path_to(catalog, Hasty())
    steps = []
    for number in range(40):
        large = number % 3 == 2
        array = np.zeros((1, 1 << 19 if large else 1), np.float32)
        array[0, 0] = 1
        message = typed("sums", array) if large and kind == "typed" else request("sums", array)
        message.parameters["sequence_id"].int64_param = 7
        message.parameters["sequence_start"].bool_param = number == 0
        steps.append(Call(message))
    for start in (steps[:4], steps[4:]):  # the first of each kind is not known yet
        path.answer(start, GENEROUS_NS, stays=True)
    sums = [np.frombuffer(call.answered().raw_output_contents[0], np.float32)[0] for call in steps]

    assert sums == list(range(1, 41))


def test_an_unread_request_that_is_wrong_is_refused(path):
    """On the worker, and those behind it are read all the same."""
    wrong, right = text("text", 1000), text("text", 1000)
    wrong.inputs[0].shape[1] = 999
    calls = [Call(wrong), Call(right)]
    path.answer(calls, GENEROUS_NS, stays=True)

    assert len(calls[1].answered().raw_output_contents) == 1
    assert calls[0].status is not None
    assert calls[0].status[0] is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(("width", "where"), [(64, "here"), (16384, "worker")])
def test_classes_of_a_wide_output_are_a_workers(path, width, where):
    """Sorting takes longer than copying."""
    message = request("variable", row(width))
    message.outputs.add(name="y").parameters["classification"].int64_param = 2

    assert threads(path, message)[1:] == [where] * 2


@pytest.mark.parametrize("count", [2, 1000], ids=["read here", "unread"])
def test_a_request_that_cannot_be_refused_holds_up_nobody(catalog, count):
    """Its call is lost already; those that came with it and after it are answered all the same."""
    wrong, right = text("text", count), text("text", count)
    wrong.inputs[0].shape[1] = 999
    lost, behind, later = Call(wrong), Call(right), Call(right)

    def abort(code, details, retry_ms=0, *, waiting=0):
        raise RuntimeError("the transport has let go of it")

    lost.abort = abort
    in_flight = InFlight()
    with ThreadPoolExecutor(4, "worker") as workers:
        path = path_to(catalog, workers, in_flight)
        path.answer([lost, behind], GENEROUS_NS, stays=True)
        behind.answered()
        path.answer([later], GENEROUS_NS, stays=True)

        assert len(later.answered().raw_output_contents) == 1
        assert in_flight.wait_until_idle(10) == 0


def test_a_relayed_status_that_cannot_be_sent_ends_the_call():
    """It is no longer under way, or the server would wait for it when it leaves."""
    left = []
    call = Call(text("text", 2))

    def abort(code, details, retry_ms=0, *, waiting=0):
        raise RuntimeError("the transport has let go of it")

    call.abort = abort
    sender = InferSender(call, lambda: left.append(1), 0)
    with pytest.raises(RuntimeError):
        sender.relay(b"", (grpc.StatusCode.UNAVAILABLE, "lost"))

    assert left == [1]
