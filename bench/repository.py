"""The models of the benchmark, as repositories in Triton's layout.

tiny       the tutorial's CNN, 8x8x1 -> 3: the published cnn_digits, or the same layers untrained
mobile     convolutions of MobileNetV2's size and cost, random weights: 224x224x3 -> 1000
identity   one FP32 tensor of any length, unchanged
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from bench import graphs


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model, as the scenarios and the peers' configurations need to know it."""

    name: str
    #: Tensor name and shape of one row; -1 is any size.
    input: tuple[str, tuple[int, ...]]
    output: tuple[str, tuple[int, ...]]
    #: 0 where the first dimension is no batch.
    max_batch_size: int


TINY = Model(
    name="tiny", input=("image", (8, 8, 1)), output=("probabilities", (3,)), max_batch_size=1024
)
MOBILE = Model(
    name="mobile", input=("image", (3, 224, 224)), output=("scores", (1000,)), max_batch_size=64
)
IDENTITY = Model(name="identity", input=("x", (-1,)), output=("y", (-1,)), max_batch_size=0)
MODELS = (TINY, MOBILE, IDENTITY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """Where the models are, joined by the server into batches, and not."""

    batching: Path
    single: Path

    def file(self, model: Model) -> Path:
        """Return a model's ONNX file."""
        return self.batching / model.name / "1" / "model.onnx"

    def right_answer(self, model: Model, array: np.ndarray) -> np.ndarray:
        """Return what session.run answers here, flat."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(self.file(model)), options)
        (answer,) = session.run([model.output[0]], {model.input[0]: array})
        return np.asarray(answer).ravel()


def prepare(folder: Path, published: Path) -> Repositories:
    """Write the repositories afresh; a model that is published is taken, not made again."""
    repositories = Repositories(batching=folder / "batching", single=folder / "single")
    for root in (repositories.batching, repositories.single):
        shutil.rmtree(root, ignore_errors=True)
    for model in MODELS:
        repositories.file(model).parent.mkdir(parents=True)
        (repositories.batching / model.name / "config.pbtxt").write_text(configuration(model))
    _write_tiny(repositories.file(TINY), published)
    onnx.save(graphs.mobile(), repositories.file(MOBILE))
    onnx.save(graphs.identity(), repositories.file(IDENTITY))
    shutil.copytree(repositories.batching, repositories.single)
    for model in MODELS:
        text = configuration(model, joins=False)
        (repositories.single / model.name / "config.pbtxt").write_text(text)
    return repositories


def configuration(model: Model, *, backend: str = "onnxruntime", joins: bool = True) -> str:
    """Return a model's config.pbtxt; `joins` asks for dynamic batching with Triton's defaults."""
    lines = [f'backend: "{backend}"', f"max_batch_size: {model.max_batch_size}"]
    for kind, (tensor, shape) in (("input", model.input), ("output", model.output)):
        dims = ", ".join(map(str, shape))
        lines.append(f'{kind} [ {{ name: "{tensor}" data_type: TYPE_FP32 dims: [ {dims} ] }} ]')
    if joins and model.max_batch_size:
        lines.append("dynamic_batching { }")
    return "\n".join(lines) + "\n"


def _write_tiny(path: Path, published: Path) -> None:
    versions = sorted(
        (published / "cnn_digits").glob("[0-9]*/model.onnx"), key=lambda file: int(file.parent.name)
    )
    if versions:
        shutil.copyfile(versions[-1], path)
        return
    print(f"{published}/cnn_digits is not there: its layers, untrained, instead", file=sys.stderr)
    onnx.save(graphs.tiny(), path)
