"""`zoo predict` on the command line: what it prints and what it refuses, without training."""

import json
from pathlib import Path

import pytest

import zoo
from tests.zoo.models.graphs import write_classifier, write_running_sum
from zoo.cli import main
from zoo.errors import UsageError


@pytest.fixture
def sides(tmp_path: Path) -> str:
    """A classifier's file."""
    return str(write_classifier(tmp_path / "sides.onnx"))


@pytest.mark.parametrize("text", ["-3,-1", "-3 -1", "[-3, -1]", "-.3,-.1"])
def test_numbers_may_start_with_a_minus_sign(
    sides: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No -- is needed before them."""
    assert main(["predict", sides, text]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith("right")


def test_several_rows_are_printed_one_a_line_and_as_json(
    sides: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.csv").write_text("l,r\n3,1\n1,3\n")
    assert main(["predict", sides, str(tmp_path / "rows.csv")]) == 0
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()[2:]] == [
        "left",
        "right",
    ]
    assert main(["predict", sides, "3,1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["label"] == "left"


def test_steps_of_a_sequence_are_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(write_running_sum(tmp_path / "sum.onnx")), "1,2,4"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert lines[0].split() == ["row", "total", "(metres)"]
    assert [line.split()[1] for line in lines[2:]] == ["1", "3", "7"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("1,2", "3,4"),
            "the model's inputs are x: give each once, in this order or by name, as one value like 1,2,3 (2 given)",
        ),
        (("1,2", "--show"), "--show: sides takes no image"),
        (("1,2", "--server", "127.0.0.1:1"), "no server answers at 127.0.0.1:1"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    sides: str, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", sides, *arguments]) in (1, 2)
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_repository_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """By every command that reads one."""
    for command in (["list"], ["show", "dense_iris"], ["predict", "dense_iris", "1,2,3,4"]):
        assert main([*command, "--repository", "/nope"]) == 2
        assert "there is no /nope" in capsys.readouterr().err
        assert main([*command, "--repository", __file__]) == 2
        assert f"{__file__} is no folder" in capsys.readouterr().err


def test_the_cure_for_a_model_that_is_not_there_can_be_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recipe can be exported; another name cannot."""
    with pytest.raises(UsageError, match="run `zoo export dense_iris --repository"):
        zoo.load("dense_iris", repository=tmp_path)
    with pytest.raises(UsageError, match=r"did you mean dense_iris.*\?$"):
        zoo.load("dense_iriss", repository=tmp_path)
    with pytest.raises(UsageError, match=r"`zoo list` names what can be exported$"):
        zoo.load("xyz", repository=tmp_path)
    with pytest.raises(UsageError, match=r"is neither a model's folder nor a FILE\.onnx"):
        zoo.load(Path(__file__))


def test_a_file_without_numbers_is_said_to_be_text(sides: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("hello")
    with pytest.raises(UsageError, match=r"x\.txt was read as text, and .*\.npy, \.json, \.csv"):
        zoo.load(sides).predict(str(path))


def test_a_package_of_an_extra_that_is_missing_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback, and no process that dies first."""
    monkeypatch.setattr("zoo.commands.find_spec", lambda name: None)
    assert main(["layers", "--only", "Dense"]) == 1
    error = capsys.readouterr().err

    assert "tensorflow is not installed" in error
    assert "pip install 'layer-zoo[train]'" in error


def test_a_picture_is_written_as_what_its_name_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", "dense_iris", "--svg", str(tmp_path / "x.png")]) == 2
    assert "give a name that ends in .svg" in capsys.readouterr().err
    assert not (tmp_path / "x.png").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "abc",
            "INPUT 'abc' was read as text, and holds no numbers: give numbers, JSON, or a file",
        ),
        ("[1,", "INPUT '[1,' is not JSON"),
        ("x" * 100, f"INPUT '{'x' * 40}…' was read as text, and holds no numbers"),
    ],
)
def test_what_is_no_input_is_repeated(
    sides: str, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", sides, text]) == 2
    assert said in capsys.readouterr().err
