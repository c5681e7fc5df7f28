"""What tables, cards and refusals say of smaller variants."""

from typing import Any

import pytest

from zoo.quantize.report import HEADER, note, records, refusal, rows


def _record(**changes: Any) -> dict[str, Any]:
    metric = {"name": "accuracy", "rows": 200, "fp32": 0.98, "value": 0.971, "loss": 0.9}
    return {
        "kind": "int8",
        "published": False,
        "reason": "accuracy falls by 0.9 points, and 0.5 points are allowed",
        "metric": metric | {"loss_unit": "points", "limit": 0.5},
        "bytes": {"fp32": 1000, "int8": 300, "ratio": 0.3},
        "max_abs": 0.0123,
        "flips": 2,
        "measured_with": {"onnxruntime": "1.32.0"},
        "calibration": {"rows": 256, "source": "training split", "seed": 7},
    } | changes


def test_a_row_has_every_figure_and_the_verdict() -> None:
    """The reason of a loss stands whole; that of no gain without what the bytes' column says."""
    (lost, none, published) = rows(
        [
            _record(),
            _record(reason="no gain: 1.4 × the bytes"),
            _record(published=True, reason="0.3 × the bytes"),
        ]
    )

    assert len(lost) == len(HEADER)
    assert lost[:8] == [
        "int8",
        "accuracy",
        "0.98",
        "0.971",
        "0.90 points",
        "2",
        "1.2e-02",
        "0.30 ×",
    ]
    assert lost[8].startswith("not published: accuracy falls by 0.9 points")
    assert none[8] == "not published: no gain"
    assert published[8] == "published"


def test_a_variant_that_was_not_built_has_its_reason_alone() -> None:
    """No figures, and as many columns."""
    record = {"kind": "fp16", "published": False, "reason": "cannot be built: no weights"}
    (row,) = rows([record])

    assert row == ["fp16", *["—"] * 7, "not published: cannot be built: no weights"]
    assert note([record]) == ""


def test_the_note_says_how_the_figures_were_measured() -> None:
    """Rows, runtime, limit and calibration; no clock and no machine."""
    text = note([_record()])

    assert "200 held-out rows in onnxruntime 1.32.0" in text
    assert "loses no more than 0.5 points" in text
    assert "256 rows of the training split (seed 7)" in text


@pytest.mark.parametrize(
    ("loss", "cure"),
    [
        (0.901, "--max-loss 0.91 allows it, --quantize auto"),
        (1234564.2, "--max-loss 1234564.2 allows it"),
        (None, "bytes): --quantize auto"),
    ],
)
def test_a_refusal_says_what_would_allow_it(loss: float | None, cure: str) -> None:
    """The loss rounded up; nothing allows answers that are not numbers."""
    record = _record()
    record["metric"]["loss"] = loss

    assert "not published: int8: accuracy falls" in refusal(record)
    assert "(0.98 to 0.971 on 200 rows; 0.30 × the bytes)" in refusal(record)
    assert cure in refusal(record)


def test_only_measured_variants_have_records() -> None:
    """A portable variant is judged otherwise."""
    assert records([{"file": "model.portable.onnx"}, {"quantized": {"kind": "int8"}}]) == [
        {"kind": "int8"}
    ]
