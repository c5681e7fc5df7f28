"""The registry: a dict with manners."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import zoo.recipes
from zoo.errors import RecipeError, UsageError
from zoo.recipes.registry import GROUP, Registry, recipes_of

RECIPE = '''
from zoo.datasets.tables import IRIS
from zoo.recipes.dense import dense_cancer  # someone else's: not defined here
from zoo.recipes.recipe import recipe


@recipe(
    tutorial="Dense", dataset=IRIS, task="multiclass", input_name="x", output_name="y",
    parameters=15, baseline="majority", seed=1, epochs=1, batch_size=16, learning_rate=0.1,
    patience=1,
)
def {name}():
    """A model of one's own.

    Reaches: accuracy >= 0.5 on 30 held-out flowers, in about 1 s on two cores.
    """
    import keras

    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3)])
'''

MODELS = (
    "dense_iris",
    "dense_cancer",
    "dense_diabetes",
    "cnn_digits",
    "cnn_digits10",
    "cnn_valid",
    "cnn_mnist",
    "cnn_rgb",
    "cnn_digits_bn",
    "cnn_digit_pair",
    "lstm_sunspots",
    "lstm_sunspots_step",
    "lstm_sunspots_sequence",
    "lstm_sunspots_any_length",
    "gru_sunspots",
    "bilstm_sunspots",
)


def _file(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_models_are_there_in_the_tutorials_order() -> None:
    """Dense, then convolution, then LSTM; twice the same."""
    assert Registry.default(installed=()).names() == MODELS
    assert Registry.default(installed=()).names() == MODELS


def test_every_family_file_is_listed() -> None:
    """A file added to zoo/recipes must be named in FAMILIES, or its models would be missing."""
    folder = Path(zoo.recipes.__file__).parent
    files = {
        path.stem
        for path in folder.glob("*.py")
        if recipes_of(import_module(f"zoo.recipes.{path.stem}"))
    }

    assert files == set(zoo.recipes.FAMILIES)


@pytest.mark.parametrize("name", MODELS)
def test_every_recipe_is_called_what_it_is_registered_as(name: str) -> None:
    """Name, source and a first sentence: what `zoo list` shows."""
    recipe = Registry.default(installed=()).get(name)

    assert recipe.name == name
    assert recipe.source.startswith("zoo/recipes/")
    assert recipe.summary.endswith(".")


def test_an_unknown_name_gets_near_matches() -> None:
    """The cure is in the message."""
    with pytest.raises(
        UsageError, match=r"no model is called 'cnn_digit': did you mean cnn_digits"
    ):
        Registry.default(installed=()).get("cnn_digit")
    with pytest.raises(UsageError, match="no model is called 'xyz'"):
        Registry.default(installed=()).get("xyz")


def test_a_file_adds_what_it_defines_itself(tmp_path: Path) -> None:
    """Recipes that the file only imports stay their owners'."""
    registry = Registry.default(installed=())

    assert registry.add_file(_file(tmp_path, RECIPE.format(name="mine"))) == ("mine",)
    assert registry.names() == (*MODELS, "mine")
    assert registry.get("mine").file == tmp_path / "mine.py"


def test_the_same_name_twice_names_both_owners(tmp_path: Path) -> None:
    """Neither is silently preferred."""
    registry = Registry.default(installed=())
    path = _file(tmp_path, RECIPE.format(name="dense_iris"))

    with pytest.raises(UsageError, match="two recipes are called 'dense_iris'") as caught:
        registry.add_file(path)

    assert "dense.py:" in str(caught.value)
    assert f"{path}:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def f(:\n", "mine.py:1: invalid syntax"),
        ("import math\n\n1 / 0\n", "mine.py:3: ZeroDivisionError"),
        ("import nothing_of_this_name\n", "mine.py:1: ModuleNotFoundError"),
        ("raise SystemExit('bye')\n", "mine.py:1: SystemExit: bye"),
        ("x = 1\n", "mine.py defines no recipe"),
        (RECIPE.format(name="mine").replace("epochs=1", "epochs=0"), "recipe mine"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_with_its_line(
    tmp_path: Path, text: str, words: str
) -> None:
    """One line for people, whatever went wrong in the file."""
    with pytest.raises(UsageError) as caught:
        Registry().add_file(_file(tmp_path, text))

    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_relative_path_gets_its_line_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line is found however the file was named."""
    _file(tmp_path, "\n1 / 0\n")
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=r"^mine.py:2: ZeroDivisionError"):
        Registry().add_file(Path("mine.py"))


def test_a_file_that_is_not_there_or_not_python_is_named(tmp_path: Path) -> None:
    """A wrong path is the caller's mistake."""
    with pytest.raises(UsageError, match=r"absent.py: there is no such file"):
        Registry().add_file(tmp_path / "absent.py")
    with pytest.raises(UsageError, match=r"its name must end in .py"):
        Registry().add_file(_file(tmp_path, "", "mine.txt"))


def _entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=GROUP)


def test_entry_points_are_listed_without_importing_them() -> None:
    """A package that cannot be imported does no harm until its model is asked for."""
    registry = Registry.default(installed=[_entry("theirs", "no_such_package:theirs")])

    assert registry.names() == (*MODELS, "theirs")
    with pytest.raises(UsageError, match="no_such_package:theirs: ModuleNotFoundError"):
        registry.get("theirs")


def test_an_entry_point_gives_its_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package's recipe is like any other."""
    _file(tmp_path, RECIPE.format(name="theirs"), "their_package.py")
    monkeypatch.syspath_prepend(tmp_path)
    installed = [
        _entry("theirs", "their_package:theirs"),
        _entry("other", "their_package:theirs"),
        _entry("function", "their_package:recipe"),
    ]
    registry = Registry.default(installed=installed)

    assert registry.names() == (*MODELS, "function", "other", "theirs")
    assert registry.get("theirs").name == "theirs"
    with pytest.raises(RecipeError, match="not a recipe called 'other'"):
        registry.get("other")
    with pytest.raises(RecipeError, match="not a recipe called 'function'"):
        registry.get("function")


def test_an_entry_point_may_not_take_a_built_in_name() -> None:
    """Both owners are named."""
    with pytest.raises(UsageError, match=r"dense_iris.*dense.py:.* and .*x:dense_iris"):
        Registry.default(installed=[_entry("dense_iris", "x:dense_iris")])


def test_listing_and_keys_import_no_framework() -> None:
    """A no-op run lists, hashes and decides without TensorFlow, Keras or the data's packages."""
    code = (
        "import sys\n"
        "from zoo.recipes.registry import Registry\n"
        "from zoo.training.runs import key\n"
        "known = Registry.default()\n"
        "recipes = [known.get(name) for name in known.names()]\n"
        "for recipe in recipes: recipe.dataset.home or key(recipe)\n"
        "print({'tensorflow', 'keras', 'sklearn', 'statsmodels', 'PIL', 'onnx'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240
    )

    assert done.stdout == "set()\n"
