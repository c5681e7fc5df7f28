"""Ensembles: what they answer, on every wire, and how they follow their models."""

import threading

import grpc
import numpy as np
import pytest
import requests
import tritonclient.grpc as triton
from onnx import TensorProto

from tests.server.grpc_callers import infer_request
from tests.server.models.ensembles import ROW, chain, ensemble, step
from tests.server.protocols.tfs import client as tf
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto.tensorflow_framework_pb2 import DT_FLOAT

X = np.arange(8, dtype=np.float32).reshape(2, 4)

#: Ensembles that cannot be, of the models `plus` (x, bias -> y), `simple` and `ints`, with the reason.
FAULTS = {
    "no_steps": (ensemble(), "must have at least one step"),
    "unknown": (ensemble(step("nope", {"x": "X"}, {"y": "Y"})), "depends on model 'nope', which is"),
    "unknown_version": (
        ensemble(step("plus", {"x": "X"}, {"y": "Y"}, 7)),
        "depends on model 'plus' version 7",
    ),
    "unknown_input": (ensemble(step("plus", {"z": "X"}, {"y": "Y"})), "'x' of model 'plus' is not in"),
    "extra_input": (
        ensemble(step("plus", {"x": "X", "z": "X"}, {"y": "Y"})),
        "model 'plus' has no input 'z', only 'x'",
    ),
    "unknown_output": (ensemble(step("plus", {"x": "X"}, {"z": "Y"})), "has no output 'z', only 'y'"),
    "unmapped": (ensemble(step("simple", {"INPUT0": "X"}, {"OUTPUT0": "Y"})), "'INPUT1' of model"),
    "twice": (
        ensemble(step("plus", {"x": "X"}, {"y": "Y"}), step("plus", {"x": "X"}, {"y": "Y"})),
        "tensor 'Y' is produced twice",
    ),
    "over_input": (ensemble(step("plus", {"x": "X"}, {"y": "X"})), "tensor 'X' is produced twice"),
    "never": (ensemble(step("plus", {"x": "gone"}, {"y": "Y"})), "'gone', input 'x' of model 'plus', is"),
    "no_output": (ensemble(step("plus", {"x": "X"}, {"y": "Z"})), "output 'Y' is never produced"),
    "unused": (
        ensemble(step("plus", {"x": "a"}, {"y": "b"}), step("plus", {"x": "b"}, {"y": "a"}),
                 step("plus", {"x": "a"}, {"y": "Y"})),
        "input 'X' is never used",
    ),
    "tensor_cycle": (
        ensemble(step("plus", {"x": "a"}, {"y": "b"}), step("plus", {"x": "b"}, {"y": "a"}),
                 step("plus", {"x": "X"}, {"y": "Y"})),
        "the steps form a cycle: each of 'plus', 'plus'",
    ),
    "itself": (ensemble(step("itself", {"X": "X"}, {"Y": "Y"})), "part of itself: itself -> itself"),
    "there": (ensemble(step("back", {"X": "X"}, {"Y": "Y"})), "back"),
    "back": (ensemble(step("there", {"X": "X"}, {"Y": "Y"})), "there"),
    "datatype": (ensemble(step("ints", {"x": "X"}, {"y": "Y"})), "has datatype TYPE_FP32 as the"),
    "shape": (
        ensemble(step("wide", {"x": "X"}, {"y": "Y"})),
        "tensor 'X' has shape [-1, 4] as the ensemble's input, but [-1, 5] as input 'x' of model",
    ),
    "batch": (ensemble(step("small", {"x": "X"}, {"y": "Y"})), "'small' only allows 2"),
    "batcher": (
        ensemble(step("plus", {"x": "X"}, {"y": "Y"})) + " instance_group { count: 2 }",
        "instance_group cannot be given for an ensemble",
    ),
    "no_tensors": (
        ensemble(step("plus", {"x": "X"}, {"y": "Y"}), tensors="max_batch_size: 4"),
        "an ensemble must specify its inputs",
    ),
}  # fmt: skip


@pytest.fixture
def served(repository, graphs, serve):
    """Serve chain, an ensemble of ensembles, one that forks, one of strings, and one that fails."""
    chain(repository, graphs)
    repository.add("twice", None, ensemble(step("chain", {"X": "X"}, {"Y": "a"}),
                                           step("chain", {"X": "a"}, {"Y": "Y"})))  # fmt: skip
    add = "max_batch_size: 8"
    repository.add("fork", None, ensemble(
        step("plus", {"x": "X"}, {"y": "a"}), step("chain", {"X": "X"}, {"Y": "b"}),
        step("plus", {"x": "a", "bias": "b"}, {"y": "Y"}),
    ))  # fmt: skip
    repository.add("plus", graphs.with_default(), f'{add} input [{{ name: "x" data_type: TYPE_FP32'
        ' dims: [ 4 ] }, { name: "bias" data_type: TYPE_FP32 dims: [ 4 ] optional: true }]')  # fmt: skip
    repository.add("text", graphs.identity(TensorProto.STRING))
    text = f'{add} input [{{ name: "X" data_type: TYPE_STRING dims: [ 4 ] }}]' \
        ' output [{ name: "Y" data_type: TYPE_STRING dims: [ 4 ] }]'  # fmt: skip
    repository.add("texts", None, ensemble(step("text", {"x": "X"}, {"y": "a"}),
                                           step("text", {"x": "a"}, {"y": "Y"}), tensors=text))  # fmt: skip
    repository.add("fails", graphs.fails_when_run(), "max_batch_size: 8")
    repository.add("failing", None, ensemble(
        step("fails", {"x": "X"}, {"y": "Y"}),
        tensors=f'{add} input [{{ name: "X" data_type: TYPE_INT64 dims: [ 1 ] }}]'
        ' output [{ name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }]'))  # fmt: skip
    repository.add("open", None, ensemble(step("plus", {"x": "X"}, {"y": "Y"}),
                                          tensors=ROW.replace("4", "-1").format("X", "Y")))  # fmt: skip
    folder = repository.add("named", graphs.identity(), 'max_batch_size: 8 output [{ name: "y"'
        ' data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }]')  # fmt: skip
    (folder / "labels.txt").write_text("cat\ndog\nbird\nant\n")
    repository.add("labelled", None, ensemble(step("named", {"x": "X"}, {"y": "Y"})))
    with serve(repository.path, http_port=0) as wire:
        yield wire


def test_ensembles_answer(served):
    """Steps in any order, nested, forked, with strings; over every protocol alike."""
    assert served.stub.ServerReady(pb.ServerReadyRequest()).ready
    assert np.array_equal(served.infer("chain", X=X)["Y"], X + 20)
    assert np.array_equal(served.infer("twice", X=X)["Y"], X + 40)
    assert np.array_equal(served.infer("fork", X=X)["Y"], 2 * X + 30)
    texts = np.array([["a", "", "é", "d"]], dtype=object)
    with triton.InferenceServerClient(served.address) as client:
        sent = triton.InferInput("X", [1, 4], "BYTES")
        sent.set_data_from_numpy(texts)
        answer = client.infer("texts", [sent]).as_numpy("Y")
        assert [text.decode() for text in answer[0]] == list(texts[0])
        sent = triton.InferInput("X", [2, 4], "FP32")
        sent.set_data_from_numpy(X)
        wanted = triton.InferRequestedOutput("Y", class_count=1)
        answer = client.infer("labelled", [sent], outputs=[wanted]).as_numpy("Y")
        assert [text.decode() for text in answer[:, 0]] == ["3.000000:3:ant", "7.000000:3:ant"]
    stream = served.stub.ModelStreamInfer(iter([_request(X)]))
    (answer,) = stream
    assert answer.infer_response.raw_output_contents[0] == (X + 20).tobytes()
    predict = tf.request("chain", X=tf.tensor(DT_FLOAT, (2, 4), X.tobytes()))
    answer = tf.Client(served.channel).predict(predict).outputs["Y"]
    assert answer.tensor_content == (X + 20).tobytes() or list(answer.float_val) == list(
        (X + 20).flat
    )
    body = {"inputs": [{"name": "X", "datatype": "FP32", "shape": [2, 4], "data": X.tolist()}]}
    url = f"http://{served.server.http_address}/v2/models/chain"
    shown = requests.post(f"{url}/infer", json=body, timeout=30).json()
    assert shown["outputs"][0]["data"] == (X + 20).ravel().tolist()
    assert requests.get(url, timeout=30).json()["platform"] == "ensemble"


def test_each_step_is_counted(served):
    """In its model, which runs twice, and the whole in the ensemble."""
    served.infer("chain", X=X)

    def counts(name):
        (one,) = served.stub.ModelStatistics(pb.ModelStatisticsRequest(name=name)).model_stats
        return one.inference_count, one.execution_count, one.inference_stats.success.count

    assert counts("chain") == (2, 1, 1)
    assert counts("plus") == (4, 2, 2)


def test_a_failing_step_fails_the_whole(served):
    """With the failure's status, which both count; what the caller may know names the ensemble."""
    with pytest.raises(
        grpc.RpcError, match=r"in ensemble 'open', .* unexpected shape for input 'x'"
    ):
        served.infer("open", X=np.zeros((1, 5), np.float32))
    with pytest.raises(grpc.RpcError) as caught:
        served.infer("failing", X=np.array([[9]]))

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    for name in ("failing", "fails"):
        (one,) = served.stub.ModelStatistics(pb.ModelStatisticsRequest(name=name)).model_stats
        assert one.inference_stats.fail.count == 1
    assert np.array_equal(served.infer("failing", X=np.array([[1]]))["Y"], [[1.0]])


def _request(values):
    request = pb.ModelInferRequest(model_name="chain")
    request.inputs.add(name="X", datatype="FP32", shape=values.shape)
    request.raw_input_contents.append(values.tobytes())
    return request


def test_each_fault_has_its_reason(repository, graphs, serve):
    """One line, which RepositoryIndex shows; the others are served."""
    repository.add("plus", graphs.identity(), "max_batch_size: 8")
    repository.add("simple", graphs.simple(), "max_batch_size: 8")
    repository.add("ints", graphs.identity(TensorProto.INT32))
    repository.add("wide", graphs.identity(shape=("batch", 5)))
    repository.add("small", graphs.identity(), "max_batch_size: 2")
    for name, (config, _) in FAULTS.items():
        repository.add(name, None, config)
    repository.add("good", None, ensemble(step("plus", {"x": "X"}, {"y": "Y"})))
    with serve(repository.path) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        assert np.array_equal(wire.infer("good", X=X)["Y"], X)

    reasons = {model.name: model.reason for model in index if model.state == "UNAVAILABLE"}
    assert set(reasons) == set(FAULTS)
    for name, (_, reason) in FAULTS.items():
        assert reason in reasons[name], name
        assert "\n" not in reasons[name]


def test_an_ensemble_follows_its_models(repository, graphs, serve):
    """Loaded with them, UNAVAILABLE without one, and ready again with it; they may leave with it."""
    chain(repository, graphs)
    repository.add("outer", None, ensemble(step("chain", {"X": "X"}, {"Y": "Y"})))
    with (
        serve(repository.path, model_control_mode="explicit") as wire,
        triton.InferenceServerClient(wire.address) as client,
    ):
        client.load_model("outer")
        assert np.array_equal(wire.infer("outer", X=X)["Y"], X + 20)
        client.unload_model("plus")
        assert not client.is_model_ready("chain")
        assert not client.is_model_ready("outer")
        with pytest.raises(grpc.RpcError, match="depends on model 'chain', which is not ready"):
            wire.infer("outer", "1", X=X)
        client.load_model("plus")
        assert np.array_equal(wire.infer("outer", X=X)["Y"], X + 20)
        repository.add("plus", graphs.identity(shape=("batch", 4)))
        client.load_model("plus")
        assert np.array_equal(wire.infer("outer", X=X)["Y"], X)
        repository.add("plus", graphs.identity(shape=("batch", 5)))
        client.load_model("plus")
        assert not client.is_model_ready("outer")
        repository.add("plus", graphs.identity())
        client.load_model("plus")
        client.unload_model("outer", unload_dependents=True)
        ready = client.get_model_repository_index().models
        assert not [model.name for model in ready if model.state == "READY"]


def test_an_ensemble_wakes_its_models(repository, graphs, serve):
    """Where models are loaded on request, those of an ensemble are, also after they were evicted."""
    chain(repository, graphs)
    with serve(repository.path, keep_alive=0.2) as wire:
        assert np.array_equal(wire.infer("chain", X=X)["Y"], X + 20)
        until(lambda: not wire.server.catalog.ready_versions("plus"))
        assert np.array_equal(wire.infer("chain", X=X)["Y"], X + 20)


def test_a_dormant_ensemble_follows_its_models(repository, graphs, serve):
    """What failed for want of a model is tried again as soon as that is loaded."""
    chain(repository, graphs)
    options = {"keep_alive": 60.0, "model_control_mode": "explicit", "load_model": ("*",)}
    with (
        serve(repository.path, **options) as wire,
        triton.InferenceServerClient(wire.address) as client,
    ):
        client.unload_model("plus")
        with pytest.raises(grpc.RpcError, match="depends on model 'plus', which is not ready"):
            wire.infer("chain", X=X)
        client.load_model("plus")
        assert np.array_equal(wire.infer("chain", X=X)["Y"], X + 20)


def test_named_at_the_start(repository, graphs, serve):
    """--load-model of an ensemble loads its models."""
    chain(repository, graphs)
    with serve(repository.path, model_control_mode="explicit", load_model=("chain",)) as wire:
        assert np.array_equal(wire.infer("chain", X=X)["Y"], X + 20)


def test_a_caller_that_leaves_ends_its_step(repository, graphs, serve):
    """A cancelled request's run is ended, though the model of the step never would."""
    repository.add("endless", graphs.endless_unless_zeros(), "max_batch_size: 8")
    repository.add("loop", None, ensemble(step("endless", {"x": "X"}, {"y": "Y"})))
    with serve(repository.path) as wire:
        future = wire.stub.ModelInfer.future(_loop(), timeout=30)
        model = wire.server.catalog.find("endless", "")
        until(lambda: model.scheduler.running)
        future.cancel()
        until(lambda: not model.in_use)
        with pytest.raises(grpc.RpcError) as caught:
            wire.stub.ModelInfer(_loop(), timeout=0.3)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        until(lambda: not model.in_use)
        assert not wire.server.catalog.find("loop", "").in_use


def _loop():
    request = _request(X)
    request.model_name = "loop"
    return request


def test_many_at_once(served):
    """Requests of different rows that share runs get their own rows."""
    answers = {}

    def ask(number):
        rows = np.full((1 + number % 3, 4), number, np.float32)
        answers[number] = served.infer("fork", X=rows)["Y"], 2 * rows + 30

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(answers) == 24
    assert all(np.array_equal(*pair) for pair in answers.values())


def test_steps_that_no_output_needs_are_left_out(repository, graphs, serve):
    """As Triton's L0_simple_ensemble: of two branches the one that is asked for; both by default."""
    repository.add("plus", graphs.with_default())
    repository.add("same", graphs.identity())
    both = (
        'max_batch_size: 8 input [{ name: "X" data_type: TYPE_FP32 dims: [ 4 ] }]'
        ' output [{ name: "Y" data_type: TYPE_FP32 dims: [ 4 ] },'
        ' { name: "Z" data_type: TYPE_FP32 dims: [ 4 ] }]'
    )
    steps = step("same", {"x": "X"}, {"y": "Y"}), step("plus", {"x": "X"}, {"y": "Z"})
    repository.add("branches", None, ensemble(*steps, tensors=both))
    with serve(repository.path) as wire:
        find = wire.server.catalog.find
        request = infer_request("branches", X=X)
        request.outputs.add(name="Z")
        (raw,) = wire.stub.ModelInfer(request).raw_output_contents
        assert np.array_equal(np.frombuffer(raw, np.float32), (X + 10).ravel())
        assert [
            find(name, "").statistics.snapshot().success.count for name in ("same", "plus")
        ] == [0, 1]
        answer = wire.infer("branches", X=X)
        assert np.array_equal(answer["Y"], X)
        assert np.array_equal(answer["Z"], X + 10)
