"""What lies on disk and what becomes of it: faults stay with their model, the others are served."""

import logging

import grpc
import numpy as np
import pytest
from onnx import helper

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import ConfigurationError
from zoo_server.repository.scan import ModelRepository

X = 'input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] }]'
Y = 'output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ] }]'

GOOD = "good graph"

FAULTS = {
    "corrupt": (b"\x07garbage" * 50, None, "1/model.onnx cannot be loaded: "),
    "truncated": ("cut", None, "1/model.onnx cannot be loaded: "),
    "names": (
        "not text",
        None,
        "1/model.onnx names an input, output or dimension in bytes that are not UTF-8",
    ),
    "empty": (b"", None, "1/model.onnx is empty"),
    "absent": (None, None, "1/model.onnx cannot be read: No such file or directory"),
    "syntax": (GOOD, "max_batch_size: [", "config.pbtxt does not parse: 1:"),
    "unknown_field": (GOOD, 'max_batch_sizes: 3 name: "x"', "does not parse: 1:1"),
    "wrong_name": (
        GOOD,
        'name: "other"',
        "names the model 'other', but its folder is 'wrong_name'",
    ),
    "wrong_dtype": (
        GOOD,
        f"max_batch_size: 2 {X} {Y}".replace("FP32", "INT8", 1),
        "unexpected datatype TYPE_INT8 for inference input 'x', expecting TYPE_FP32",
    ),
    "unknown_input": (
        GOOD,
        'max_batch_size: 2 input [{ name: "z" data_type: TYPE_FP32 dims: [ 4 ] }]',
        "input 'x' of the graph is missing in config.pbtxt",
    ),
    "extra_input": (
        GOOD,
        f'max_batch_size: 2 {X} input [{{ name: "z" data_type: TYPE_FP32 dims: [ 4 ] }}]',
        "unexpected inference input 'z', allowed inputs are: x",
    ),
    "unknown_output": (
        GOOD,
        'max_batch_size: 2 output [{ name: "z" data_type: TYPE_FP32 dims: [ 4 ] }]',
        "unexpected inference output 'z', allowed outputs are: y",
    ),
    "wrong_dims": (
        GOOD,
        f"max_batch_size: 2 {X} {Y}".replace("[ 4 ]", "[ 5 ]", 1),
        "input 'x' has shape [-1, 4] in the graph, but config.pbtxt gives [-1, 5]",
    ),
    "wrong_rank": (
        GOOD,
        f"max_batch_size: 2 {X}".replace("[ 4 ]", "[ 4, 1 ]", 1),
        "input 'x' has shape [-1, 4] in the graph, but config.pbtxt gives [-1, 4, 1]",
    ),
    "bad_reshape": (
        GOOD,
        'max_batch_size: 2 input [{ name: "x" dims: [ 3 ] reshape { shape: [ 4 ] } }]',
        "input 'x' has different size for dims and reshape",
    ),
    "zero_dim": (
        GOOD,
        'input [{ name: "x" dims: [ 0 ] }]',
        "dimension must be integer >= 1, or -1",
    ),
    "twice": (GOOD, f"{X} {X}", "model input 'x' is given twice"),
    "no_name": (GOOD, "input [{ dims: [ 1 ] }]", "model input must specify 'name'"),
    "cannot_batch": ("fixed", "max_batch_size: 4", "the first dimension of input 'x' is 2 in the"),
    "not_optional": (
        GOOD,
        'max_batch_size: 2 input [{ name: "x" optional: true }]',
        "input 'x' cannot be optional: the graph has no default",
    ),
    "negative_batch": (GOOD, "max_batch_size: -1", "gives max_batch_size -1: it must lie in 0 to"),
    "backend": (GOOD, 'backend: "python"', "backend 'python' is not served"),
    "platform": (GOOD, 'platform: "tensorrt_plan"', "unexpected platform type 'tensorrt_plan'"),
    "ensemble": (GOOD, "ensemble_scheduling {}", "ensemble_scheduling and platform 'ensemble' go"),
    "sequence": (
        GOOD,
        "sequence_batching { iterative_sequence: true }",
        "iterative_sequence is not served",
    ),
    "decoupled": (GOOD, "model_transaction_policy { decoupled: true }", "decoupled models are not"),
    "operators": (
        GOOD,
        'model_operations { op_library_filename: "x.so" }',
        "op_library_filename is not served",
    ),
    "file_name": (GOOD, 'default_model_filename: "../m.onnx"', "is not a plain file name"),
    "policy": (GOOD, "version_policy { specific { versions: [ 3 ] } }", "asks for 3; on disk: 1"),
    "labels_out": (
        GOOD,
        'output [{ name: "y" label_filename: "../../etc/passwd" }] max_batch_size: 1',
        "label_filename '../../etc/passwd' leads out of the model's folder",
    ),
    "labels_absolute": (
        GOOD,
        'output [{ name: "y" label_filename: "/etc/passwd" }] max_batch_size: 1',
        "leads out of the model's folder",
    ),
    "labels_absent": (
        GOOD,
        'output [{ name: "y" label_filename: "labels.txt" }] max_batch_size: 1',
        "label_filename 'labels.txt' cannot be read: No such file or directory",
    ),
}


@pytest.fixture(scope="module")
def faulty(tmp_path_factory, graphs, serve):
    """Serve every fault at once, and one good model among them; return server and index."""
    path = tmp_path_factory.mktemp("faulty") / "models"
    models = {
        GOOD: graphs.identity(),
        "cut": graphs.identity()[:60],
        "not text": graphs.identity().replace(b"\x01x", b"\x01\xff"),
        "fixed": graphs.identity(shape=(2, 3)),
    }
    for name, (model, config, _) in {**FAULTS, "healthy": (GOOD, None, "")}.items():
        folder = path / name / "1"
        folder.mkdir(parents=True)
        if model is not None:
            (folder / "model.onnx").write_bytes(models[model] if isinstance(model, str) else model)
        if config is not None:
            (path / name / "config.pbtxt").write_text(config)
    (path / "no_version").mkdir()
    (path / "binary_config" / "1").mkdir(parents=True)
    (path / "binary_config" / "config.pbtxt").write_bytes(b"\xff\xfe\0")
    with serve(path) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        yield wire, {entry.name: entry for entry in index}


@pytest.mark.parametrize(("name", "reason"), [(name, row[2]) for name, row in FAULTS.items()])
def test_fault_has_its_reason(name, reason, faulty, tmp_path_factory):
    """A model that cannot be served is UNAVAILABLE with one line that says why."""
    entry = faulty[1][name]

    assert entry.state == "UNAVAILABLE"
    assert reason in entry.reason
    assert "\n" not in entry.reason
    assert str(tmp_path_factory.getbasetemp()) not in entry.reason


def test_faults_without_a_version(faulty):
    """A folder without versions, and a config that is no text, have a reason too."""
    assert "put the graph at no_version/1/model.onnx" in faulty[1]["no_version"].reason
    assert "config.pbtxt is not UTF-8 text" in faulty[1]["binary_config"].reason


def test_others_are_served_and_readiness_is_strict(faulty):
    """The healthy model answers; ServerReady is false while any model failed."""
    wire, index = faulty
    array = np.ones((1, 4), np.float32)

    assert index["healthy"].state == "READY"
    np.testing.assert_array_equal(wire.infer("healthy", x=array)["y"], array)
    assert not wire.stub.ServerReady(pb.ServerReadyRequest()).ready
    assert wire.stub.ServerLive(pb.ServerLiveRequest()).live
    ready = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
    assert [entry.name for entry in ready] == ["healthy"]


def test_failed_model_is_unavailable_by_version(faulty, make_request):
    """Asked for by version a failed one is UNAVAILABLE; without one there is none to be had."""
    stub = faulty[0].stub
    array = np.ones((1, 4), np.float32)
    for version, code in (("1", "UNAVAILABLE"), ("", "NOT_FOUND")):
        with pytest.raises(grpc.RpcError, match="Request for unknown model: 'corrupt'") as caught:
            stub.ModelInfer(make_request("corrupt", version, x=array))
        assert caught.value.code().name == code
    assert not stub.ModelReady(pb.ModelReadyRequest(name="corrupt", version="1")).ready


@pytest.mark.parametrize("version", ["", "1"])
def test_inference_of_a_decoupled_model(version, faulty, make_request):
    """UNIMPLEMENTED with Triton's stem and our reason, on every call; to a poll it is not ready."""
    stub = faulty[0].stub
    request = make_request("decoupled", version, x=np.ones((1, 4), np.float32))
    text = (
        "doesn't support models with decoupled transaction policy: decoupled models are not served"
    )
    metadata_request = pb.ModelMetadataRequest(name="decoupled", version=version)
    for ask, argument in ((stub.ModelInfer, request), (stub.ModelMetadata, metadata_request)):
        with pytest.raises(grpc.RpcError, match=text) as caught:
            ask(argument)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    (answer,) = stub.ModelStreamInfer(iter([request]), timeout=10)

    assert text in answer.error_message
    assert not stub.ModelReady(pb.ModelReadyRequest(name="decoupled", version=version)).ready


def test_a_version_of_a_model_that_could_not_be_read(faulty, make_request):
    """Nobody knows its versions: NOT_FOUND, and what is wrong with the model."""
    with pytest.raises(grpc.RpcError) as caught:
        faulty[0].stub.ModelInfer(make_request("ensemble", "1", x=np.ones((1, 4), np.float32)))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "'ensemble' version 1 is not found: platform ''" in caught.value.details()


def config_of(wire, name):
    return wire.stub.ModelConfig(pb.ModelConfigRequest(name=name)).config


def test_layouts(repository, graphs, serve):
    """A folder without config, a bare file, and a file given instead of a folder are all served."""
    repository.add("folder", graphs.identity())
    (repository.path / "bare.onnx").write_bytes(graphs.identity())
    (repository.path / "README.md").write_text("ignored")
    array = np.ones((2, 4), np.float32)
    with serve(repository.path) as wire:
        assert wire.infer("folder", x=array)["y"].shape == (2, 4)
        assert wire.infer("bare", "1", x=array)["y"].shape == (2, 4)
    with serve(repository.path / "bare.onnx") as wire:
        assert wire.infer("bare", x=array)["y"].shape == (2, 4)


def test_a_version_that_a_store_is_still_getting_is_not_there(repository, graphs, serve):
    """Where the store is mounted as a folder: `zoo push` writes a marker first, and another one last."""
    for version, markers in ((1, (".upload", ".complete")), (2, (".upload",))):
        folder = repository.add("m", graphs.identity(), version=version)
        for marker in markers:
            (folder / str(version) / marker).write_text("{}")
    (model,) = ModelRepository(repository.path).scan()
    assert model.versions == (1,)
    assert ModelRepository(repository.path).find("m").versions == (1,)


def test_hidden_entries_are_invisible(repository, graphs):
    """What begins with a dot does not exist, neither models nor versions."""
    repository.add("m", graphs.identity())
    repository.add(".tmp-m", graphs.identity())
    (repository.path / "m" / ".tmp-2").mkdir()
    (repository.path / ".hidden.onnx").write_bytes(graphs.identity())

    assert [(model.name, model.versions) for model in ModelRepository(repository.path).scan()] == [
        ("m", (1,))
    ]


def test_folder_and_file_of_one_name(repository, graphs):
    """Two claims on a name serve neither."""
    repository.add("m", graphs.identity())
    (repository.path / "m.onnx").write_bytes(graphs.identity())

    (model,) = ModelRepository(repository.path).scan()
    assert "both a folder 'm' and a file 'm.onnx' exist" in model.fault


@pytest.mark.parametrize("what", ["absent", "a_file"])
def test_repository_must_be_a_folder(what, tmp_path, serve):
    """A repository that is none is an error of the operator, with its path."""
    if what == "a_file":
        (tmp_path / what).write_text("")
    expected = pytest.raises(ConfigurationError, match=what)
    with expected, serve(tmp_path / what):
        pass


def test_empty_repository_is_served(repository, serve, caplog):
    """Nothing to serve is a warning, and the server is live and ready."""
    with serve(repository.path) as wire:
        assert wire.stub.ServerReady(pb.ServerReadyRequest()).ready

    assert "nothing to serve" in caplog.text


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        ("", ["10"]),
        ("version_policy { latest { num_versions: 2 } }", ["2", "10"]),
        ("version_policy { all {} }", ["1", "2", "10"]),
        ("version_policy { specific { versions: [ 2, 1 ] } }", ["1", "2"]),
    ],
)
def test_version_policy(policy, versions, repository, graphs, serve):
    """The latest version by number is served unless the policy says otherwise."""
    for version in (1, 2, 10):
        repository.add("m", graphs.identity(), policy, version)
    with serve(repository.path) as wire:
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        assert [entry.version for entry in index] == versions


DERIVED = {
    "batching": (("batch", 4), 1024, [4], "batching on: every tensor's first dimension is 'batch'"),
    "variable": (("batch", "n", 3), 1024, [-1, 3], "batching on"),
    "fixed": ((2, 3), 0, [2, 3], "batching off: the first dimension of 'x' is fixed at 2"),
    "scalar": ((), 0, [], "batching off: 'x' is a scalar"),
    "unnamed": ((None, 4), 0, [-1, 4], "batching off: the first dimension of 'x' has no name"),
}


@pytest.mark.parametrize("case", DERIVED.values(), ids=DERIVED.keys())
def test_derived_configuration(case, repository, graphs, serve, caplog):
    """Without config.pbtxt the graph decides, and one line of the log says what and why."""
    caplog.set_level(logging.INFO, "zoo_server")
    shape, max_batch_size, dims, why = case
    repository.add("m", graphs.identity(shape=shape))
    with serve(repository.path) as wire:
        config = config_of(wire, "m")

    assert config.max_batch_size == max_batch_size
    assert list(config.input[0].dims) == list(config.output[0].dims) == dims
    assert (config.backend, config.platform) == ("onnxruntime", "onnxruntime_onnx")
    assert why in caplog.text


def test_different_symbols_do_not_batch(repository, graphs, serve):
    """Inputs whose first dimensions have different names are not one batch."""
    two = graphs.model(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=0)],
        [graphs.value("a", 1, ["n", 4]), graphs.value("b", 1, ["m", 4])],
        [graphs.value("y", 1, ["k", 4])],
    )
    repository.add("m", two)
    with serve(repository.path) as wire:
        assert config_of(wire, "m").max_batch_size == 0


def test_config_is_completed_where_it_is_silent(repository, graphs, serve):
    """Names alone get datatype and dims; a written 0 keeps batching off; IO alone is enough."""
    repository.add("names", graphs.identity(), 'max_batch_size: 4 input [{ name: "x" }]')
    repository.add("off", graphs.identity(), "max_batch_size: 0")
    repository.add("backend", graphs.identity(), 'backend: "onnxruntime"')
    with serve(repository.path) as wire:
        names, off, backend = (config_of(wire, name) for name in ("names", "off", "backend"))

    assert list(names.input[0].dims) == [4]
    assert names.input[0].data_type == names.output[0].data_type != 0
    assert (off.max_batch_size, list(off.input[0].dims)) == (0, [-1, 4])
    assert backend.max_batch_size == 1024


def test_settings_that_idle_are_named(repository, graphs, serve, caplog):
    """What is accepted and not acted upon is said once."""
    caplog.set_level(logging.INFO, "zoo_server")
    idle = "optimization { eager_batching: true }"
    parameter = 'parameters { key: "share_session_between_instances" value { string_value: "0" } }'
    repository.add("m", graphs.identity(), f"{idle} dynamic_batching {{}} {parameter}")
    with serve(repository.path) as wire:
        assert config_of(wire, "m").HasField("dynamic_batching")

    said = (
        "model 'm': optimization.eager_batching, parameter share_session_between_instances accepted"
    )
    assert said in caplog.text


def test_default_model_filename(repository, graphs, serve):
    """Another file name inside the version folder is honoured."""
    folder = repository.add("m", graphs.identity(), 'default_model_filename: "net.onnx"')
    (folder / "1" / "model.onnx").rename(folder / "1" / "net.onnx")
    with serve(repository.path) as wire:
        assert wire.infer("m", x=np.ones((1, 4), np.float32))["y"].shape == (1, 4)
