"""`zoo train` with recipes of the user's: what is wrong with them is told before anything is trained."""

import sys
from pathlib import Path

ZOO = Path(sys.executable).with_name("zoo")

TWO_FAULTY = """
from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe

SETTINGS = dict(
    tutorial="Dense", dataset=IRIS, task="multiclass", input_name="x", output_name="y", parameters=15,
    baseline="majority", seed=1, epochs=1, batch_size=16, learning_rate=0.1, patience=1,
)


@recipe(**SETTINGS)
def first():
    '''Wrong in four ways.

    Reaches: accuracy >= 0.5 on 31 held-out flowers, in about 1 s on two cores.
    '''
    import keras

    return keras.Sequential([keras.Input((5,), name="x"), keras.layers.Dense(4)])


@recipe(**SETTINGS)
def second():
    '''Cannot be built.

    Reaches: accuracy >= 0.5 on 30 held-out flowers, in about 1 s on two cores.
    '''
    return 1 / 0
"""


def test_every_fault_of_every_recipe_is_told_and_nothing_is_trained(zoo, tmp_path: Path) -> None:
    """One line a recipe, with the built-in model beside them untouched."""
    (tmp_path / "mine.py").write_text(TWO_FAULTY)
    done = zoo("train", "dense_iris", "first", "second", "--module", "mine.py", cwd=tmp_path)
    first, second = done.stderr.strip().splitlines()

    assert done.returncode == 2
    for words in (
        "its input has the shape (None, 5)",
        "its output has the shape (None, 4)",
        "its trainable parameters are 24",
        "claims 31 held-out rows",
    ):
        assert words in first
    assert "second" in second
    assert "ZeroDivisionError" in second
    assert not list((tmp_path / "build/runs").glob("*/record.json"))
