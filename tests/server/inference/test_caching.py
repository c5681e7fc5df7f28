"""Models behind the response cache: the same bytes as a run gives, on every wire, and Triton's counts."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.server.grpc_callers import infer_request
from tests.server.inference.shared_segments import part, register
from tests.server.model_repositories import every_kind
from tests.server.models.ensembles import chain
from tests.server.protocols.tfs import client as tf
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_proto.tensorflow_framework_pb2 import DT_INT32
from zoo_server.config import ServerConfig
from zoo_server.datatypes import DATA_TYPES, serialize_bytes
from zoo_server.errors import ConfigurationError

CACHED = "\nresponse_cache { enable: true }\n"
SIZE = ("local,size=1000000",)
X = np.arange(8, dtype=np.float32).reshape(2, 4)


def enable(repository, *names):
    for name in names:
        path = repository.path / name / "config.pbtxt"
        path.write_text((path.read_text() if path.exists() else "") + CACHED)


def counts(stub, model):
    """Return hits, misses, runs, rows, successes and failures."""
    answer = stub.ModelStatistics(pb.ModelStatisticsRequest(name=model))
    (stats,) = [each for each in answer.model_stats if each.name == model][-1:]
    whole = stats.inference_stats
    assert whole.queue.count == whole.success.count
    return (
        whole.cache_hit.count, whole.cache_miss.count, stats.execution_count,
        stats.inference_count, whole.success.count, whole.fail.count,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cached(tmp_path_factory, graphs, serve):
    """Serve many kinds of models behind a cache, on every wire, with shared memory."""
    path = tmp_path_factory.mktemp("cached") / "models"
    repository = every_kind(path, graphs)
    repository.add("open", graphs.identity())
    enable(repository, *(each.name for each in path.iterdir() if each.name != "open"))
    options = {"http_port": 0, "metrics_port": 0, "allow_shared_memory": True}
    with serve(path, cache_config=SIZE, **options) as wire:
        yield wire


def post(url, body):
    answer = requests.post(url, json=body, timeout=20)
    assert answer.status_code == 200
    return answer.content


def values_of(row):
    if row.wire == "BYTES":
        return serialize_bytes(["", "a\0b", "ünïcode", "x" * 100])
    return np.arange(4).astype(row.numpy).tobytes()


@pytest.mark.parametrize("row", [row for row in DATA_TYPES if row.wire != "BF16"])
def test_a_hit_has_the_bytes_of_a_run(row, cached):
    """Of every datatype, strings too; the graph ran once."""
    model = f"identity_{row.wire.lower()}"
    request = pb.ModelInferRequest(model_name=model)
    request.inputs.add(name="x", datatype=row.wire, shape=[1, 4])
    request.raw_input_contents.append(values_of(row))
    first, *others = (cached.stub.ModelInfer(request).SerializeToString() for _ in range(3))

    assert others == [first, first]
    assert counts(cached.stub, model) == (2, 1, 1, 1, 3, 0)


def test_every_wire_gets_what_one_has_asked_for(cached):
    """Open Inference and TensorFlow Serving, gRPC and REST: one run for all, and each has its own form."""
    arrays = {"INPUT0": np.ones((1, 16), np.int32), "INPUT1": np.full((1, 16), 2, np.int32)}
    call = infer_request("simple", **arrays)
    predict = tf.request(
        "simple",
        **{name: tf.tensor(DT_INT32, (1, 16), a.tobytes()) for name, a in arrays.items()},
    )
    url = f"http://{cached.server.http_address}"
    rows = {"inputs": {name: array.tolist() for name, array in arrays.items()}}
    inputs = [
        {"name": name, "datatype": "INT32", "shape": [1, 16], "data": array.tolist()}
        for name, array in reversed(arrays.items())
    ]

    def ask():
        return (
            cached.stub.ModelInfer(call).SerializeToString(),
            tf.Client(cached.channel).predict(predict).SerializeToString(deterministic=True),
            post(f"{url}/v2/models/simple/infer", {"inputs": inputs}),
            post(f"{url}/v1/models/simple:predict", rows),
        )

    assert ask() == ask()
    assert counts(cached.stub, "simple")[:3] == (7, 1, 1)
    assert json.loads(ask()[2])["outputs"][0]["data"] == [3] * 16


def test_what_an_answer_depends_on_is_in_the_key(cached):
    """Other data, another shape of the same bytes, other outputs, another version: each is a run."""
    stub = cached.stub
    zeros = np.zeros((1, 16), np.int32)
    both = infer_request("simple", INPUT0=zeros, INPUT1=zeros)
    one = infer_request("simple", INPUT0=zeros, INPUT1=zeros)
    one.outputs.add(name="OUTPUT1")
    other = infer_request("simple", INPUT0=zeros, INPUT1=zeros + 1)
    runs = counts(stub, "simple")[2]
    for request in (both, one, other) * 2:
        stub.ModelInfer(request)
    assert counts(stub, "simple")[2] == runs + 3
    for shape in ((1, 4), (2, 2), (4, 1)) * 2:
        array = np.arange(4, dtype=np.float32).reshape(shape)
        assert cached.infer("variable", x=array)["y"].shape == shape
        assert cached.infer("unbatched", x=array)["y"].shape == shape
    assert counts(stub, "variable")[:3] == counts(stub, "unbatched")[:3] == (3, 3, 3)
    for version in "123123":
        cached.infer("versions", version, x=np.ones((1, 4), np.float32))
    assert counts(stub, "versions")[:3] == (1, 1, 1)


def test_classes_are_chosen_of_what_is_kept(cached):
    """How an output is wanted is no part of the key: values, the best class, and two of them."""
    request = infer_request("classes", x=np.array([[1, 3, 2, 0]], np.float32))
    plain = cached.stub.ModelInfer(request)
    answers = []
    for classes in (1, 2):
        del request.outputs[:]
        request.outputs.add(name="y").parameters["classification"].int64_param = classes
        answers.append(cached.stub.ModelInfer(request).raw_output_contents[0])

    assert plain.raw_output_contents[0] == np.array([1, 3, 2, 0], np.float32).tobytes()
    assert [answer.count(b":") for answer in answers] == [2, 4]
    assert b"dog" in answers[0]
    assert counts(cached.stub, "classes")[:3] == (2, 1, 1)


def test_who_shared_a_run_has_rows_of_its_own(cached):
    """Many callers at once, joined as it happens; afterwards each finds its own answer."""
    arrays = [np.full((1 + number % 3, 2, 1), number, np.float32) for number in range(24)]

    def ask(array):
        return cached.infer("reshaped", x=array[:, None])["y"].ravel().tolist()

    expected = [array.ravel().tolist() for array in arrays]
    with ThreadPoolExecutor(8) as callers:
        assert list(callers.map(ask, arrays)) == expected
    assert [ask(array) for array in arrays] == expected
    hits, misses, runs, *_ = counts(cached.stub, "reshaped")
    assert (hits, misses) == (24, 24)
    assert runs <= 24


def test_a_failure_is_not_kept(cached):
    """It fails again, and is no miss: nothing was there to keep."""
    request = infer_request("fails", x=np.array([[99]], np.int64))
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            cached.stub.ModelInfer(request)

    assert counts(cached.stub, "fails") == (0, 0, 0, 0, 0, 2)


def test_shared_memory_is_read_once(cached, segment):
    """What lies there is the key, whatever lay there before; a hit writes into its region."""
    one = segment()
    register(cached, "cached", one)
    request = pb.ModelInferRequest(model_name="optional")
    part(request.inputs.add(name="x", datatype="FP32", shape=[1, 4]), "cached", 16)
    part(request.outputs.add(name="y"), "cached", 16, 32)
    answers = []
    for number in (1, 2, 1):
        one.write(0, np.full(4, number, np.float32).tobytes())
        one.write(32, bytes(16))
        cached.stub.ModelInfer(request)
        answers.append(np.frombuffer(one.read(32, 16), np.float32)[0])

    assert answers == [11, 12, 11]
    assert counts(cached.stub, "optional")[:3] == (1, 2, 2)


def test_a_large_request_is_looked_up_by_a_worker(cached):
    """Beyond what a loop may be held for; the answer is the same."""
    array = np.arange(1 << 18, dtype=np.float32).reshape(1, -1)
    for _ in range(2):
        assert np.array_equal(cached.infer("variable", x=array)["y"], array)

    assert counts(cached.stub, "variable")[0] >= 1


@pytest.mark.parametrize("ordered", [True, False])
def test_with_preserve_ordering_a_hit_overtakes_nobody(ordered, repository, graphs, serve):
    """It waits like any other while a request that came before is under way."""
    batching = f"dynamic_batching {{ preserve_ordering: {str(ordered).lower()} }}"
    repository.add("slow", graphs.slow(), f"{batching} {CACHED}")
    kept, endless = (infer_request("slow", n=np.array([n], np.int64)) for n in (7, 10**15))
    with serve(repository.path, cache_config=SIZE) as wire:
        model = wire.server.catalog.find("slow", "")
        wire.stub.ModelInfer(kept)
        before = wire.stub.ModelInfer.future(endless)
        until(lambda: model.scheduler.running)
        later = wire.stub.ModelInfer.future(kept)
        if ordered:
            until(lambda: model.waiting)
        else:
            later.result(timeout=20)
        before.cancel()

        assert later.result(timeout=20).raw_output_contents[0] == np.int64(7).tobytes()
        assert counts(wire.stub, "slow")[0] == (not ordered)


def test_only_models_that_say_so_are_cached_and_counted(cached):
    """The metrics are Triton's, with the figures of the statistics; a model without has no line."""
    for model in ("open", "fixed"):
        shape = (2, 3) if model == "fixed" else (2, 4)
        for _ in range(3):
            cached.infer(model, x=np.ones(shape, np.float32))
    assert counts(cached.stub, "open")[:3] == (0, 0, 3)
    page = requests.get(f"http://{cached.server.metrics_address}/metrics", timeout=20).text
    samples = {
        (sample.name.removesuffix("_total"), sample.labels["model"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if "model" in sample.labels
    }
    url = f"http://{cached.server.http_address}/v2/models/fixed/stats"
    stats = requests.get(url, timeout=20).json()["model_stats"][0]["inference_stats"]

    for kind in ("hit", "miss"):
        plural = {"hit": "hits", "miss": "misses"}[kind]
        figures = stats[f"cache_{kind}"]
        assert samples[f"nv_cache_num_{plural}_per_model", "fixed"] == figures["count"] > 0
        duration = f"nv_cache_{kind}_duration_per_model"
        assert samples[duration, "fixed"] == figures["ns"] // 1000 > 0
        assert (duration, "open") not in samples
    assert samples["nv_inference_request_success", "fixed"] == 3
    assert samples["nv_inference_count", "fixed"] == 1
    whole = {
        line.split()[0]: float(line.split()[1])
        for line in page.splitlines()
        if line.startswith("nv_cache_") and "{" not in line
    }
    lookups, hits = whole["nv_cache_num_lookups"], whole["nv_cache_num_hits"]
    assert hits >= samples["nv_cache_num_hits_per_model", "fixed"]
    assert lookups - hits == whole["nv_cache_num_misses"] > 0
    assert whole["nv_cache_num_entries"] > 0
    assert 0 < whole["nv_cache_util"] < 1
    assert whole["nv_cache_num_evictions"] == 0


def test_a_model_that_is_loaded_anew_begins_without_answers(repository, graphs, serve):
    """No answer of the model before is given, and what it had in the cache is taken out."""
    repository.add("m", graphs.identity(), f"max_batch_size: 8 {CACHED}")
    size = (f"local,size={1 << 20}",)
    with serve(
        repository.path, model_control_mode="explicit", load_model=("*",), cache_config=size
    ) as wire:
        cache = wire.server.response_cache
        assert np.array_equal(wire.infer("m", x=X)["y"], X)
        assert len(cache) == 1
        repository.add("m", graphs.with_default())
        wire.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="m"))
        assert np.array_equal(wire.infer("m", x=X)["y"], X + 10)
        assert counts(wire.stub, "m")[:3] == (0, 1, 1)
        until(lambda: len(cache) == 1)
        wire.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
        until(lambda: cache.used_bytes == 0)


@pytest.mark.parametrize(
    ("whole", "step", "size", "hits", "misses"),
    [
        (True, False, 100_000, (1, 0), (1, 0)),
        (True, True, 100_000, (1, 0), (1, 2)),
        (False, True, 100_000, (0, 2), (0, 2)),
        (True, False, 500, (0, 0), (2, 0)),
    ],
)  # fmt: skip
def test_ensembles(whole, step, size, hits, misses, repository, graphs, serve):
    """As Triton's L0_response_cache: the ensemble's answers, its steps', both, or too large for the cache."""
    chain(repository, graphs)
    enable(repository, *["chain"] * whole)
    repository.add("plus", graphs.with_default(), CACHED if step else "")
    with serve(repository.path, cache_config=(f"local,size={size}",)) as wire:
        for _ in range(2):
            assert np.array_equal(wire.infer("chain", X=X)["Y"], X + 20)
        seen = [counts(wire.stub, model)[:2] for model in ("chain", "plus")]

    assert seen == list(zip(hits, misses, strict=True))


def test_an_ensemble_forgets_with_its_models(repository, graphs, serve):
    """An ensemble's answers are those of the models that it is made of now."""
    chain(repository, graphs)
    enable(repository, "chain")
    with serve(
        repository.path, model_control_mode="explicit", load_model=("*",), cache_config=SIZE
    ) as wire:
        assert np.array_equal(wire.infer("chain", X=X)["Y"], X + 20)
        repository.add("plus", graphs.identity())
        wire.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="plus"))
        assert np.array_equal(wire.infer("chain", X=X)["Y"], X)


def test_sequences_are_refused(repository, graphs, serve):
    """With the stem of Triton's message."""
    repository.add("m", graphs.sums(), f"max_batch_size: 8 sequence_batching {{ }} {CACHED}")
    with serve(repository.path, cache_config=SIZE) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest())

    assert "Response Cache does not currently support model m with sequence batching scheduler" in (
        index.models[0].reason
    )


@pytest.mark.parametrize(
    ("options", "size", "fault"),
    [
        ({}, 0, ""),
        ({"cache_config": ("local,size=8192",)}, 8192, ""),
        ({"response_cache_byte_size": 8192}, 8192, ""),
        ({"cache_config": ("redis,host=h",)}, 0, "'redis,host=h': write local,size=BYTES"),
        ({"cache_config": ("local,size=1", "redis,key=value")}, 0, "there is one cache"),
        ({"cache_config": ("local,size=-1",)}, 0, "write local,size=BYTES"),
        ({"cache_config": ("local,size=2",), "response_cache_byte_size": 1}, 0, "incompatible flags"),
    ],
)  # fmt: skip
def test_options(options, size, fault, tmp_path):
    """Triton's two, of which one is given."""
    if fault:
        with pytest.raises(ConfigurationError, match=fault):
            ServerConfig(repository=tmp_path, **options)
    else:
        assert ServerConfig(repository=tmp_path, **options).response_cache_bytes == size
