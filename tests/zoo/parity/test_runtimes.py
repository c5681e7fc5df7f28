"""Large files in onnxruntime: weights are read from where they lie, and answers are the same."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo.parity import runtimes
from zoo.parity.runtimes import OnnxRuntime

FEEDS = {"x": np.random.default_rng(0).normal(size=(2, 16, 9, 9)).astype(np.float32)}


def _convolution(folder: Path, *, typed: bool = False) -> Path:
    """A convolution, whose kernel onnxruntime lays out anew, and a product."""
    random = np.random.default_rng(1)
    kernel = random.normal(size=(32, 16, 3, 3)).astype(np.float32)
    scale = random.normal(size=(32, 7, 7)).astype(np.float32)
    kernel_tensor = numpy_helper.from_array(kernel, "kernel")
    if typed:
        kernel_tensor = helper.make_tensor(
            "kernel", TensorProto.FLOAT, kernel.shape, kernel.ravel().tolist()
        )
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["c"]),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("Mul", ["r", "scale"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 16, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [kernel_tensor, numpy_helper.from_array(scale, "scale")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What sessions were opened of, every file being taken for a large one."""
    models: list[object] = []
    original = runtimes.open_session

    def record(model: Path | bytes, **options: object) -> object:
        models.append(model)
        return original(model, **options)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(runtimes, "open_session", record)
    monkeypatch.setattr(runtimes, "LARGE_FILE", 0)
    return models


def test_weights_of_a_large_file_are_read_in_place(tmp_path: Path, opened: list[object]) -> None:
    """Bit by bit the answers of the file as it is; without optimizations that is what is run."""
    path = _convolution(tmp_path)
    (expected,) = OnnxRuntime().load(path.read_bytes())(FEEDS).values()
    opened.clear()
    (given,) = OnnxRuntime().load(path)(FEEDS).values()
    assert np.array_equal(given, expected)
    OnnxRuntime(optimized=False).load(path)

    placed, whole = opened
    assert isinstance(placed, bytes)
    assert len(placed) < 1000 < path.stat().st_size
    assert whole == path


def test_a_file_whose_weights_have_no_place_is_read_whole(
    tmp_path: Path, opened: list[object]
) -> None:
    """As what it is, with what onnxruntime says of it."""
    path = _convolution(tmp_path, typed=True)
    OnnxRuntime().load(path)(FEEDS)
    assert opened == [path]

    path.write_bytes(b"no model")
    with pytest.raises(Exception, match=r"model\.onnx"):
        OnnxRuntime().load(path)
