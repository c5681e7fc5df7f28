"""One model in a folder, by a name that the operator gives (--model-name, --model-dir)."""

import numpy as np
import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.repository.single_model import SingleModel

ROW = np.ones((2, 4), np.float32)

CONFIG = 'name: "resnet" max_batch_size: 8 output [{ name: "y" label_filename: "l.txt" dims: [4] }]'

#: Files by path; G stands for a graph.
LAYOUTS = {
    "file": {"model.onnx": "G"},
    "file_and_config": {"model.onnx": "G", "config.pbtxt": CONFIG, "l.txt": "a\nb"},
    "another_name": {"resnet.onnx": "G", "README.md": "text"},
    "versions": {"1/model.onnx": "G"},
    "versions_and_config": {"1/model.onnx": "G", "config.pbtxt": CONFIG, "l.txt": "a\nb"},
    "whole_folder": {
        "resnet/1/model.onnx": "G",
        "resnet/config.pbtxt": CONFIG,
        "resnet/l.txt": "a",
    },
    "named_folder": {"m/1/model.onnx": "G", "other/1/model.onnx": "G"},
}


@pytest.mark.parametrize("files", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_layouts(files, tmp_path, graphs, serve):
    """Each way in which a model is mounted is served by the given name."""
    for name, content in files.items():
        path = tmp_path / "mnt" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(graphs.identity() if content == "G" else content.encode())
    with serve(tmp_path / "absent", model_name="m", model_dir=tmp_path / "mnt") as wire:
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        index = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        config = wire.stub.ModelConfig(pb.ModelConfigRequest(name="m")).config

    assert [(model.name, model.version, model.state) for model in index] == [("m", "1", "READY")]
    assert config.name == "m"
    assert config.max_batch_size == (8 if "config.pbtxt" in " ".join(files) else 1024)


def test_no_model_and_two(tmp_path):
    """A folder without a graph, or with two of equal right, has a reason."""
    (files,) = SingleModel(tmp_path, "m").scan()
    assert files.fault == "no model is there: put one graph at model.onnx or 1/model.onnx"
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    (files,) = SingleModel(tmp_path, "m").scan()
    assert files.fault.startswith("several are there: put one graph")


def test_the_options_go_together(tmp_path):
    """One without the other, and a name that none can have, are the operator's mistakes."""
    with pytest.raises(ConfigurationError, match="--model-name and --model-dir go together"):
        ServerConfig(repository=tmp_path, model_name="m")
    with pytest.raises(ConfigurationError, match="'a/b' cannot be a model name"):
        SingleModel(tmp_path, "a/b")
