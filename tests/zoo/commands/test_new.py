"""`zoo new` writes a recipe that can be trained, and overwrites nothing; completion is a script."""

import os
import subprocess
import sys
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


def test_completion_knows_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Bash reads the script without complaint."""
    assert cli.main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    assert all(name in script for name in cli.COMMANDS)
    assert "--metrics" in script
    done = subprocess.run(["bash", "-n"], input=script, text=True, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("zoo show dense_i", {"dense_iris"}),
        ("zoo predict dense_", {"dense_iris", "dense_cancer", "dense_diabetes", "dense_notes.txt"}),
        ("zoo pre", {"predict"}),
    ],
)
def test_bash_completes_names_of_models(
    line: str, offered: set[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where a command takes a file too, files are offered beside them."""
    cli.main(["completion", "bash"])
    script = capsys.readouterr().out
    (tmp_path / "dense_notes.txt").write_text("")
    words = line.split()
    lines = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_zoo\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash"],
        input=lines,
        text=True,
        check=False,
        capture_output=True,
        cwd=tmp_path,
        env=environment,
    )

    assert set(done.stdout.split()) == offered, done.stderr


def test_help_of_a_command_is_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """`zoo help show` and `zoo show --help` are one."""
    with pytest.raises(SystemExit) as caught:
        cli.main(["help", "show"])

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("usage: zoo show")
