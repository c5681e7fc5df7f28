"""Model repositories made of tiny graphs."""

from pathlib import Path

from tests.server.onnx_graphs import Graphs
from zoo_server.datatypes import DATA_TYPES

SIMPLE_CONFIG = """
platform: "onnxruntime_onnx"
max_batch_size: 8
input [{ name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
       { name: "INPUT1" data_type: TYPE_INT32 dims: [ 16 ] }]
output [{ name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] },
        { name: "OUTPUT1" data_type: TYPE_INT32 dims: [ 16 ] }]
"""


class Repository:
    """A model repository under construction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def add(
        self, name: str, model: bytes | None, config: str | None = None, version: int = 1
    ) -> Path:
        """Write NAME/VERSION/model.onnx and config.pbtxt; None writes neither."""
        folder = self.path / name / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        if model is not None:
            (folder / "model.onnx").write_bytes(model)
        if config is not None:
            (self.path / name / "config.pbtxt").write_text(config)
        return self.path / name


def every_kind(path: Path, graphs: Graphs) -> Repository:
    """Return a repository of an identity a datatype, and some special models."""
    repository = Repository(path)
    for row in DATA_TYPES:
        if row.wire != "BF16":
            repository.add(f"identity_{row.wire.lower()}", graphs.identity(row.onnx_enum))
    repository.add("simple", graphs.simple(), SIMPLE_CONFIG)
    repository.add("fixed", graphs.identity(shape=(2, 3)))
    repository.add("scalar", graphs.identity(shape=()))
    repository.add("variable", graphs.identity(shape=("batch", "length")))
    repository.add("unbatched", graphs.identity(shape=("n", "m")), "max_batch_size: 0")
    repository.add("fails", graphs.fails_when_run())
    repository.add(
        "optional",
        graphs.with_default(),
        'max_batch_size: 4 input [{ name: "x" data_type: TYPE_FP32 dims: [ 4 ] },'
        ' { name: "bias" data_type: TYPE_FP32 dims: [ 4 ] optional: true }]',
    )
    repository.add(
        "reshaped",
        graphs.identity(shape=("batch", 2, "k")),
        'max_batch_size: 4 input [{ name: "x" data_type: TYPE_FP32 dims: [ 1, 2, -1 ]'
        ' reshape { shape: [ 2, -1 ] } }] output [{ name: "y" data_type: TYPE_FP32'
        " dims: [ 2, -1, 1 ] reshape { shape: [ 2, -1 ] } }]",
    )
    folder = repository.add(
        "classes",
        graphs.identity(),
        'max_batch_size: 4 output [{ name: "y" data_type: TYPE_FP32 dims: [ 4 ]'
        ' label_filename: "labels.txt" }]',
    )
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    for version in (1, 2, 3):
        repository.add("versions", graphs.identity(), "version_policy { all {} }", version)
    return repository
