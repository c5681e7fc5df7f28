"""Sequences: order, state, controls, bounds and silence; over every transport, unary and stream."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb

STATE = 'state [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [ 1 ] }]'
CONTROLS = """
control_input [
  { name: "start" control [{ kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }] },
  { name: "end" control [{ kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] }] },
  { name: "ready" control [{ kind: CONTROL_SEQUENCE_READY fp32_false_true: [ 0, 1 ] }] },
  { name: "id" control [{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_INT64 }] }
]
"""


def config(*parts):
    return f"max_batch_size: 8 sequence_batching {{ {' '.join(parts)} }}"


@pytest.fixture
def sums(graphs):
    """y = x + before, after = y: a running sum."""
    return graphs.sums()


def told(graphs, id_kind):
    """Return a model of y = [x, start, end, ready, id]: what the graph is told."""
    rows = ["batch", 1]
    return graphs.model(
        [
            helper.make_node("Cast", ["id"], ["number"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["x", "start", "end", "ready", "number"], ["y"], axis=1),
        ],
        [
            *(
                graphs.value(name, TensorProto.FLOAT, rows)
                for name in ("x", "start", "end", "ready")
            ),
            graphs.value("id", id_kind, rows),
        ],
        [graphs.value("y", TensorProto.FLOAT, ["batch", 5])],
    )


@pytest.fixture
def controlled(graphs):
    """Return such a model with INT64 for the id."""
    return told(graphs, TensorProto.INT64)


def request(value, sequence, *, start=False, end=False, model="m", rows=1):
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=[rows, 1])
    message.raw_input_contents.append(np.full(rows, value, np.float32).tobytes())
    if isinstance(sequence, str):
        message.parameters["sequence_id"].string_param = sequence
    else:
        message.parameters["sequence_id"].int64_param = sequence
    message.parameters["sequence_start"].bool_param = start
    message.parameters["sequence_end"].bool_param = end
    return message


def values(response):
    return np.frombuffer(response.raw_output_contents[0], np.float32).tolist()


def refused(wire, message):
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(message, timeout=10)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("strategy", ["direct {}", "oldest { max_candidate_sequences: 4 }"])
def test_state_is_each_sequences_own(strategy, repository, sums, serve):
    """Interleaved sequences, with numbers and names for ids, keep their own sums."""
    repository.add("m", sums, config(strategy, STATE))
    with serve(repository.path) as wire:
        totals = {7: [], "seven": []}
        for number in range(4):
            for sequence in totals:
                message = request(
                    number + (10 if sequence == 7 else 0),
                    sequence,
                    start=number == 0,
                    end=number == 3,
                )
                totals[sequence] += values(wire.stub.ModelInfer(message))
        again = values(wire.stub.ModelInfer(request(5, 7, start=True)))

    assert totals == {7: [10, 21, 33, 46], "seven": [0, 1, 3, 6]}
    assert again == [5]


@pytest.fixture
def growing(graphs):
    """y = before and x, after = y: all values so far."""
    rows, grown = ["batch", 1], ["batch", "time"]
    return graphs.model(
        [
            helper.make_node("Concat", ["before", "x"], ["after"], axis=1),
            helper.make_node("Identity", ["after"], ["y"]),
        ],
        [
            graphs.value("x", TensorProto.FLOAT, rows),
            graphs.value("before", TensorProto.FLOAT, grown),
        ],
        [
            graphs.value("y", TensorProto.FLOAT, ["batch", "longer"]),
            graphs.value("after", TensorProto.FLOAT, ["batch", "longer"]),
        ],
    )


def state_that_grows(initial):
    zeros = f'initial_state {{ name: "z" data_type: TYPE_FP32 zero_data: true {initial} }}'
    return STATE.replace("dims: [ 1 ]", f"dims: [ -1 ] {zeros}")


@pytest.mark.parametrize(("initial", "first"), [("", 1), ("dims: [ 0 ]", 0), ("dims: [ 3 ]", 3)])
def test_a_state_that_grows_begins_with_the_dims_it_is_given(
    initial, first, repository, growing, serve
):
    """A variable dimension is 1 at first unless `initial_state` says otherwise; 0 is an empty cache."""
    repository.add("m", growing, config("direct {}", state_that_grows(initial)))
    with serve(repository.path) as wire:
        answers = [values(wire.stub.ModelInfer(request(n, 1, start=n == 5))) for n in (5, 6)]

    assert answers == [[0] * first + [5], [0] * first + [5, 6]]


def test_states_of_unlike_shapes_share_no_run(repository, growing, serve):
    """Three at once, of lengths whose mean is that of the first: each has its own values back."""
    waits = "oldest { max_candidate_sequences: 4 max_queue_delay_microseconds: 200000 }"
    repository.add("m", growing, config(waits, state_that_grows("dims: [ 0 ]")))
    lengths = {2: [10, 11], 1: [20], 3: [30, 31, 32]}
    with serve(repository.path) as wire:
        for sequence, sent in lengths.items():
            for value in sent:
                wire.stub.ModelInfer(request(value, sequence, start=value == sent[0]))
        calls = [wire.stub.ModelInfer.future(request(5, sequence)) for sequence in lengths]
        answers = [values(call.result()) for call in calls]

    assert answers == [[*sent, 5] for sent in lengths.values()]


def test_a_stream_of_one_sequence_stays_in_order(repository, sums, serve):
    """Hundreds of requests at once on one stream: each sees the state that its forerunner left."""
    repository.add("m", sums, config("direct {}", STATE))
    count = 300
    with serve(repository.path) as wire:
        answers = wire.stub.ModelStreamInfer(
            (request(1, 3, start=n == 0, end=n == count - 1) for n in range(count)), timeout=30
        )
        totals = [values(answer.infer_response)[0] for answer in answers]

    assert totals == list(range(1, count + 1))


@pytest.mark.parametrize(("callers", "most"), [(16, 4), (40, 1)])
def test_many_sequences_at_once(callers, most, repository, sums, serve):
    """Concurrent sequences share runs and never each other's state; more than live ones wait, and
    keep nobody's next request out."""
    repository.add("m", sums, config(f"oldest {{ max_candidate_sequences: {most} }}", STATE))
    with serve(repository.path) as wire, ThreadPoolExecutor(callers) as pool:

        def whole(sequence):
            return [
                values(
                    wire.stub.ModelInfer(
                        request(sequence, sequence, start=n == 0, end=n == 9), timeout=30
                    )
                )[0]
                for n in range(10)
            ]

        answers = list(pool.map(whole, range(1, callers + 1)))

    assert answers == [[number * (n + 1) for n in range(10)] for number in range(1, callers + 1)]


def test_controls_tell_the_graph(repository, controlled, serve):
    """Start, end, ready and the id arrive as the configuration says."""
    repository.add("m", controlled, config("direct {}", CONTROLS))
    with serve(repository.path) as wire:
        answers = [
            values(wire.stub.ModelInfer(request(2, 41, start=n == 0, end=n == 2))) for n in range(3)
        ]
        code, text = refused(wire, request(2, "name", start=True))
        metadata = wire.stub.ModelMetadata(pb.ModelMetadataRequest(name="m"))

    assert answers == [[2, 1, 0, 1, 41], [2, 0, 0, 1, 41], [2, 0, 1, 1, 41]]
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "correlation ID 'name' of model 'm' must be a number" in text
    assert [tensor.name for tensor in metadata.inputs] == ["x"]


def test_what_is_no_sequence_is_refused(repository, sums, serve):
    """No id, no start, several rows: INVALID_ARGUMENT with Triton's words; after END it begins anew."""
    repository.add("m", sums, config("direct {}", STATE))
    with serve(repository.path) as wire:
        no_id = refused(wire, request(1, 0, start=True))
        no_start = refused(wire, request(1, 9))
        rows = refused(wire, request(1, 9, start=True, rows=2))
        wire.stub.ModelInfer(request(1, 9, start=True, end=True))
        ended = refused(wire, request(1, 9))

    for code, _ in (no_id, no_start, rows, ended):
        assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "must specify a non-zero or non-empty correlation ID" in no_id[1]
    assert "must specify the START flag on the first request of the sequence" in no_start[1]
    assert "must specify batch-size 1" in rows[1]
    assert "START flag" in ended[1]


def test_a_sequence_name_is_bounded(repository, sums, serve):
    """A name of 128 bytes begins a sequence, one of 129 is UNIMPLEMENTED, in Triton's words."""
    repository.add("m", sums, config("direct {}", STATE))
    with serve(repository.path) as wire:
        wire.stub.ModelInfer(request(1, "n" * 128, start=True, end=True))
        code, text = refused(wire, request(1, "n" * 129, start=True, end=True))

    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "string correlation ID cannot be longer than 128 characters" in text


def test_a_silent_sequence_is_forgotten(repository, sums, serve):
    """After max_sequence_idle the place is free for one that waits, and the old one must start anew."""
    repository.add(
        "m",
        sums,
        config(
            "oldest { max_candidate_sequences: 1 } max_sequence_idle_microseconds: 200000", STATE
        ),
    )
    with serve(repository.path) as wire:
        began = time.monotonic()
        wire.stub.ModelInfer(request(1, 1, start=True))
        second = values(wire.stub.ModelInfer(request(2, 2, start=True), timeout=10))
        waited = time.monotonic() - began
        forgotten = refused(wire, request(1, 1))

    assert second == [2]
    assert waited >= 0.2
    assert "START flag" in forgotten[1]


def test_a_failed_request_does_not_block_its_sequence(repository, sums, serve):
    """A request that is refused leaves the sequence as it was."""
    repository.add("m", sums, config("direct {}", STATE))
    with serve(repository.path) as wire:
        wire.stub.ModelInfer(request(1, 1, start=True))
        bad = request(1, 1)
        bad.raw_input_contents[0] = b"xx"
        assert refused(wire, bad)[0] is grpc.StatusCode.INVALID_ARGUMENT
        assert values(wire.stub.ModelInfer(request(1, 1))) == [2]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (
            ['state [{ input_name: "no" output_name: "after" data_type: TYPE_FP32 dims: [1] }]'],
            "'no' is not in the graph",
        ),
        (
            [
                'state [{ input_name: "before" output_name: "after" data_type: TYPE_INT32 dims: [1] }]'
            ],
            "config.pbtxt says TYPE_INT32",
        ),
        (
            [
                'state [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [3] }]'
            ],
            "config.pbtxt gives [3]",
        ),
        (
            [
                'control_input [{ name: "before" control [{ kind: CONTROL_SEQUENCE_START int32_false_true: [0, 1] }] }]'
            ],
            "gives int32_false_true",
        ),
        (
            [
                'state [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [1] '
                'initial_state: { name: "i" data_type: TYPE_FP32 dims: [1] data_file: "f" } }]'
            ],
            "initial_state of 'before' names a data_file: only zero_data is served",
        ),
        (
            [
                'state [{ input_name: "before" output_name: "after" data_type: TYPE_FP32 dims: [1] '
                'initial_state: { name: "i" data_type: TYPE_FP32 dims: [0] zero_data: true } }]'
            ],
            "initial_state of 'before' has dims [0], and the state [1]",
        ),
        (["iterative_sequence: true"], "iterative_sequence is not served"),
    ],
)
def test_a_configuration_that_the_graph_contradicts_is_refused(
    parts, text, repository, sums, serve
):
    """Such a model is listed as unavailable, with the reason."""
    repository.add("m", sums, config("direct {}", *parts))
    with serve(repository.path) as wire:
        (entry,) = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models

    assert entry.state == "UNAVAILABLE"
    assert text in entry.reason


# -- bounds ------------------------------------------------------------------------------------


def batcher_of(wire):
    return wire.server.catalog.find("m", "").scheduler


def waiting(wire):
    return batcher_of(wire).postponed


NEVER_IDLE = "max_sequence_idle_microseconds: 60000000"


@pytest.mark.parametrize(
    ("strategy", "most"), [("direct {}", 8), ("oldest { max_candidate_sequences: 3 }", 3)]
)
def test_live_sequences_are_bounded(strategy, most, repository, sums, serve):
    """Of direct as many live as a batch has rows, of oldest as the configuration says; one more
    waits until one of them ends."""
    repository.add("m", sums, config(strategy, NEVER_IDLE, STATE))
    with serve(repository.path) as wire:
        for sequence in range(1, most + 1):
            wire.stub.ModelInfer(request(1, sequence, start=True), timeout=10)
        more = wire.stub.ModelInfer.future(request(9, most + 1, start=True), timeout=20)
        until(lambda: waiting(wire) == 1)
        live = batcher_of(wire).live
        going_on = values(wire.stub.ModelInfer(request(1, 1), timeout=10))
        waits = not more.done()
        wire.stub.ModelInfer(request(1, 2, end=True), timeout=10)
        let_in = values(more.result())
        bound = batcher_of(wire).live

    assert (live, waits, bound) == (most, True, most)
    assert going_on == [2]
    assert let_in == [9]


# -- what callers may do -----------------------------------------------------------------------


def test_a_start_on_a_live_sequence_begins_it_anew(repository, sums, serve):
    """The state is zeros again, on a stream behind others as well."""
    repository.add("m", sums, config("direct {}", STATE))
    messages = [
        request(1, 7, start=True),
        request(1, 7),
        request(5, 7, start=True),
        request(1, 7),
        request(3, 7, start=True, end=True),
        request(1, 7),
        request(4, 7, start=True),
    ]
    with serve(repository.path) as wire:
        answers = list(wire.stub.ModelStreamInfer(iter(messages), timeout=20))
        unary = [
            values(wire.stub.ModelInfer(request(n, 8, start=n != 2), timeout=10))[0]
            for n in (1, 2, 4)
        ]

    late = answers.pop(5)
    assert "START flag" in late.error_message
    assert [values(answer.infer_response)[0] for answer in answers] == [1, 2, 5, 6, 3, 4]
    assert unary == [1, 3, 4]


def test_a_cancelled_request_is_not_run_and_its_sequence_goes_on(repository, sums, serve):
    """Who hangs up while he waits for a place adds nothing to the state."""
    repository.add("m", sums, config("oldest { max_candidate_sequences: 1 }", NEVER_IDLE, STATE))
    with serve(repository.path) as wire:
        wire.stub.ModelInfer(request(1, 1, start=True), timeout=10)
        gone = wire.stub.ModelInfer.future(request(10, 2, start=True), timeout=20)
        until(lambda: waiting(wire) == 1)
        second = wire.stub.ModelInfer.future(request(20, 2), timeout=20)
        until(lambda: waiting(wire) == 2)
        gone.cancel()
        until(lambda: waiting(wire) == 1)
        wire.stub.ModelInfer(request(1, 1, end=True), timeout=10)
        answer = values(second.result())
        (statistics,) = wire.stub.ModelStatistics(pb.ModelStatisticsRequest(name="m")).model_stats

    assert answer == [20]
    assert statistics.inference_count == 3


def test_a_model_without_a_batch_dimension(repository, graphs, serve):
    """One sequence lives at a time; its state and its controls have no batch dimension either."""
    one = [1]
    model = graphs.model(
        [
            helper.make_node("Add", ["x", "before"], ["after"]),
            helper.make_node("Cast", ["start"], ["began"], to=TensorProto.FLOAT),
            helper.make_node("Concat", ["after", "began"], ["y"], axis=0),
        ],
        [
            graphs.value("x", TensorProto.FLOAT, one),
            graphs.value("before", TensorProto.FLOAT, one),
            graphs.value("start", TensorProto.BOOL, one),
        ],
        [graphs.value("y", TensorProto.FLOAT, [2]), graphs.value("after", TensorProto.FLOAT, one)],
    )
    start = (
        'control_input [{ name: "start" control [{ kind: CONTROL_SEQUENCE_START '
        "bool_false_true: [ false, true ] }] }]"
    )
    parts = ("direct {}", STATE, start)
    repository.add("m", model, f"max_batch_size: 0 sequence_batching {{ {' '.join(parts)} }}")

    def ask(value, sequence, **flags):
        message = request(value, sequence, **flags)
        message.inputs[0].shape[:] = one
        return message

    with serve(repository.path) as wire:
        outcomes = [
            values(wire.stub.ModelInfer(ask(2, 1, start=n == 0, end=n == 2), timeout=10))
            for n in range(3)
        ]
        other = values(wire.stub.ModelInfer(ask(7, 2, start=True), timeout=10))

    assert outcomes == [[2, 1], [4, 0], [6, 0]]
    assert other == [7, 1]


def test_a_correlation_id_must_fit_its_control(repository, graphs, serve):
    """The largest INT32 is told to a graph that takes one, one more is INVALID_ARGUMENT."""
    controls = CONTROLS.replace("INT64", "INT32")
    repository.add("m", told(graphs, TensorProto.INT32), config("direct {}", controls))
    with serve(repository.path) as wire:
        fits = values(wire.stub.ModelInfer(request(2, 2**31 - 1, start=True), timeout=10))
        code, text = refused(wire, request(2, 2**31, start=True))

    assert fits == [2, 1, 0, 1, 2.0**31]
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "correlation ID 2147483648 of model 'm' does not fit INT32" in text
