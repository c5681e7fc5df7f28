"""Training: the same bytes from the same seed, whole runs or none, and clear words when it fails.

The trainings need TensorFlow and run once, in two processes (training_cases.py).
"""

from __future__ import annotations

import fcntl
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.zoo.keras_process import Outcomes
from zoo.recipes.dense import dense_iris
from zoo.training.runs import RunFolder, key
from zoo.training.train import train

CASES = "tests.zoo.training.training_cases"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trainings are."""
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def trainings(cases: Callable[..., Outcomes], folder: Path) -> Outcomes:
    """How they went: one is killed first, so that another can go on with it."""
    assert cases(CASES, folder, "killed").status == -9
    return cases(CASES, folder, *WHOLE)


#: All but the one that ends its process.
WHOLE = (
    "same_bytes",
    "like_keras",
    "interrupted",
    "refused",
    "claim_missed",
    "full_disk",
)


def test_training_prints_nothing_of_its_own(trainings: Outcomes) -> None:
    """Nor does TensorFlow: what is on the error output is an error."""
    assert (trainings.log, trainings.status) == ("", 0)


def test_two_runs_give_the_same_bytes(trainings: Outcomes) -> None:
    """Whatever else was trained in the process before."""
    outcome = trainings["same_bytes"]

    assert outcome["first"] == outcome["second"]
    assert outcome["h5"]


def test_a_finished_run_is_complete(trainings: Outcomes) -> None:
    """The files that export, cards and people read."""
    assert trainings["same_bytes"]["files"] == [
        "best.weights.h5",
        "held_out.npz",
        "history.json",
        "record.json",
        "train.log",
    ]


def test_permuted_test_labels_leave_the_weights_unchanged(trainings: Outcomes) -> None:
    """No look at the test split reaches the weights; only the reported metric changes."""
    outcome = trainings["same_bytes"]

    assert outcome["leak"] == outcome["first"]
    assert outcome["leak_metric"] < outcome["metric"]


def test_our_epoch_is_keras_own_training(trainings: Outcomes) -> None:
    """The compiled epoch does what train_on_batch does, with the smaller last batch."""
    outcome = trainings["like_keras"]

    assert outcome["sizes"] == [64, 26, 64, 26]
    assert outcome["best_epoch"] == 2
    assert outcome["difference"] < 1e-5
    assert outcome["val_loss"] == pytest.approx(outcome["keras_val_loss"], rel=1e-5)


def test_an_interrupted_training_starts_again_and_ends_the_same(trainings: Outcomes) -> None:
    """What it left does not look finished, and is gone afterwards."""
    outcome = trainings["interrupted"]

    assert outcome["left"] == [".tmp-dense_iris"]
    assert outcome["again"] == outcome["whole"]
    assert outcome["after"] == ["dense_iris"]


def test_a_killed_training_with_backup_goes_on_and_ends_the_same(trainings: Outcomes) -> None:
    """kill -9 in the third epoch; the next run does what was missing, dropout's seeds included."""
    outcome = trainings["interrupted"]

    assert outcome["killed_left"] == [".tmp-patient"]
    assert outcome["resumed_epochs"] == [4]
    assert outcome["resumed"] == outcome["patient"]
    assert "state.npz" not in outcome["resumed_files"]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("parameters", "its trainable parameters are 67, but recipe and data say 68"),
        (
            "input_name",
            "its inputs are called ['measurements'], but recipe and data say ['petals']",
        ),
        ("input_shape", "its input has the shape (None, 10), but recipe and data say (None, 4)"),
        ("output_shape", "its input has the shape (None, 10)"),
        ("rows", "claims 31 held-out rows, but the test split has 30"),
        ("shapeless", "returns a model without shapes: begin it with keras.Input"),
        ("build", "cannot be built: ZeroDivisionError: division by zero"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_named(
    trainings: Outcomes, case: str, words: str
) -> None:
    """The recipe's author learns what differs from what."""
    error = trainings["refused"][case]

    assert words in error["text"]
    assert "recipe dense_" in error["text"]
    assert error["status"] == 2


def test_a_loss_that_is_no_number_ends_the_training(trainings: Outcomes) -> None:
    """In the epoch where it happens, and nothing looks finished."""
    error = trainings["refused"]["nan"]

    assert "recipe dense_diabetes" in error["text"]
    assert "epoch 1: lower learning_rate=" in error["text"]
    assert error["status"] == 1
    assert trainings["refused"]["listing"] == [".tmp-dense_diabetes"]


def test_a_missed_claim_fails_and_keeps_the_last_good_run(trainings: Outcomes) -> None:
    """The failed run stands beside, for inspection, until a good one ends."""
    outcome = trainings["claim_missed"]

    assert outcome["error"]["type"] == "CheckFailed"
    assert "but claimed: Reaches: accuracy >= 1.0" in outcome["error"]["text"]
    assert outcome["listing"] == ["dense_iris", "dense_iris.failed"]
    assert outcome["kept"]
    assert "failed: measured accuracy" in outcome["log"]
    assert outcome["mended"] == ["dense_iris"]


def test_a_full_disk_is_said_and_harms_nothing(trainings: Outcomes) -> None:
    """In the log or in the weights; the next run, with room again, is right."""
    outcome = trainings["full_disk"]

    for error in outcome["errors"]:
        assert error["type"] == "StorageError"
        assert "recipe dense_iris" in error["text"]
        assert "File too large" in error["text"]
    assert outcome["kept"]
    assert outcome["again"]
    assert outcome["listing"] == ["dense_iris"]


@pytest.fixture
def finished(folder: Path, trainings: Outcomes, tmp_path: Path) -> RunFolder:
    """A finished run of a recipe whose key is `key(dense_iris)`, to spoil."""
    assert trainings["same_bytes"]
    shutil.copytree(folder / "same_bytes" / "first", tmp_path / "runs")
    return RunFolder(tmp_path / "runs", "dense_iris")


def test_an_intact_run_is_current_and_a_spoilt_one_is_not(finished: RunFolder) -> None:
    """Weights that are not what was written, or no record, mean to train again."""
    assert finished.is_current(dense_iris)
    assert finished.record is not None
    assert finished.record.key == key(dense_iris)
    assert finished.held_out().x.shape == (30, 4)
    assert len(finished.history()["loss"]) == finished.record.epochs_run

    with finished.weights.open("ab") as file:
        file.write(b"x")
    assert not finished.is_current(dense_iris)

    (finished.path / "record.json").write_text("{", encoding="utf-8")
    assert finished.record is None
    assert not finished.is_current(dense_iris)


def test_a_changed_recipe_file_means_to_train_again(finished: RunFolder, tmp_path: Path) -> None:
    """The key is over the file's content, not its place."""
    copy = tmp_path / "copy.py"
    shutil.copy(dense_iris.file, copy)
    assert finished.is_current(replace(dense_iris, file=copy))

    copy.write_text(copy.read_text(encoding="utf-8") + "# more\n", encoding="utf-8")
    assert not finished.is_current(replace(dense_iris, file=copy))


def test_a_replacement_cut_short_is_undone(finished: RunFolder) -> None:
    """Killed between its two renames: the run before it comes back."""
    finished.path.rename(finished.runs / ".old-dense_iris")

    record = train(dense_iris, finished.runs)

    assert record is not None
    assert finished.record is not None
    assert record.weights_sha256 == finished.record.weights_sha256
    assert not (finished.runs / ".old-dense_iris").exists()


def test_two_processes_do_not_train_the_same_model_at_once(finished: RunFolder) -> None:
    """The second waits for the first and takes its result."""
    records: list[object] = []
    with (finished.runs / ".lock-dense_iris").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        second = threading.Thread(target=lambda: records.append(train(dense_iris, finished.runs)))
        second.start()
        second.join(0.3)
        assert second.is_alive()
    second.join(10)

    assert records == [finished.record]
