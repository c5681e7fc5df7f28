"""RepositoryModelLoad, RepositoryModelUnload and RepositoryIndex, as callers see them."""

import json

import grpc
import pytest
import tritonclient.grpc as triton
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from tests.server.models.control_calls import ROW, index, load, outcome, unload
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError, LoadFailed
from zoo_server.models.load_override import parse_override, unpacked

LONG = "A" * 256

#: A configuration whose output has its classes in a file.
LABELS = '{"max_batch_size": 1, "output": [{"name": "y", "label_filename": "%s"}]}'


def test_nothing_is_loaded_until_asked_for(explicit, client):
    """Explicit mode: the server is ready, models are known by name only, and load one by one."""
    assert client.is_server_ready()
    assert index(explicit) == [("bad", "", "", ""), ("m", "", "", ""), ("n", "", "", "")]
    assert not client.is_model_ready("m")

    client.load_model("m")

    assert client.is_model_ready("m")
    assert not client.is_model_ready("n")
    assert index(explicit, ready=True) == [("m", "1", "READY", "")]
    assert explicit.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    assert "model_repository" in client.get_server_metadata().extensions


def test_unload(explicit, client):
    """An unloaded model is not ready at once, says so, and does not make the server unready."""
    client.load_model("m")
    client.unload_model("m")

    assert not client.is_model_ready("m")
    assert client.is_server_ready()
    assert ("m", "1", "UNAVAILABLE", "unloaded") in index(explicit)
    assert index(explicit, ready=True) == []
    with pytest.raises(grpc.RpcError, match="has no available versions: unloaded") as caught:
        explicit.infer("m", x=ROW)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError, match="is not at ready state: unloaded") as caught:
        explicit.infer("m", version="1", x=ROW)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE

    client.load_model("m")
    assert explicit.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


def test_unloading_what_is_not_loaded(explicit):
    """It is unloaded already: OK, and nothing becomes known by it."""
    before = index(explicit)

    assert unload(explicit, "m") is None
    assert unload(explicit, "unheard of") is None
    assert index(explicit) == before


@pytest.mark.parametrize("name", ["../m", "..", "/etc", "m/1", "", " ", ".hidden", LONG, "a\0b"])
def test_unloading_what_is_no_models_name(name, explicit):
    """It is looked for among what is loaded, and nowhere else: OK, and nothing changes."""
    assert load(explicit, "m") is None
    before = index(explicit)

    assert unload(explicit, name) is None
    assert index(explicit) == before
    assert explicit.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


def test_load_and_unload_answer_nothing(explicit):
    """2.7: their replies have no field, where other servers' have some."""
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        ask = explicit.channel.unary_unary(f"/inference.GRPCInferenceService/{method}")
        request = pb.RepositoryModelLoadRequest(model_name="m")  # both number their fields alike
        assert ask(request.SerializeToString()) == b""
        assert ("m", "1") in [row[:2] for row in index(explicit)]


def test_unloading_what_could_not_be_loaded(explicit, client):
    """A model that failed makes the server unready until it is unloaded, or loads."""
    assert load(explicit, "bad") is not None
    assert not client.is_server_ready()
    client.unload_model("bad")
    assert client.is_server_ready()


def test_load_named_at_the_start(repository, graphs, serve):
    """--load-model loads those named; one that is not there is listed and makes it unready."""
    for name in ("a", "b", "c"):
        repository.add(name, graphs.identity())
    mode = {"model_control_mode": "explicit"}
    with serve(repository.path, **mode, load_model=("a", "c")) as wire:
        assert [row[0] for row in index(wire, ready=True)] == ["a", "c"]
        assert wire.stub.ServerReady(pb.ServerReadyRequest()).ready
    with serve(repository.path, **mode, load_model=("*",)) as wire:
        assert [row[0] for row in index(wire, ready=True)] == ["a", "b", "c"]
    with serve(repository.path, **mode, load_model=("a", "x")) as wire:
        assert ("x", "", "UNAVAILABLE", "it is not in the repository") in index(wire)
        assert not wire.stub.ServerReady(pb.ServerReadyRequest()).ready


def test_load_model_needs_explicit_mode(tmp_path):
    """--load-model without explicit mode is a mistake that is named."""
    with pytest.raises(ConfigurationError, match="needs --model-control-mode explicit"):
        ServerConfig(repository=tmp_path, load_model=("a",))


@pytest.mark.parametrize("mode", ["none", "poll"])
def test_other_modes_refuse(mode, repository, graphs, serve):
    """Load and unload are UNAVAILABLE in the other modes, and change nothing."""
    repository.add("m", graphs.identity())
    stem = "explicit model load / unload is not allowed if polling is enabled"
    with serve(repository.path, model_control_mode=mode) as wire:
        for answer in (load(wire, "m"), unload(wire, "m")):
            assert answer is not None
            assert answer[0] == "UNAVAILABLE"
            assert answer[1].startswith(stem)
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


#: Pieces of paths, good and bad.
PARTS = st.sampled_from(["1", "01", "model.onnx", "..", ".", "", "a b", "~", "\\", "\0", LONG])


BAD_LOADS = [
    ("m", {"size": 3}, "INVALID_ARGUMENT", "unrecognized load parameter 'size'."),
    ("m", {"config": b"{}"}, "INVALID_ARGUMENT", "'config', expected string_param."),
    ("m", {"file:1/model.onnx": "x"}, "INVALID_ARGUMENT", "expected bytes_param."),
    ("m", {"file:1/model.onnx": b"x"}, "INTERNAL", "'config' must be specified"),
    ("m", {"config": '"a": {{'}, "INTERNAL", "failed to load 'm', failed to poll from model"),
    ("m", {"config": "[]"}, "INTERNAL", "Invalid config override"),
    ("m", {"config": "1"}, "INTERNAL", "Invalid config override"),
    ("m", {"config": "[" * 100_000}, "INTERNAL", "Invalid config override"),
    ("m", {"config": '{"no_such_field": 1}'}, "INTERNAL", "Invalid config override"),
    ("m", {"config": '{"max_batch_size": "many"}'}, "INTERNAL", "Invalid config override"),
    ("m", {"config": '{"name": "other"}'}, "INTERNAL", "names the model 'other'"),
    ("m", {"config": '{"input": [{"name": "z"}]}'}, "INVALID_ARGUMENT", "failed to load 'm'"),
    ("m", {"config": LABELS % "../x"}, "INVALID_ARGUMENT", "label_filename '../x' leads out of"),
    ("m", {"config": LABELS % "/etc/passwd"}, "INVALID_ARGUMENT", "'/etc/passwd' leads out of"),
    ("m", {"config": LABELS % "1/../../n/x"}, "INVALID_ARGUMENT", "leads out of the model's folder"),
    ("m", {"config": LABELS % "none.txt"}, "INVALID_ARGUMENT", "'none.txt' cannot be read"),
    ("m", {"config": '{"version_policy": {"specific": {"versions": [9]}}}'}, "INVALID_ARGUMENT", "for 9"),
    ("bad", {}, "INVALID_ARGUMENT", "load failed for model 'bad': version 1 is at UNAVAILABLE state"),
    ("wrong", {}, "INTERNAL", "failed to load 'wrong', failed to poll from model repository"),
    ("", {}, "INVALID_ARGUMENT", "Model name cannot be empty"),
    (" \t", {}, "INVALID_ARGUMENT", "Model name cannot be empty"),
    ("..", {}, "INVALID_ARGUMENT", "must not contain path traversal"),
    ("../m", {}, "INVALID_ARGUMENT", "must not contain path traversal"),
    ("a/b", {}, "INVALID_ARGUMENT", "must not contain path traversal"),
    ("/etc", {}, "INVALID_ARGUMENT", "must not contain path traversal"),
    (".hidden", {}, "INVALID_ARGUMENT", "starts with a dot"),
    ("a\0b", {}, "INVALID_ARGUMENT", "unprintable"),
    (LONG, {}, "INVALID_ARGUMENT", "longer than 255 bytes"),
    ("m", {"config": "{}", f"file:{LONG}": b"x"}, "INTERNAL", "failed to poll from model"),
    ("m", {"config": "{}", f"file:1/{LONG}": b"x"}, "INTERNAL", "failed to poll from model"),
    ("m", {"config": "{}", "file:../x": b"x"}, "INTERNAL", "stay within model directory"),
    ("m", {"config": "{}", "file:1/../../x": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:/etc/x": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:1/": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:1": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:1/a\\b": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:1/a\0b": b"x"}, "INTERNAL", "stay within model"),
    ("m", {"config": "{}", "file:1/model.onnx": b""}, "INVALID_ARGUMENT", "1/model.onnx is empty"),
    ("m", {"config": "{}", "file:1/model.onnx": b"x"}, "INVALID_ARGUMENT", "cannot be loaded"),
    ("m", {"config": "{}", "file:labels.txt": b"x"}, "INTERNAL", "no version folder"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameters", "code", "text"), BAD_LOADS, ids=range(len(BAD_LOADS))
)
def test_bad_load(name, parameters, code, text, explicit):
    """A load that cannot be is refused with its code and reason; what serves goes on serving."""
    assert load(explicit, "m") is None

    answer = load(explicit, name, **parameters)

    assert answer is not None
    assert answer[0] == code
    assert text in answer[1]
    assert explicit.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
    assert ("m", "1", "READY", "") in index(explicit)


@given(path=st.text(max_size=30) | st.lists(PARTS, max_size=4).map("/".join))
@settings(max_examples=500, deadline=None)
def test_no_file_leads_out_of_its_folder(path):
    """Whatever a file is called: it is refused, or lies inside the model's folder and is read back."""
    try:
        override = parse_override("m", {"config": "{}", f"file:{path}": b"content"})
    except LoadFailed:
        return
    with unpacked("m", override) as folder:
        written = [file for file in folder.folder.rglob("*") if file.is_file()]
        assert [file.read_bytes() for file in written] == [b"content"]
        assert written[0].relative_to(folder.folder).as_posix() == path
        assert written[0].resolve().is_relative_to(folder.folder.resolve())
    assert not folder.folder.exists()


def test_other_repositories_and_types(explicit):
    """Another repository's name is UNIMPLEMENTED; unload_dependents must be a bool."""
    for method, request in (
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest),
        ("RepositoryModelUnload", pb.RepositoryModelUnloadRequest),
    ):
        answer = outcome(
            getattr(explicit.stub, method), request(repository_name="x", model_name="m")
        )
        assert answer == ("UNIMPLEMENTED", "'repository_name' specification is not supported")
    request = pb.RepositoryModelUnloadRequest(model_name="m")
    request.parameters["unload_dependents"].string_param = "yes"
    answer = outcome(explicit.stub.RepositoryModelUnload, request)
    assert answer is not None
    assert answer[0] == "INVALID_ARGUMENT"
    assert answer[1].startswith("invalid value type for 'unload_dependents' parameter")


def test_unload_dependents(explicit, client):
    """tritonclient's parameter is taken."""
    client.load_model("m")
    client.unload_model("m", unload_dependents=True)
    assert not client.is_model_ready("m")


def test_configuration_override(explicit, client):
    """JSON in the place of config.pbtxt, numbers as strings too; the next plain load undoes it."""
    client.load_model("m", config='{"max_batch_size": "16"}')
    assert client.get_model_config("m").config.max_batch_size == 16
    everything = client.get_model_config("m", as_json=True)["config"]
    client.load_model("m", config=json.dumps({**everything, "max_batch_size": 2}))
    assert client.get_model_config("m").config.max_batch_size == 2
    client.load_model("m", config='{"maxBatchSize": 0}')
    assert client.get_model_config("m").config.max_batch_size == 0

    client.load_model("m")
    assert client.get_model_config("m").config.max_batch_size == 1024


def test_files_in_the_request(explicit, client, graphs, repository):
    """A model, its versions and labels can come with the request; the repository is left alone."""
    before = sorted(path for path in repository.path.rglob("*"))
    config = {
        "max_batch_size": 4,
        "version_policy": {"all": {}},
        "output": [{"name": "y", "label_filename": "labels.txt"}],
    }
    files = {
        "file:1/model.onnx": graphs.identity(),
        "file:7/model.onnx": graphs.identity(),
        "file:labels.txt": b"a\nb\nc\nd\n",
    }
    client.load_model("brought", config=json.dumps(config), files=files)

    assert sorted(path for path in repository.path.rglob("*")) == before
    assert client.get_model_metadata("brought").versions == ["1", "7"]
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(ROW)
    best = triton.InferRequestedOutput("y", class_count=1)
    answer = client.infer("brought", [tensor], outputs=[best]).as_numpy("y")
    assert answer.tolist() == [[b"4.000000:3:d"]]
    client.unload_model("brought")
    assert not client.is_model_ready("brought")


def test_files_replace_what_is_loaded(explicit, client, graphs):
    """Files for a model of the repository take its place until it is loaded from there again."""
    client.load_model("m")
    client.load_model(
        "m", config="{}", files={"file:5/model.onnx": graphs.identity(TensorProto.INT32)}
    )
    assert [row for row in index(explicit) if row[0] == "m"] == [
        ("m", "1", "UNAVAILABLE", "unloaded"),
        ("m", "5", "READY", ""),
    ]
    assert client.get_model_metadata("m").inputs[0].datatype == "INT32"

    client.load_model("m")
    assert client.get_model_metadata("m").versions == ["1"]
    assert client.get_model_metadata("m").inputs[0].datatype == "FP32"


def test_reload_takes_up_what_changed(explicit, client, repository, graphs):
    """A new version takes the place of the old one; what did not change is kept, counts and all."""
    repository.add("m", None, "version_policy { latest { num_versions: 2 } }")
    client.load_model("m")
    explicit.infer("m", x=ROW)
    client.load_model("m")
    (stats,) = client.get_inference_statistics("m").model_stats
    assert stats.inference_count == 1

    repository.add("m", graphs.identity(), version=2)
    client.load_model("m")
    assert client.get_model_metadata("m").versions == ["1", "2"]
    assert client.get_inference_statistics("m", "1").model_stats[0].inference_count == 1
    repository.add("m", graphs.identity(), version=3)
    client.load_model("m")
    assert client.get_model_metadata("m").versions == ["2", "3"]
    assert ("m", "1", "UNAVAILABLE", "unloaded") in index(explicit)


def test_failed_reload_leaves_the_old_one(explicit, client, repository, graphs):
    """A new version that cannot be loaded is listed with its reason, and the server stays ready."""
    client.load_model("m")
    repository.add("m", b"broken", version=2)
    answer = load(explicit, "m")

    assert answer is not None
    assert answer[1].startswith("load failed for model 'm': version 2 is at UNAVAILABLE state: ")
    assert client.is_server_ready()
    assert client.get_model_metadata("m").versions == ["1"]
    entries = {row[1]: row for row in index(explicit) if row[0] == "m"}
    assert entries["1"][2] == "READY"
    assert entries["2"][2] == "UNAVAILABLE"
    assert "2/model.onnx cannot be loaded" in entries["2"][3]

    repository.add("m", graphs.identity(), version=2)
    client.load_model("m")
    assert client.get_model_metadata("m").versions == ["2"]


def test_a_server_process_is_controlled(repository, graphs, server_process):
    """The flags work on the command line, and the log names what was unloaded."""
    repository.add("m", graphs.identity())
    repository.add("n", graphs.identity())
    process = server_process(
        repository.path, "--grpc-port", "0", "--model-control-mode", "explicit",
        "--load-model", "m", "--load-model", "n",
    )  # fmt: skip
    with triton.InferenceServerClient(process.address()) as client:
        assert client.is_model_ready("n")
        client.unload_model("m")
        process.wait_for("model 'm' is unloaded")
        assert not client.is_model_ready("m")
