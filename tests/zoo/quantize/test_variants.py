"""One model file's smaller variants: a variant or a reason for each kind, by what is measured."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from zoo.errors import CheckFailed
from zoo.parity.compare import Arrays
from zoo.parity.runtimes import OnnxRuntime
from zoo.quantize import variants
from zoo.quantize.build import CannotBuild
from zoo.quantize.decision import KINDS, Metric
from zoo.quantize.evidence import Evidence, Judge, calibration, of_rows
from zoo.quantize.variants import smaller_variants


def _evidence(lab: ModuleType, model: ModelProto, count: int = 200) -> Evidence:
    return of_rows(lab.rows(model, count), 0)


def _losing(evidence: Evidence, value: float) -> Evidence:
    """Evidence by which fp32 reaches 1 and any other variant `value`."""
    return replace(evidence, judges=lambda base: (_judge("accuracy", value),))


def _judge(name: str, value: float) -> Judge:
    return Judge(
        metric=Metric(name=name, kind="share", rows=200),
        value=lambda base, answers: 1.0 if answers is base else value,
    )


def test_auto_gives_a_variant_or_a_reason_for_each_kind(lab: ModuleType) -> None:
    """With the figures in either case, as JSON can hold them."""
    model = lab.small_cnn()
    smaller = smaller_variants(model, _evidence(lab, model), requested="auto")

    assert [v.file for v in smaller] == [f"model.{kind}.onnx" for kind in KINDS]
    assert all(v.reason.startswith("cannot be built: no matrix") for v in smaller[2:])
    for variant in smaller[:2]:
        record = variant.measured["quantized"]
        assert record["published"] is (variant.content is not None)
        assert variant.reason == ("" if variant.content else record["reason"])
        assert variant.exact is (variant.content is None)
        assert record["bytes"]["fp32"] == len(model.SerializeToString())
        assert 0 < record["max_abs"] < 0.2
        json.dumps(record, allow_nan=False)
    fp16 = smaller[1].measured["quantized"]
    assert fp16["published"]
    assert fp16["bytes"]["ratio"] < 0.7


def test_a_variant_that_loses_too_much_is_not_published(lab: ModuleType) -> None:
    """Auto goes on without it; by name it is an error with the figures and the option."""
    model = lab.small_cnn()
    evidence = _losing(_evidence(lab, model), 0.98)
    smaller = smaller_variants(model, evidence, requested="auto")

    assert not any(variant.content for variant in smaller)
    assert smaller[0].reason == "accuracy falls by 2 points, and 0.5 points are allowed"
    with pytest.raises(
        CheckFailed,
        match=r"not published: int8: accuracy falls by 2 points.* \(1 to 0.98 on 200 rows; "
        r"0\.\d+ × the bytes\): --max-loss 2(\.01)? allows it",
    ):
        smaller_variants(model, evidence, requested="int8")
    assert smaller_variants(model, evidence, requested="int8", max_loss=2.01)[0].content


def test_every_output_is_judged_and_the_first_stands_for_all_that_lose_little(
    lab: ModuleType,
) -> None:
    """A variant must not spoil one output to keep another."""
    model = lab.small_cnn()
    evidence = _evidence(lab, model)
    fine = replace(evidence, judges=lambda base: (_judge("a", 0.999), _judge("b", 0.998)))
    spoilt = replace(evidence, judges=lambda base: (_judge("a", 1.0), _judge("b", 0.9)))
    _, kept, *_ = smaller_variants(model, fine, requested="auto")
    _, lost, *_ = smaller_variants(model, spoilt, requested="auto")

    assert kept.content
    assert kept.measured["quantized"]["metric"]["name"] == "a"
    assert lost.reason.startswith("b falls by 10 points")
    assert [m["value"] for m in lost.measured["quantized"]["metrics"]] == [1.0, 0.9]


def test_a_variant_says_what_it_is_and_what_it_reaches(lab: ModuleType) -> None:
    """In its properties, where fp32's metric would be untrue of it; the rest is the model's."""
    model = lab.small_cnn()
    model.metadata_props.add(key="metric_value", value="1")
    (variant,) = smaller_variants(model, _losing(_evidence(lab, model), 0.998), requested="fp16")
    assert variant.content is not None
    told = {p.key: p.value for p in onnx.load_from_string(variant.content).metadata_props}

    assert told == {"task": "multiclass", "metric_value": "0.998", "variant": "fp16"}
    assert {p.key: p.value for p in model.metadata_props}["metric_value"] == "1"


def test_answers_that_are_no_numbers_lose_the_metric_altogether(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large --max-loss is: an argmax over NaN would look like an answer."""
    model = lab.small_cnn()
    monkeypatch.setattr(variants, "adds_nonfinite", lambda base, answers: True)
    smaller = smaller_variants(model, _evidence(lab, model), requested="auto", max_loss=100.0)

    assert not any(variant.content for variant in smaller)
    assert "lost altogether" in smaller[0].reason
    json.dumps(smaller[0].measured, allow_nan=False)
    with pytest.raises(CheckFailed, match=r"--quantize auto goes on without it$"):
        smaller_variants(model, _evidence(lab, model), requested="int8", max_loss=100.0)


def test_half_precision_that_overflows_is_not_published(lab: ModuleType) -> None:
    """Sums beyond 65504, which onnxruntime's CPU would hide by computing them in float32."""
    model = lab.unlike_columns()
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 2 and tensor.dims[0] == 16:
            array = onnx.numpy_helper.to_array(tensor) * np.float32(60000)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    (variant,) = [
        f
        for f in smaller_variants(model, _evidence(lab, model), requested="auto")
        if "fp16" in f.file
    ]

    assert variant.content is None
    assert re.match(
        r"cannot be built: \w+ goes beyond half precision's 65504 on calibration rows",
        variant.reason,
    )


def test_a_variant_that_cannot_be_built_has_its_reason(lab: ModuleType) -> None:
    """Auto reports it; asked for by name it is an error."""
    model = lab.no_weights()
    evidence = of_rows(lab.rows(model, 40), 0)
    smaller = smaller_variants(model, evidence, requested="auto")

    assert all(
        variant.reason.startswith(
            ("cannot be built: the graph has none", "cannot be built: no matrix")
        )
        for variant in smaller
    )
    with pytest.raises(CheckFailed, match="fp16 cannot be built: the graph has none of"):
        smaller_variants(model, evidence, requested="fp16")


def test_one_failure_does_not_keep_the_other_variant_back(
    lab: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """int8 cannot be built, fp16 is measured all the same."""

    def build(kind: str, *arguments: Any) -> ModelProto:
        if kind == "int8":
            raise CannotBuild("no such operator")
        return real(kind, *arguments)

    real = variants.build
    monkeypatch.setattr(variants, "build", build)
    model = lab.small_cnn()
    int8, fp16, *_ = smaller_variants(model, _evidence(lab, model), requested="auto")

    assert int8.reason == "cannot be built: no such operator"
    assert fp16.content


def test_the_same_model_and_rows_give_the_same_variants(lab: ModuleType) -> None:
    """Bytes, verdicts and figures: nothing depends on a clock or on the machine's load."""
    first, second = (
        smaller_variants(model, _evidence(lab, model), requested="auto")
        for model in (lab.small_cnn(), lab.small_cnn())
    )

    assert first == second


@pytest.mark.slow
def test_int8_wins_on_a_model_of_mobilenets_size(lab: ModuleType, tmp_path: Path) -> None:
    """A quarter of 23 MB, and as accurate: what static quantisation is for."""

    def ask(model: ModelProto, feeds: dict[str, np.ndarray]) -> Any:
        (tmp_path / "asked.onnx").write_bytes(model.SerializeToString())
        return OnnxRuntime().load(tmp_path / "asked.onnx")(feeds)

    def accuracy(base: Arrays, answers: Arrays) -> float:
        return float(np.mean(answers["probabilities"].argmax(axis=-1) == classes))

    model, (images, _), (seen, classes) = lab.mobile_classifier(ask)
    metric = Metric(name="accuracy", kind="share", rows=len(seen))
    evidence = Evidence(
        calibration=calibration({"image": images}, 0, "pictures"),
        rows={"image": seen},
        judges=lambda base: (Judge(metric=metric, value=accuracy),),
        tasks=lambda base: {"probabilities": "multiclass"},
    )
    int8, *_ = smaller_variants(model, evidence, requested="auto")
    record = int8.measured["quantized"]

    assert int8.content
    assert record["metric"]["fp32"] > 0.95
    assert record["bytes"]["ratio"] < 0.3
