"""Links and special files in a repository: what stays inside is read, all else is refused at once."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper

from zoo_proto import grpc_service_pb2 as pb

ROW = np.array([[1, 2, 3, 4]], np.float32)

LABELS = 'max_batch_size: 4 output [{ name: "y" dims: [ 4 ] label_filename: "labels.txt" }]'


def with_external_data(graphs, location, offset=0):
    """y = x + w, where w lies in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=1)
    for key, value in (("location", location), ("offset", str(offset)), ("length", "16")):
        weights.external_data.add(key=key, value=value)
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "tiny",
        [graphs.value("x", TensorProto.FLOAT, ["batch", 4])],
        [graphs.value("y", TensorProto.FLOAT, ["batch", 4])],
        initializer=[weights],
    )
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.fixture
def hostile(repository, graphs, tmp_path):
    """Write a repository of links and special files, and what lies outside of it."""
    graph, outside = graphs.identity(), tmp_path / "secret place"
    (outside / "1").mkdir(parents=True)
    (outside / "1" / "model.onnx").write_bytes(graph)
    (outside / "1" / "data.bin").write_bytes(ROW.tobytes())
    (outside / "words.txt").write_text("secret\nwords\n")
    (repository.path / "whole").symlink_to(outside)
    repository.add("inside", None)
    (repository.path / "inside" / "1" / "model.onnx").symlink_to("../../healthy/1/model.onnx")
    (repository.path / "inside" / "loop").symlink_to("..")
    (repository.path / "inside" / "root").symlink_to("/")
    repository.add("healthy", graph)
    (repository.add("version", None) / "2").symlink_to(outside / "1")
    (repository.add("graph", None) / "1" / "model.onnx").symlink_to(outside / "1" / "model.onnx")
    (repository.add("labels", graph, LABELS) / "labels.txt").symlink_to("/etc/passwd")
    (repository.add("config", graph) / "config.pbtxt").symlink_to("/etc/passwd")
    os.mkfifo(repository.add("pipe", None) / "1" / "model.onnx")
    os.mkfifo(repository.add("config_pipe", graph) / "config.pbtxt")
    os.mkfifo(repository.add("labels_pipe", graph, LABELS) / "labels.txt")
    os.mkfifo(repository.path / "bare_pipe.onnx")
    (repository.path / "device.onnx").symlink_to("/dev/zero")
    (repository.add("circle", None) / "1" / "model.onnx").symlink_to("model.onnx")
    with (repository.add("huge", None) / "1" / "model.onnx").open("wb") as file:
        file.truncate(2**40)
    with (repository.add("huge_config", graph) / "config.pbtxt").open("wb") as file:
        file.truncate(2**40)
    folder = repository.add("data_link", with_external_data(graphs, "data.bin")) / "1"
    (folder / "data.bin").symlink_to(outside / "1" / "data.bin")
    repository.add("data_up", with_external_data(graphs, "../../../secret place/1/data.bin"))
    repository.add("data_path", with_external_data(graphs, str(outside / "1" / "data.bin")))
    repository.add("data_pipe", with_external_data(graphs, "pipe"))
    os.mkfifo(repository.path / "data_pipe" / "1" / "pipe")
    repository.add("data_gone", with_external_data(graphs, "gone"))
    folder = repository.add("data_short", with_external_data(graphs, "data.bin", offset=16)) / "1"
    (folder / "data.bin").write_bytes(ROW.tobytes())
    deep = repository.add("deep", graph)
    for _ in range(40):
        deep = deep / "d"
        deep.mkdir()
    return repository


REASONS = {
    "whole": "its folder is a link that leads out of the repository",
    "version": "2/model.onnx is a link that leads out of the repository",
    "graph": "1/model.onnx is a link that leads out of the repository: copy the file, or start the "
    "server with --follow-links",
    "labels": "label_filename 'labels.txt' is a link that leads out of the repository",
    "config": "config.pbtxt is a link that leads out of the repository",
    "pipe": "1/model.onnx is not a regular file",
    "config_pipe": "config.pbtxt is not a regular file",
    "labels_pipe": "label_filename 'labels.txt' is not a regular file",
    "bare_pipe": "models/bare_pipe.onnx is not a regular file",
    "device": "models/device.onnx is not a regular file",
    "circle": "1/model.onnx cannot be read: Too many levels of symbolic links",
    "huge": "1/model.onnx is larger than 2147483647 bytes",
    "huge_config": "config.pbtxt is larger than 1048576 bytes",
    "data_link": "the external data 'data.bin' of 1/model.onnx is a link that leads out of the repository",
    "data_up": "of 1/model.onnx leads out of the model's folder: external data must lie beside the model",
    "data_path": "1/model.onnx reads weights by an absolute path: external data must lie beside",
    "data_pipe": "the external data 'pipe' of 1/model.onnx is not a regular file",
    "data_gone": "the external data 'gone' of 1/model.onnx cannot be read: No such file or directory",
    "data_short": "has 16 bytes where the model reads 32: copy it again",
}


def reasons(wire):
    models = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
    return {model.name: model.reason for model in models if model.state != "READY"}


def test_what_leads_out_or_never_ends_is_refused(hostile, serve, tmp_path):
    """Each has its reason, none tells a path of this machine, and links inside are followed."""
    with serve(hostile.path) as wire:
        texts = reasons(wire)
        for name in ("inside", "deep", "healthy"):
            assert wire.infer(name, x=ROW)["y"].tolist() == ROW.tolist(), name

    assert texts.keys() == REASONS.keys()
    for name, expected in REASONS.items():
        assert expected in texts[name], name
        assert str(tmp_path) not in texts[name], name
        assert "secret place" not in texts[name].replace("../../../secret place", ""), name
        assert "\n" not in texts[name]


def test_links_out_are_followed_where_that_is_asked_for(hostile, serve):
    """With --follow-links models, versions, files and labels lie elsewhere; pipes stay refused."""
    with serve(hostile.path, follow_links=True) as wire:
        texts = reasons(wire)
        for name in ("whole", "version", "graph", "labels", "inside"):
            assert wire.infer(name, x=ROW)["y"].tolist() == ROW.tolist(), name

    refused = {"pipe", "config_pipe", "labels_pipe", "bare_pipe", "device", "circle", "huge"}
    assert refused <= texts.keys()


def test_a_load_by_request_reads_nothing_else(hostile, serve):
    """A load of one model looks at that model alone, and the others may be what they are."""
    with serve(hostile.path, model_control_mode="explicit") as wire:
        wire.stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="healthy"))
        assert wire.infer("healthy", x=ROW)["y"].shape == ROW.shape
