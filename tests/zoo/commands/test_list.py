"""`zoo list --markdown` rewrites a table of figures, and loses none."""

from pathlib import Path

import pytest

from zoo import cli
from zoo.commands.list import BEGIN, END, FILE_HEADER


def test_a_model_whose_data_is_opt_in_keeps_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It cannot be exported here; the models that can be are named, and nothing is written."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    page = tmp_path / "README.md"
    cells = ["`cnn_mnist`", *["1"] * (len(FILE_HEADER) - 1)]
    text = f"{BEGIN}\n| {' | '.join(cells)} |\n{END}"
    page.write_text(text)
    arguments = ["list", "--repository", str(tmp_path / "models"), "--markdown", str(page)]

    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "dense_iris" in said
    assert "cnn_mnist" not in said
    assert page.read_text() == text
