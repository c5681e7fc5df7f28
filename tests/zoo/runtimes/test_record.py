"""Cells, records and pages of runtimes: what is said of what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest

from zoo.errors import UsageError
from zoo.parity.compare import Arrays, Case, Refusal, compare_answers
from zoo.runtimes.page import files_table, model_page, page, terminal
from zoo.runtimes.record import Cell, CompatibilityRecord, FileCells, cell, faults
from zoo.runtimes.results import read_record, save_record

DATE = "2026-01-02"


def _case(batch: int) -> Case:
    rows = np.ones((batch, 2), np.float32)
    return Case(name=f"batch {batch}", feeds={"x": rows}, expected={"y": rows})


CASES = (_case(1), _case(7))
RIGHT = [case.expected for case in CASES]


def _cell(*answers: Arrays | Refusal) -> Cell:
    rows = compare_answers("fake", CASES, answers)
    return cell(rows, CASES, version="1.0", date=DATE)


def _measured(file: str = "model.onnx", sha256: str = "aa", **cells: Cell) -> FileCells:
    return FileCells(model="m", file=file, sha256=sha256, cells=cells)


def _record(*files: FileCells) -> CompatibilityRecord:
    return CompatibilityRecord(files=files, notes={"fake": "as it is", "other": "otherwise"})


def test_right_answers_are_ok_with_the_largest_difference() -> None:
    """Two cases, the larger of their differences."""
    cell = _cell(RIGHT[0], {"y": RIGHT[1]["y"] + np.float32(2e-6)})

    assert (cell.status, cell.reason) == ("ok", "")
    assert cell.max_abs == pytest.approx(2e-6, rel=0.1)


def test_a_wrong_answer_is_a_measured_difference() -> None:
    """The difference is kept, and the reason says where and how much."""
    cell = _cell({"y": RIGHT[0]["y"] + np.float32(0.25)}, {"y": RIGHT[1]["y"] + np.float32(0.5)})

    assert cell.status == "differs"
    assert cell.max_abs == 0.5
    assert cell.reason == "at [0, 0]: 1.25 where Keras gives 1.0"


def test_a_difference_without_bound_survives_json() -> None:
    """NaN where Keras gives a number is a wrong answer whose size JSON cannot say."""
    cell = _cell({"y": RIGHT[0]["y"] * np.float32(np.nan)}, RIGHT[1])

    assert (cell.status, cell.max_abs) == ("differs", 0.0)
    assert "nan where Keras gives 1.0" in cell.reason
    assert "NaN" not in json.dumps(_record(_measured(fake=cell)).to_json())


def test_another_shape_is_a_wrong_answer() -> None:
    """As OpenCV 4 gives for some graphs."""
    cell = _cell({"y": RIGHT[0]["y"][None]}, RIGHT[1])

    assert cell.status == "differs"
    assert "float32[1, 1, 2] where Keras gives float32[1, 2]" in cell.reason


def test_a_refusal_keeps_the_runtimes_words() -> None:
    """Without a figure, since nothing was answered."""
    cell = _cell(Refusal("no LSTM"), Refusal("no LSTM"))

    assert cell == Cell(version="1.0", status="refused", date=DATE, reason="no LSTM")


def test_a_batch_that_a_runtime_cannot_do_is_named() -> None:
    """A fixed batch is another thing than a missing operator."""
    cell = _cell(RIGHT[0], Refusal("srcTotal == dstTotal"))

    assert cell.reason == "batch 7: srcTotal == dstTotal (batch 1 is right)"
    assert cell.status == "refused"


def test_nothing_compared_is_not_ok() -> None:
    """A file without cases has no verdict to be proud of."""
    assert cell([], [], version="1", date=DATE).status == "refused"


def test_a_later_run_replaces_what_it_measured() -> None:
    """Cells of the same bytes stay until they are measured again; other bytes start afresh."""
    old, new = _cell(*RIGHT), _cell(Refusal("no"), Refusal("no"))
    before = _record(
        _measured(fake=old, other=old), _measured("model.portable.onnx", "bb", fake=old)
    )

    same = before.merged(_record(_measured(fake=new)))
    changed = before.merged(_record(_measured(sha256="cc", fake=new)))

    assert same.files[0].cells == {"fake": new, "other": old}
    assert changed.files[0].cells == {"fake": new}
    assert [item.file for item in changed.files] == ["model.onnx", "model.portable.onnx"]


def test_a_record_survives_json() -> None:
    """Written and read back, it is the same."""
    record = _record(_measured(fake=_cell(*RIGHT)))

    assert CompatibilityRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "files": [{}], "runtimes": {}}'])
def test_a_broken_record_is_named(tmp_path: Path, text: str) -> None:
    """`zoo verify` says which file to remove."""
    (tmp_path / "compat.json").write_text(text)

    with pytest.raises(UsageError, match=r"compat\.json is not a record of runtimes"):
        read_record(tmp_path)


def test_a_repository_that_cannot_be_written_is_said_aloud(tmp_path: Path) -> None:
    """What was measured is kept all the same."""
    said: list[str] = []
    save_record(
        _record(_measured(fake=_cell(*RIGHT))), tmp_path, tmp_path / "absent", say=said.append
    )

    assert read_record(tmp_path).files[0].cells["fake"].status == "ok"
    assert len(said) == 1
    assert "RUNTIMES.md is not written" in said[0]


def test_wrong_answers_and_a_refusal_by_the_runtime_that_decides_are_faults() -> None:
    """A foreign runtime's refusal is its own limit; a wrong answer never is."""
    refused = _cell(Refusal("no"), Refusal("no"))
    wrong = _cell({"y": RIGHT[0]["y"] * 2}, RIGHT[1])
    files = _measured(fake=refused, onnxruntime=refused, other=wrong)

    assert [line.split(":")[1].strip() for line in faults(_record(files))] == [
        "onnxruntime 1.0",
        "other 1.0",
    ]


def test_tables_show_every_cell_and_number_the_reasons() -> None:
    """One note for a reason that occurs twice, and the form that is right where one is."""
    ok, no = _cell(*RIGHT), _cell(Refusal("no | LSTM"), Refusal("no | LSTM"))
    record = _record(
        _measured(fake=no, other=ok), _measured("model.portable.onnx", "bb", fake=ok, other=no)
    )

    assert terminal(record).splitlines()[2:] == [
        "m      model.onnx           ✗ [1]     ok 0e+00",
        "m      model.portable.onnx  ok 0e+00  ✗ [1]",
        "  [1] no / LSTM",
    ]
    wrong = _cell({"y": RIGHT[0]["y"] + 1}, RIGHT[1])
    assert "✗ Δ 1e+00 [1]" in terminal(_record(_measured(fake=wrong)))
    text = page(record)
    assert "| `m` | ok: `model.portable.onnx` | ok |" in text
    assert "2 of 2 pairs" in text
    assert "| fake | 1.0 | 2026-01-02 | as it is |" in text
    assert "| fake 1.0 | ✗ [1] | ok 0e+00 |" in files_table(record.files)
    assert "1. no / LSTM" in model_page(record, "m")


def test_a_narrow_terminal_gets_the_table_in_blocks() -> None:
    """Each with the files first, and the notes once, at the end."""
    ok, no = _cell(*RIGHT), _cell(Refusal("no"), Refusal("no"))
    record = _record(_measured(fake=no, other=ok))

    lines = terminal(record, width=26).splitlines()

    assert [line for line in lines if line.startswith("m ")] == [
        "m      model.onnx  ✗ [1]",
        "m      model.onnx  ok 0e+00",
    ]
    assert terminal(record, width=80) == terminal(record)
    assert max(map(len, lines)) <= 27
    assert lines[-1] == "  [1] no"


def test_a_runtime_that_was_not_measured_has_an_empty_cell() -> None:
    """Never ok, and no column at all if it has no cell anywhere."""
    record = _record(_measured(fake=_cell(*RIGHT)), _measured("model.portable.onnx", "bb"))

    assert record.runtimes == ("fake",)
    assert "| `m` | `model.portable.onnx` |  |" in page(record)
