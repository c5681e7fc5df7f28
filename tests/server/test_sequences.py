"""Sequences: order, state, controls, bounds and silence; over every transport, unary and stream."""

import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
from onnx import TensorProto, helper
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
    rows = ["batch", 1]
    return graphs.model(
        [
            helper.make_node("Add", ["x", "before"], ["after"]),
            helper.make_node("Identity", ["after"], ["y"]),
        ],
        [graphs.value(name, TensorProto.FLOAT, rows) for name in ("x", "before")],
        [graphs.value(name, TensorProto.FLOAT, rows) for name in ("y", "after")],
    )


@pytest.fixture
def controlled(graphs):
    """y = [x, start, end, ready, id]: what the graph is told."""
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
            graphs.value("id", TensorProto.INT64, rows),
        ],
        [graphs.value("y", TensorProto.FLOAT, ["batch", 5])],
    )


def request(value, sequence, *, start=False, end=False, model="m", rows=1):
    made = pb.ModelInferRequest(model_name=model)
    made.inputs.add(name="x", datatype="FP32", shape=[rows, 1])
    made.raw_input_contents.append(np.full(rows, value, np.float32).tobytes())
    if isinstance(sequence, str):
        made.parameters["sequence_id"].string_param = sequence
    else:
        made.parameters["sequence_id"].int64_param = sequence
    made.parameters["sequence_start"].bool_param = start
    made.parameters["sequence_end"].bool_param = end
    return made


def values(response):
    return np.frombuffer(response.raw_output_contents[0], np.float32).tolist()


def refused(wire, made):
    with pytest.raises(grpc.RpcError) as caught:
        wire.stub.ModelInfer(made, timeout=10)
    return caught.value.code(), caught.value.details()


@pytest.mark.parametrize("strategy", ["direct {}", "oldest { max_candidate_sequences: 4 }"])
def test_state_is_each_sequences_own(strategy, repository, sums, serve):
    """Interleaved sequences, with numbers and names for ids, keep their own sums."""
    repository.add("m", sums, config(strategy, STATE))
    with serve(repository.path) as wire:
        totals = {7: [], "seven": []}
        for number in range(4):
            for sequence in totals:
                made = request(
                    number + (10 if sequence == 7 else 0),
                    sequence,
                    start=number == 0,
                    end=number == 3,
                )
                totals[sequence] += values(wire.stub.ModelInfer(made))
        again = values(wire.stub.ModelInfer(request(5, 7, start=True)))

    assert totals == {7: [10, 21, 33, 46], "seven": [0, 1, 3, 6]}
    assert again == [5]


def test_a_stream_of_one_sequence_stays_in_order(repository, sums, serve):
    """Hundreds of requests at once on one stream: each sees the state that its forerunner left."""
    repository.add("m", sums, config("direct {}", STATE))
    count = 300
    with serve(repository.path) as wire:
        answers = wire.stub.ModelStreamInfer(
            (request(1, 3, start=n == 0, end=n == count - 1) for n in range(count)), timeout=30
        )
        got = [values(answer.infer_response)[0] for answer in answers]

    assert got == list(range(1, count + 1))


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

        got = list(pool.map(whole, range(1, callers + 1)))

    assert got == [[number * (n + 1) for n in range(10)] for number in range(1, callers + 1)]


def test_controls_tell_the_graph(repository, controlled, serve):
    """Start, end, ready and the id arrive as the configuration says."""
    repository.add("m", controlled, config("direct {}", CONTROLS))
    with serve(repository.path) as wire:
        got = [
            values(wire.stub.ModelInfer(request(2, 41, start=n == 0, end=n == 2))) for n in range(3)
        ]
        code, text = refused(wire, request(2, "name", start=True))
        metadata = wire.stub.ModelMetadata(pb.ModelMetadataRequest(name="m"))

    assert got == [[2, 1, 0, 1, 41], [2, 0, 0, 1, 41], [2, 0, 1, 1, 41]]
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
        wire.stub.ModelInfer(request(1, 1, start=True))
        began = time.monotonic()
        second = values(wire.stub.ModelInfer(request(2, 2, start=True), timeout=10))
        waited = time.monotonic() - began
        forgotten = refused(wire, request(1, 1))

    assert second == [2]
    assert waited > 0.1
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
