"""`zoo new` writes a recipe that can be trained, and overwrites nothing."""

from pathlib import Path

import pytest

from zoo import cli
from zoo.recipes.registry import Registry


def test_the_recipe_is_registered_and_its_test_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they say is checked by the test that is written; it needs Keras for seconds."""
    monkeypatch.chdir(tmp_path)

    assert cli.main(["new", "my_flowers"]) == 0
    known = Registry.default()
    assert known.add_file(tmp_path / "my_flowers.py") == ("my_flowers",)
    assert known.get("my_flowers").parameters == 67
    compile((tmp_path / "test_my_flowers.py").read_text(), "test", "exec")


@pytest.mark.parametrize("name", ["dense_iris", "No", "a-b", "class", "here"])
def test_a_name_that_cannot_be_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and nothing is written or lost."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "test_here.py").write_text("mine")

    assert cli.main(["new", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["test_here.py"]
    assert (tmp_path / "test_here.py").read_text() == "mine"


def test_help_of_a_command_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`zoo help show` and `zoo show --help` are one."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["help", "show"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: zoo show")
