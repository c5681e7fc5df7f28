"""Trainings whole, interrupted, contradictory and short of disk (test_train.py)."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from zoo.datasets.dataset import Rows, Splits
from zoo.datasets.tables import DIABETES, IRIS
from zoo.errors import CheckFailed, ZooError
from zoo.recipes.claim import Claim
from zoo.recipes.dense import dense_cancer, dense_diabetes, dense_iris
from zoo.recipes.recipe import Recipe
from zoo.training.record import TrainingRecord
from zoo.training.runs import RunFolder
from zoo.training.train import train

EPOCHS = 4


def _claim(text: str) -> Claim:
    return Claim.parse(f"Reaches: {text}, in about 60 s on two cores.")


def _flowers(**changes: Any) -> Recipe:
    """A short iris training that is sure to hold its modest claim."""
    modest = _claim("accuracy >= 0.4 on 30 held-out flowers")
    return replace(dense_iris, **{"epochs": EPOCHS, "claim": modest, **changes})


def _dropout() -> Any:
    """A model with state of its own: dropout's seed."""
    import keras

    return keras.Sequential(
        [
            keras.Input((4,), name="measurements"),
            keras.layers.Normalization(),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


#: Asks for a backup each epoch.
PATIENT = _flowers(name="patient", builder=_dropout, backup=True)


def _shuffled_answers(files: tuple[Path, ...]) -> Splits:
    splits = IRIS.read(files)
    answers = np.random.default_rng(1).permutation(splits.test.y)
    return replace(splits, test=Rows(x=splits.test.x, y=answers))


def _huge(files: tuple[Path, ...]) -> Splits:
    splits = DIABETES.read(files)
    parts = {
        name: Rows(x=np.full_like(rows.x, 1e38), y=rows.y)
        for name, rows in (
            ("train", splits.train),
            ("validation", splits.validation),
            ("test", splits.test),
        )
    }
    return Splits(**parts)


def _unscaled() -> Any:
    import keras

    return keras.Sequential([keras.Input((10,), name="measurements"), keras.layers.Dense(1)])


def _shapeless() -> Any:
    import keras

    return keras.Sequential([keras.layers.Dense(3)])


def _weights(record: Any) -> str:
    return str(record.weights_sha256)


def _error(call: Callable[[], object]) -> dict[str, Any]:
    """Return the class, words and exit status of the error that a call ends with."""
    try:
        call()
    except ZooError as error:
        return {
            "type": type(error).__name__,
            "text": str(error),
            "status": error.exit_status,
        }
    return {"type": "", "text": "no error", "status": 0}


def _listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith(".lock-"))


def same_bytes(folder: Path) -> dict[str, Any]:
    """The same recipe twice, another one in between; and with permuted test labels."""
    recipe = _flowers()
    first = train(recipe, folder / "first")
    train(
        replace(dense_cancer, epochs=1, claim=_claim("accuracy >= 0 on 113 held-out rows")), folder
    )
    second = train(recipe, folder / "second")
    # Against permuted labels nothing is better than naive, so the run is kept as failed.
    with suppress(CheckFailed):
        train(_flowers(dataset=replace(IRIS, read=_shuffled_answers)), folder / "leak")
    text = (folder / "leak/dense_iris.failed/record.json").read_text(encoding="utf-8")
    leaky = TrainingRecord.from_json(text)
    return {
        "first": _weights(first),
        "second": _weights(second),
        "leak": _weights(leaky),
        "metric": first.metric["value"],
        "leak_metric": leaky.metric["value"],
        "files": _listing(folder / "first" / "dense_iris"),
        "h5": (folder / "first/dense_iris/best.weights.h5").read_bytes()
        == (folder / "second/dense_iris/best.weights.h5").read_bytes(),
    }


def like_keras(folder: Path) -> dict[str, Any]:
    """Two epochs by hand through Keras's train_on_batch, the smaller last batch included."""
    from zoo.training.framework import import_keras, seed_everything
    from zoo.training.loop import SHUFFLE_STREAM, fit, prepare

    recipe = _flowers(epochs=2, batch_size=64)
    splits = recipe.dataset.load()

    def fresh() -> Any:
        seed_everything(recipe.seed)
        model = recipe.build()
        prepare(recipe, model, splits.train)
        return model

    ours, keras_own = fresh(), fresh()
    history = fit(recipe, ours, splits)
    adam = import_keras().keras.optimizers.Adam(recipe.learning_rate)
    keras_own.compile(adam, recipe.loss)
    sizes = []
    for epoch in range(2):
        rng = np.random.default_rng([recipe.seed, SHUFFLE_STREAM, epoch])
        order = rng.permutation(len(splits.train))
        for rows in (order[:64], order[64:]):
            sizes.append(len(rows))
            keras_own.train_on_batch(splits.train.x[rows], splits.train.y[rows])
    val_loss = float(keras_own.test_on_batch(splits.validation.x, splits.validation.y))
    pairs = zip(ours.get_weights(), keras_own.get_weights(), strict=True)
    return {
        "sizes": sizes,
        "best_epoch": history.best_epoch,
        "difference": max(float(np.abs(one - other).max()) for one, other in pairs),
        "val_loss": history.val_loss[-1],
        "keras_val_loss": val_loss,
    }


def interrupted(folder: Path) -> dict[str, Any]:
    """Trainings that end in the middle, and the ones after them."""

    def stop(epoch: int, *_: object) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    whole = train(_flowers(), folder / "whole")
    with suppress(KeyboardInterrupt):
        train(_flowers(), folder / "cut", progress=stop)
    left = _listing(folder / "cut")
    again = train(_flowers(), folder / "cut")

    patient = train(PATIENT, folder / "patient")
    killed_left = _listing(folder / "killed")
    epochs: list[int] = []
    resumed = train(PATIENT, folder / "killed", progress=lambda epoch, *_: epochs.append(epoch))
    return {
        "whole": _weights(whole),
        "left": left,
        "again": _weights(again),
        "after": _listing(folder / "cut"),
        "patient": _weights(patient),
        "killed_left": killed_left,
        "resumed": _weights(resumed),
        "resumed_epochs": epochs,
        "resumed_files": _listing(folder / "killed" / "patient"),
    }


def refused(folder: Path) -> dict[str, Any]:
    """Recipes that contradict what they build or claim."""
    wrong = {
        "parameters": _flowers(parameters=68),
        "input_name": _flowers(input_name="petals"),
        "input_shape": _flowers(builder=_unscaled),
        "output_shape": replace(dense_diabetes, dataset=IRIS),
        "rows": _flowers(claim=_claim("accuracy >= 0.4 on 31 held-out flowers")),
        "shapeless": _flowers(builder=_shapeless),
        "build": _flowers(builder=lambda: 1 / 0),
        "nan": replace(
            dense_diabetes,
            dataset=replace(DIABETES, read=_huge),
            builder=_unscaled,
            search={},
            parameters=11,
        ),
    }
    results: dict[str, Any] = {}
    for name, recipe in wrong.items():
        results[name] = _error(partial(train, recipe, folder / name))
    results["listing"] = _listing(folder / "nan")
    return results


def claim_missed(folder: Path) -> dict[str, Any]:
    """A good run, then one of the same name that claims too much, then a too naive one."""
    good = train(_flowers(), folder)
    greedy = _flowers(epochs=2, claim=_claim("accuracy >= 1.0 on 30 held-out flowers"))
    # Same name and files: the key says it is current, so make the code seem older.
    error = _error(lambda: train(_renamed_key(greedy), folder))
    kept = RunFolder(folder, good.name).record
    results = {
        "error": error,
        "listing": _listing(folder),
        "kept": kept is not None and kept.weights_sha256 == good.weights_sha256,
        "log": (folder / "dense_iris.failed/train.log").read_text(encoding="utf-8"),
    }
    train(_renamed_key(_flowers()), folder)
    return results | {"mended": _listing(folder)}


def _renamed_key(recipe: Recipe) -> Recipe:
    """The same recipe as if written in another file, so that a finished run is not up to date."""
    return replace(recipe, file=Path(__file__))


def full_disk(folder: Path) -> dict[str, Any]:
    """Files may not grow beyond a limit: in the log, and in the weights."""
    good = train(_flowers(), folder)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    errors = []
    for limit in (100, 10_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        errors.append(_error(lambda: train(_renamed_key(_flowers()), folder)))
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = RunFolder(folder, good.name).record
    again = train(_renamed_key(_flowers()), folder)
    return {
        "errors": errors,
        "kept": kept is not None and kept.weights_sha256 == good.weights_sha256,
        "again": _weights(again) == _weights(good),
        "listing": _listing(folder),
    }


def killed(folder: Path) -> None:
    """Train with backup and die in the third epoch, as kill -9 would have it."""

    def die(epoch: int, *_: object) -> None:
        if epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)

    train(PATIENT, folder / "killed", progress=die)


def _in(name: str, work: Callable[[Path], Any], folder: Path) -> Any:
    return work(folder / name)


#: Each has a folder of its own, but for the one that goes on where the killed one ended.
CASES: dict[str, Callable[[Path], Any]] = {
    work.__name__: partial(_in, work.__name__, work)
    for work in (
        same_bytes,
        like_keras,
        interrupted,
        refused,
        claim_missed,
        full_disk,
    )
} | {"killed": partial(_in, "interrupted", killed)}
