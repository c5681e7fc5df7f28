"""--module FILE.py: recipes and layers of one's own are known to the commands that ask, serve and compare."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ZOO, listening
from zoo.cli import main
from zoo.commands.layers import matching
from zoo.errors import UsageError

LAYERS = '''\
"""A layer of one's own, as a case."""

from zoo.atlas.case import case


def doubled(keras, x):
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    return Doubled()(x)


CASES = [case("Doubled", doubled, (3,))]
'''


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The file of a recipe in the current folder, as `zoo new` writes it."""
    monkeypatch.chdir(tmp_path)
    assert main(["new", "my_flowers"]) == 0
    return "my_flowers.py"


@pytest.mark.parametrize("command", [("predict", "1,2,3,4"), ("bench",)])
def test_a_recipe_that_is_not_exported_is_no_unknown_model(
    command: tuple[str, ...], recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *more = command
    assert main([name, "my_flowers", *more, "--module", recipe]) == 2
    said = capsys.readouterr().err
    assert (
        "my_flowers is not exported yet: run `zoo export my_flowers --module my_flowers.py`" in said
    )
    assert main([name, "dense_iris", *more]) == 2
    assert "dense_iris is not exported yet: run `zoo export dense_iris`" in capsys.readouterr().err
    assert main([name, "my_flowers", *more]) == 2
    assert "no model 'my_flowers'" in capsys.readouterr().err


def test_cases_of_a_file_are_measured_in_place_of_the_atlas(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(LAYERS)
    assert [case.name for case in matching("", [own])] == ["Doubled"]
    with pytest.raises(UsageError, match="no case matches 'LSTM': cases are named Doubled"):
        matching("LSTM", [own])
    own.write_text("CASES = ['Doubled']")
    with pytest.raises(UsageError, match=r"own\.py defines no CASES"):
        matching("", [own])


@pytest.mark.slow
def test_a_layer_of_one_s_own_is_compared_with_keras(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(LAYERS)
    done = subprocess.run(
        [ZOO, "layers", "--module", "own.py", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads(done.stdout)
    assert (outcome["name"], outcome["status"]) == ("Doubled", "ok")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_serve_publishes_the_recipes_of_a_file_first(recipe: str, tmp_path: Path) -> None:
    """The server's own process imports no framework for it."""
    repository = tmp_path / "models"
    repository.mkdir()
    for _ in range(2):  # the second time there is nothing to publish
        with listening(repository, "--module", recipe) as addresses:
            done = subprocess.run(
                [ZOO, "predict", "my_flowers", "5.1,3.5,1.4,0.2", "--server", addresses["gRPC"]],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert "setosa" in done.stdout, done.stderr
    assert [path.name for path in (repository / "my_flowers").glob("[0-9]*")] == ["1"]


def test_a_server_that_is_not_there_is_named_plainly(capsys: pytest.CaptureFixture[str]) -> None:
    """Without what Python wraps around the system's words."""
    assert main(["ps", "--metrics", "127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert "no metrics at http://127.0.0.1:1/metrics: Connection refused" in said
    assert "<" not in said
