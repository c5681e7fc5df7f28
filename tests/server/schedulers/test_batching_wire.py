"""What config.pbtxt says of scheduling, from its text to the statuses and the order of the answers.

The policy itself is test_queue.py's; here a run is held up, so that what comes behind it must wait.
"""

import http.client
import json
import threading
import time

import grpc
import numpy as np
import pytest
from google.protobuf import text_format

from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto import model_config_pb2
from zoo_proto import tensorflow_framework_pb2 as tf
from zoo_proto import tensorflow_serving_pb2 as tfs
from zoo_server.errors import ModelLoadError
from zoo_server.model_config import Batching, QueuePolicy
from zoo_server.repository.scheduling import batching_settings
from zoo_server.schedulers.latency_model import LatencyModel

FULL = ("UNAVAILABLE", "Exceeds maximum queue size")
EXPIRED = ("UNAVAILABLE", "Request timeout expired")


class Held:
    """In the place of a model's graph: holds its runs until told to go on, and notes their order."""

    def __init__(self, wire, name: str) -> None:
        model = wire.server.catalog.find(name, "")
        self._graph = model.runner.graph
        model.runner.graph = self
        # A run of a length that nobody knows is a worker's: the transport's loop goes on.
        model.scheduler.latency = LatencyModel()
        self._model = model
        self.provider = self._graph.provider
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.order: list[float] = []

    def run(self, outputs, feeds, *, waits=True, cancellation=None):
        self.order.append(float(feeds["x"].flat[0]))
        self.begun.set()
        assert self.go_on.wait(20)
        return self._graph.run(outputs, feeds, waits=waits)

    def until_waiting(self, count: int) -> None:
        """Wait until so many requests stand in the queue."""
        until(lambda: self._model.waiting == count)


@pytest.fixture
def scheduled(repository, graphs, serve):
    """Serve one model with the given scheduling, its first run held up; return wire and hold."""
    held: list[Held] = []
    running = []

    def start(scheduling: str):
        repository.add("m", graphs.identity(), f"max_batch_size: 1 {scheduling}")
        serving = serve(repository.path, http_port=0)
        wire = serving.__enter__()
        running.append(serving)
        held.append(Held(wire, "m"))
        return wire, held[-1]

    yield start
    for hold in held:
        hold.go_on.set()
    for serving in running:
        serving.__exit__(None, None, None)


def request(number: float, **parameters: int) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    message.raw_input_contents.append(np.full(4, number, np.float32).tobytes())
    for key, value in parameters.items():
        message.parameters[key].int64_param = value
    return message


def outcome(call) -> tuple[str, str]:
    error = call.exception(20)
    return ("OK", "") if error is None else (error.code().name, error.details())


def ask(wire, number: float, **parameters: int):
    return wire.stub.ModelInfer.future(request(number, **parameters), timeout=30)


def predict(wire):
    shape = tf.TensorShapeProto(dim=[tf.TensorShapeProto.Dim(size=size) for size in (1, 4)])
    message = tfs.PredictRequest(model_spec=tfs.ModelSpec(name="m"))
    tensor = tf.TensorProto(dtype=tf.DT_FLOAT, tensor_shape=shape, float_val=[9])
    message.inputs["x"].CopyFrom(tensor)
    method = wire.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict", tfs.PredictRequest.SerializeToString
    )
    return method.future(message, timeout=30)


class OverHttp(threading.Thread):
    """One inference over REST, for as long as it takes."""

    def __init__(self, wire) -> None:
        super().__init__()
        self._address = wire.server.http_address
        self.start()

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [9] * 4}
        connection.request("POST", "/v2/models/m/infer", json.dumps({"inputs": [tensor]}))
        answer = connection.getresponse()
        self.answer = answer.status, json.loads(answer.read()).get("error")
        self.retry_after = answer.getheader("retry-after")
        connection.close()

    def outcome(self) -> tuple[int, str]:
        self.join(30)
        return self.answer


def test_a_full_queue_is_unavailable(scheduled):
    """One runs, one waits, the third is refused on every wire (1c); those before are answered."""
    wire, hold = scheduled("dynamic_batching { default_queue_policy { max_queue_size: 1 } }")
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    waiting = ask(wire, 2)
    hold.until_waiting(1)
    (streamed,) = wire.stub.ModelStreamInfer(iter([request(3)]), timeout=20)

    assert outcome(ask(wire, 3)) == FULL
    assert streamed.error_message == FULL[1]
    assert outcome(predict(wire)) == FULL
    assert OverHttp(wire).outcome() == (503, FULL[1])
    hold.go_on.set()
    assert outcome(running) == outcome(waiting) == ("OK", "")
    assert hold.order == [1, 2]
    assert outcome(ask(wire, 4)) == ("OK", "")


def test_a_flood_is_refused_unread(scheduled, transport):
    """After some refusals, until there is room again; what asks for no model is answered throughout."""
    if transport != "fast":
        pytest.skip("grpcio's own server reads every message")
    wire, hold = scheduled("dynamic_batching { default_queue_policy { max_queue_size: 1 } }")
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    waiting = ask(wire, 2)
    hold.until_waiting(1)

    refused = [outcome(ask(wire, number)) for number in range(3, 13)]
    assert {code for code, _ in refused} == {"UNAVAILABLE"}
    assert refused[:4] == [FULL] * 4
    assert "too many requests" in refused[4][1]
    unread = sum("too many requests" in text for _, text in refused)
    counts = wire.server.counts.read()
    assert counts['nv_server_request_refused{reason="OVERLOAD"}'] == unread > 0
    assert wire.stub.ServerLive(pb.ServerLiveRequest()).live
    # A connection of its own: channels of equal options share one.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"127.0.0.1:{wire.server.grpc_port}", options) as other:
        call = other.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            pb.ModelInferRequest.SerializeToString,
        ).future(request(3), timeout=30)
        assert outcome(call) == FULL

    hold.go_on.set()
    assert outcome(running) == outcome(waiting) == ("OK", "")
    until(lambda: outcome(ask(wire, 4)) == ("OK", ""))
    time.sleep(0.25)
    assert [outcome(ask(wire, 5)) for _ in range(9)] == [("OK", "")] * 9


def test_a_refused_caller_is_told_when_to_try_again(scheduled):
    """As gRPC's retries and HTTP's know it, once the model's pace is known."""
    wire, hold = scheduled("dynamic_batching { default_queue_policy { max_queue_size: 1 } }")
    hold.go_on.set()
    assert outcome(ask(wire, 0)) == ("OK", "")
    hold.go_on.clear()
    hold.begun.clear()
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    waiting = ask(wire, 2)
    hold.until_waiting(1)
    refused = ask(wire, 3)

    assert outcome(refused) == FULL
    hints = dict(refused.trailing_metadata())
    assert int(hints["grpc-retry-pushback-ms"]) >= 1
    over_http = OverHttp(wire)
    assert over_http.outcome() == (503, FULL[1])
    assert over_http.retry_after == "1"
    hold.go_on.set()
    assert outcome(running) == outcome(waiting) == ("OK", "")


def test_a_timeout_of_config_is_unavailable(scheduled):
    """Whoever waited longer is refused on every wire (1c), though it does not say so itself."""
    wire, hold = scheduled(
        "dynamic_batching { default_queue_policy { default_timeout_microseconds: 50000 } }"
    )
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    late = ask(wire, 2), predict(wire)
    over_http = OverHttp(wire)
    hold.until_waiting(3)
    time.sleep(0.1)
    hold.go_on.set()

    assert outcome(running) == ("OK", "")
    assert [outcome(call) for call in late] == [EXPIRED, EXPIRED]
    assert over_http.outcome() == (503, EXPIRED[1])
    assert hold.order == [1]


def test_a_timeout_in_microseconds(scheduled):
    """A request's own: 100,000 are over after a quarter of a second, a minute is not."""
    wire, hold = scheduled(
        "dynamic_batching { default_queue_policy { allow_timeout_override: true } }"
    )
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    short, long = ask(wire, 2, timeout=100_000), ask(wire, 3, timeout=60_000_000)
    hold.until_waiting(2)
    time.sleep(0.25)
    hold.go_on.set()

    assert outcome(running) == ("OK", "")
    assert outcome(short) == EXPIRED
    assert outcome(long) == ("OK", "")
    assert hold.order == [1, 3]


def test_a_timeout_that_may_not_be_overridden(scheduled):
    """Without allow_timeout_override a request's own timeout means nothing."""
    wire, hold = scheduled("dynamic_batching { default_queue_policy { max_queue_size: 9 } }")
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    waiting = ask(wire, 2, timeout=1)
    hold.until_waiting(1)
    hold.go_on.set()

    assert outcome(running) == outcome(waiting) == ("OK", "")


def test_who_delays_runs_behind_the_others(scheduled):
    """timeout_action DELAY: the late one is answered, after those that came behind it."""
    wire, hold = scheduled(
        "dynamic_batching { default_queue_policy { timeout_action: DELAY"
        " default_timeout_microseconds: 60000000 allow_timeout_override: true } }"
    )
    running = ask(wire, 1)
    assert hold.begun.wait(20)
    late = ask(wire, 2, timeout=1000)
    hold.until_waiting(1)
    time.sleep(0.01)
    soon = ask(wire, 3)
    hold.until_waiting(2)
    hold.go_on.set()

    assert outcome(running) == outcome(late) == outcome(soon) == ("OK", "")
    assert hold.order == [1, 3, 2]


def test_priority_levels_of_config(scheduled):
    """The lower number first, none and one out of range as the default; a level's own bound holds."""
    wire, hold = scheduled(
        "dynamic_batching { priority_levels: 3 default_priority_level: 2"
        " priority_queue_policy { key: 1 value { max_queue_size: 1 } } }"
    )
    running = ask(wire, 0)
    assert hold.begun.wait(20)
    calls = []
    for number, options in (
        (3, {"priority": 3}),
        (2, {}),
        (2.5, {"priority": 99}),
        (1, {"priority": 1}),
    ):
        calls.append(ask(wire, number, **options))
        hold.until_waiting(len(calls))

    assert outcome(ask(wire, 1, priority=1)) == FULL
    hold.go_on.set()
    assert {outcome(call) for call in (running, *calls)} == {("OK", "")}
    assert hold.order == [0, 1, 2, 2.5, 3]


def parsed(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_every_setting_is_read():
    """From microseconds to nanoseconds, and each under its own name."""
    assert batching_settings(
        parsed("""
            max_batch_size: 8
            instance_group [{ count: 2 }, { count: 3 }, {}]
            dynamic_batching {
              preferred_batch_size: [ 4, 8 ]
              max_queue_delay_microseconds: 70
              preserve_ordering: true
              priority_levels: 2
              default_priority_level: 1
              default_queue_policy {
                timeout_action: DELAY default_timeout_microseconds: 5 allow_timeout_override: true
              }
              priority_queue_policy { key: 2 value { max_queue_size: 6 } }
            }""")
    ) == Batching(
        max_rows=8,
        joins=True,
        preferred=frozenset({4, 8}),
        delay_ns=70_000,
        preserves_order=True,
        levels=2,
        default_level=1,
        default_policy=QueuePolicy(timeout_ns=5000, rejects=False, allows_override=True),
        policies={2: QueuePolicy(max_size=6)},
        instances=6,
    )


def test_silence_means_one_at_a_time():
    """Without dynamic_batching nothing is joined; without a batch dimension it cannot be."""
    assert batching_settings(parsed("max_batch_size: 4")) == Batching(max_rows=4)
    assert batching_settings(parsed("dynamic_batching {}")) == Batching(max_rows=1, joins=False)
    assert batching_settings(parsed("max_batch_size: 4 dynamic_batching {}")).joins


CONTRADICTIONS = {
    "dynamic_batching { preferred_batch_size: [ 2, 9 ] }": (
        "dynamic batching preferred size must be 1 to max_batch_size 8, got [2, 9]"
    ),
    "dynamic_batching { preferred_batch_size: [ 0 ] }": "preferred size must be 1 to",
    "dynamic_batching { preferred_batch_size: [ -1 ] }": "preferred size must be 1 to",
    "dynamic_batching { priority_levels: 2 }": (
        "default_priority_level must be 1 to priority_levels 2, got 0"
    ),
    "dynamic_batching { priority_levels: 2 default_priority_level: 3 }": "priority_levels 2, got 3",
    "dynamic_batching { priority_queue_policy { key: 1 value {} } }": (
        "priority_queue_policy names level 1 of 0"
    ),
    "dynamic_batching { priority_levels: 2 default_priority_level: 1"
    " priority_queue_policy { key: 3 value {} } }": "priority_queue_policy names level 3 of 2",
    "instance_group { count: -1 }": "instance_group counts must be 1 to 256 in all",
    "instance_group [{ count: 200 }, { count: 57 }]": "instance_group counts must be 1 to 256",
    "instance_group [{ count: 2147483647 }, { count: 2147483647 }]": "must be 1 to 256",
}


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_scheduling_that_contradicts_itself(text):
    """Such a model is not served: ModelLoadError says what is wrong."""
    with pytest.raises(ModelLoadError) as caught:
        batching_settings(parsed(f"max_batch_size: 8 {text}"))

    assert CONTRADICTIONS[text] in str(caught.value)


def test_a_contradiction_is_the_models_reason(repository, graphs, serve):
    """In the index, as for every other fault."""
    (text, reason), *_ = CONTRADICTIONS.items()
    repository.add("m", graphs.identity(), f"max_batch_size: 8 {text}")
    with serve(repository.path) as wire:
        (entry,) = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        with pytest.raises(grpc.RpcError, match="no available versions: dynamic batching"):
            wire.stub.ModelInfer(request(1))

    assert (entry.state, entry.reason) == ("UNAVAILABLE", reason)
