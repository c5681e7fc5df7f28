"""zoo new: a recipe file to start from, with its test."""

from __future__ import annotations

import argparse
import keyword
from pathlib import Path

from zoo.errors import UsageError

SUMMARY = "write NAME.py, a recipe to start from, and test_NAME.py"
EXAMPLE = "zoo new my_flowers\n  zoo run my_flowers --module my_flowers.py"

RECIPE = '''"""{name}: a model of one's own, to be changed step by step.

    zoo train {name} --module {name}.py      train, and check the claim below
    zoo run {name} --module {name}.py        train, export and ask it
"""

from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe


@recipe(
    tutorial="Dense(8, relu) → Dense(3, softmax)",  # what the model shows
    dataset=IRIS,
    task="multiclass",  # or binary, regression, forecast
    input_name="measurements",
    output_name="probabilities",
    parameters=67,  # trained ones; counted again before anything is trained
    baseline="majority",  # the naive answer that the model has to beat
    seed=3,
    epochs=200,
    batch_size=16,
    learning_rate=0.01,
    patience=30,  # epochs without a better validation loss
)
def {name}():
    """Tell three kinds of iris apart by four measurements in centimetres.

    Reaches: accuracy >= 0.8 on 30 held-out flowers, in about 10 s on two cores.
    """
    import keras

    return keras.Sequential(
        [
            keras.Input((4,), name="measurements"),
            keras.layers.Normalization(),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
'''

TEST = '''"""{name} is what its recipe says: python -m pytest test_{name}.py"""

from pathlib import Path

from zoo.recipes.registry import Registry
from zoo.training.check import check_recipe


def test_the_model_fits_its_data_and_claim():
    """Built, counted and compared with its data; nothing is trained."""
    known = Registry.default()
    known.add_file(Path(__file__).with_name("{name}.py"))

    check_recipe(known.get("{name}"))
'''


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("name", metavar="NAME", help="the model's name: small letters, digits, _")


def run(options: argparse.Namespace) -> int:
    """Write both files, neither over one that is there."""
    from zoo.files import atomic_write
    from zoo.recipes.registry import Registry

    name = options.name
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise UsageError(f"{name!r} is no name for a model: small letters, digits and _ make one")
    if name in Registry.default().owners:
        raise UsageError(f"a model is called {name!r} already: choose another name")
    files = {Path(f"{name}.py"): RECIPE, Path(f"test_{name}.py"): TEST}
    for path in files:
        if path.exists():
            raise UsageError(
                f"{path} is there already, and stays as it is: choose another name, or move it away"
            )
    for path, text in files.items():
        atomic_write(path, text.format(name=name).encode())
    print(f"written: {', '.join(map(str, files))}")
    print(f"next: zoo run {name} --module {name}.py")
    return 0
