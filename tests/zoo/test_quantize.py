"""Variants are kept where measurement says they win, and the report says why not elsewhere."""

import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from zoo import quantize
from zoo.errors import CheckFailed
from zoo.quantize import Variant, build_variants, decide
from zoo.runtimes.onnxruntime_session import OnnxRuntime

BASE = Variant(
    kind="fp32",
    file="model.onnx",
    metric=0.98,
    bytes=1000,
    microseconds=10.0,
    kept=True,
    reason="the original",
)


@pytest.mark.parametrize(
    ("metric", "size", "time", "kept", "reason"),
    [
        (0.98, 500, 10.0, True, "50% smaller"),
        (0.976, 500, 5.0, True, "50% smaller and 50% faster"),
        (0.970, 500, 5.0, False, "the metric goes from 0.98 to 0.97, more than the 0.5% allowed"),
        (0.99, 500, 15.0, False, "50% smaller but 50% slower"),
        (0.99, 1500, 15.0, False, "50% larger and 50% slower"),
        (0.99, 990, 9.9, False, "no gain"),
        (float("nan"), 500, 5.0, False, "the metric goes from 0.98 to nan"),
    ],
)
def test_a_variant_must_win_without_losing(
    metric: float, size: int, time: float, kept: bool, reason: str
) -> None:
    """Better in size or time, worse in neither, and as accurate."""
    verdict = decide(BASE, metric, size, time, higher_is_better=True)

    assert verdict[0] is kept
    assert reason in verdict[1]


def test_an_error_may_grow_by_a_share_of_itself() -> None:
    """For errors lower is better, whatever their unit."""
    assert decide(BASE, 0.982, 500, 10.0, higher_is_better=False)[0]
    assert not decide(BASE, 0.99, 500, 10.0, higher_is_better=False)[0]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A matrix product large enough to profit from smaller weights."""
    random = np.random.default_rng(1)
    weights = numpy_helper.from_array(random.normal(size=(256, 256)).astype(np.float32), "w")
    bias = numpy_helper.from_array(random.normal(size=256).astype(np.float32), "b")
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "w", "b"], ["y"])],
        "wide",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 256])],
        [weights, bias],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def _build(path: Path, **changes: object) -> tuple[Variant, ...]:
    rows = np.random.default_rng(2).normal(size=(40, 256)).astype(np.float32)
    truth = OnnxRuntime().load(path)({"x": rows})["y"]
    settings = {
        "calibration": {"x": rows},
        "sample": {"x": rows[:1]},
        "load": OnnxRuntime().load,
        # The share of variance explained: 1 for float32 itself.
        "measure": lambda s: 1 - float(np.var(s({"x": rows})["y"] - truth) / np.var(truth)),
        "higher_is_better": True,
    }
    return build_variants(path, quantize.KINDS, **(settings | changes))


def test_variants_are_real_files_with_measured_figures(wide: Path) -> None:
    """int8 is about a quarter the size and close in value; only what is kept stays on disk."""
    base, int8, fp16 = _build(wide)

    assert (base.kind, base.metric) == ("fp32", 1.0)
    assert int8.bytes < base.bytes * 0.4
    assert fp16.bytes < base.bytes * 0.6
    assert 0.99 < int8.metric < 1.0
    assert 0.999 < fp16.metric <= 1.0
    for variant in (int8, fp16):
        assert (wide.parent / variant.file).exists() is variant.kept
    assert not list(wide.parent.glob("*.prepared"))


def test_a_slow_variant_is_not_kept(wide: Path) -> None:
    """What is smaller but slower is removed, and both figures stand in the report."""

    def load(path: Path):
        session = OnnxRuntime().load(path)

        def run(feeds):
            if path != wide:
                time.sleep(0.0005)
            return session(feeds)

        return run

    _, int8, fp16 = _build(wide, load=load)

    assert not int8.kept
    assert not fp16.kept
    assert "smaller but" in int8.reason
    assert [path.name for path in wide.parent.glob("*.onnx")] == ["model.onnx"]
    assert _build(wide, load=load, force=True)[1].kept


def test_a_kind_that_cannot_be_built_is_reported_or_refused(
    wide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` goes on without it; asked for by name it is an error."""

    def broken(model: Path, target: Path, calibration: object) -> None:
        target.write_bytes(b"half")
        raise RuntimeError("no such operator")

    monkeypatch.setattr(quantize, "_BUILDERS", {**quantize._BUILDERS, "int8": broken})
    (*_, failed) = _build(wide)

    assert (failed.kind, failed.kept, failed.reason) == (
        "int8",
        False,
        "RuntimeError: no such operator",
    )
    with pytest.raises(CheckFailed, match="int8 cannot be built: RuntimeError"):
        _build(wide, force=True)
    assert not (wide.parent / "model.int8.onnx").exists()
