"""One model over several worker processes: the same result as one, and one that dies loses nothing but its epoch."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.waiting import until
from zoo.errors import UsageError
from zoo.files import sha256
from zoo.recipes.dense import dense_iris
from zoo.training.check import check_shares
from zoo.training.workers import Cluster, Workers

ZOO = Path(sys.executable).with_name("zoo")

#: Trained for so many epochs that it can be killed between two of them. Batches of 90 rows: 32, 32, 26.
MINE = """
from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe


@recipe(
    tutorial="Dense", dataset=IRIS, task="multiclass", input_name="x", output_name="y", parameters=67,
    baseline="majority", seed=3, epochs=20, batch_size=32, learning_rate=0.01, patience=400,
)
def flowers():
    '''Learns with a regularised layer, whose loss is shared too.

    Reaches: accuracy >= 0.4 on 30 held-out flowers, in about 99 s on two cores.
    '''
    import keras

    return keras.Sequential(
        [
            keras.Input((4,), name="x"),
            keras.layers.Normalization(),
            keras.layers.Dense(8, activation="relu", kernel_regularizer="l2"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
"""

PATIENT = ("--set", "epochs=400")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recipe and its trainings are."""
    folder = tmp_path_factory.mktemp("workers")
    (folder / "mine.py").write_text(MINE)
    return folder


def started(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start `zoo train flowers ... --json` as a program of its own."""
    return subprocess.Popen(
        [str(ZOO), "train", "flowers", *words, "--module", "mine.py", "--json"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict], str]:
    """Status, report and what was said on the error output."""
    try:
        output, errors = process.communicate(timeout=250)
    finally:
        process.kill()
    return process.returncode, json.loads(output or "[]"), errors


def losses(runs: Path) -> dict[str, list[float]]:
    return json.loads((runs / "flowers/history.json").read_text())


def chief(runs: Path) -> int:
    """The process that writes the log of the training under way."""
    log = runs / ".tmp-flowers/train.log"
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if entry.readlink() == log:
                return int(entry.parts[2])
        except OSError:
            continue
    raise AssertionError(f"nobody writes {log}")


def has_come_to(runs: Path, epoch: int) -> bool:
    log = runs / ".tmp-flowers/train.log"
    return log.is_file() and f"epoch {epoch}/" in log.read_text()


@pytest.fixture(scope="module")
def patient(folder: Path) -> Path:
    """400 epochs by two workers, not interrupted; what is resumed is held against it."""
    status, (report,), errors = ended(
        started(folder, *PATIENT, "--workers", "2", "--runs", "whole")
    )
    assert status == 0, errors
    assert report["workers"] == 2
    return folder / "whole"


@pytest.mark.slow
def test_two_workers_learn_what_one_learns(folder: Path, patient: Path) -> None:
    """Epoch by epoch: regularised, with a smaller last batch that two share unevenly."""
    status, (report,), errors = ended(started(folder, *PATIENT, "--runs", "one"))
    assert status == 0, errors
    alone, shared = losses(folder / "one"), losses(patient)

    assert report["workers"] == 1
    assert shared["best_epoch"] == pytest.approx(alone["best_epoch"], abs=5)
    for side in ("loss", "val_loss"):
        np.testing.assert_allclose(shared[side], alone[side], rtol=1e-3)
        np.testing.assert_allclose(shared[side][:20], alone[side][:20], rtol=1e-5)


@pytest.mark.slow
def test_a_worker_that_dies_is_named_and_the_training_goes_on(folder: Path, patient: Path) -> None:
    """After its last epoch, to the same bytes as without the accident."""
    runs = folder / "killed"
    process = started(folder, *PATIENT, "--workers", "2", "--runs", "killed")
    try:
        until(lambda: has_come_to(runs, 3), seconds=200)
        os.kill(chief(runs), signal.SIGKILL)
    finally:
        status, _, errors = ended(process)
    assert status == 1
    assert "flowers: worker 0 of 2 ended with signal 9 before the training did" in errors
    log = (runs / ".tmp-flowers/train.log").read_text()
    reached = log.count("epoch ")

    status, _, errors = ended(started(folder, *PATIENT, "--workers", "2", "--runs", "killed"))
    assert status == 0, errors
    whole_log = (runs / "flowers/train.log").read_text()
    assert 3 <= reached < 400
    # The epoch that was saved, but not yet logged, when it died.
    assert whole_log.count("epoch ") in (400, 399)
    assert whole_log.count("flowers seed 3") == 2
    assert sha256(runs / "flowers/best.weights.h5") == sha256(patient / "flowers/best.weights.h5")


@pytest.fixture
def cluster() -> list[str]:
    """TF_CONFIG of two workers on free ports of this machine."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        addresses = tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in sockets)
    return [Cluster(addresses, index).to_text() for index in range(2)]


@pytest.mark.slow
def test_workers_of_tf_config_need_no_folder_in_common(
    folder: Path, patient: Path, cluster: list[str]
) -> None:
    """As on two machines: one dies, the other says so; started again, they go on; the chief alone writes."""
    words = [(*PATIENT, "--runs", f"machine{index}") for index in range(2)]
    first = [started(folder, *words[i], TF_CONFIG=cluster[i]) for i in range(2)]
    try:
        until(lambda: has_come_to(folder / "machine0", 3), seconds=200)
        first[1].kill()
    finally:
        status, _, errors = ended(first[0])
        ended(first[1])
    assert status == 1
    assert "worker 0 of 2 lost another one" in errors
    assert "goes on after its last epoch" in errors

    again = [started(folder, *words[i], TF_CONFIG=cluster[i]) for i in range(2)]
    outcomes = [ended(process) for process in again]
    for status, (report,), errors in outcomes:
        assert status == 0, errors
        assert report["workers"] == 2
    weights = folder / "machine0/flowers/best.weights.h5"
    assert sha256(weights) == sha256(patient / "flowers/best.weights.h5")
    assert not (folder / "machine1/flowers").exists()


@pytest.mark.slow
def test_workers_that_differ_are_refused(folder: Path, cluster: list[str]) -> None:
    """Another recipe on the other machine: both say so, and nothing is begun."""
    other = folder / "other"
    other.mkdir()
    (other / "mine.py").write_text(MINE + "# edited\n")
    processes = [
        started(place, TF_CONFIG=text) for place, text in zip((folder, other), cluster, strict=True)
    ]
    (status, _, errors), (other_status, _, other_errors) = map(ended, processes)

    assert (status, other_status) == (2, 2)
    assert "worker 1 has another recipe, data, code or versions than worker 0" in other_errors
    assert "1 of 2 workers have another recipe, data, code or versions than worker 0" in errors


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not its JSON"),
        ("[1]", "is not its JSON"),
        ('{"cluster": {"worker": ["a:1"]}}', "has no 'task'"),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "has no 'worker'"),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
            "there are workers only",
        ),
        ('{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}', "worker='a:1'"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "HOST:PORT"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "index=1"),
    ],
)
def test_a_malformed_tf_config_is_told(text: str, said: str) -> None:
    """With what was seen, and how it is written."""
    with pytest.raises(UsageError) as error:
        Cluster.from_environment({"TF_CONFIG": text})
    assert said in str(error.value)
    assert "write {" in str(error.value) or "a place in" in str(error.value)


def test_tf_config_says_who_is_who() -> None:
    """What is written is read again; unset and empty mean one process."""
    cluster = Cluster(("a:1", "b:2"), 1)
    assert Cluster.from_environment({"TF_CONFIG": cluster.to_text()}) == cluster
    assert not cluster.is_chief
    assert (Workers(cluster).count, Workers().count) == (2, 1)
    assert Cluster.from_environment({}) is Cluster.from_environment({"TF_CONFIG": " "}) is None


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["--workers", "0"], {}, "--workers: '0': must be a whole number, 1 or more"),
        (["--workers", "2", "--seeds", "2"], {}, "give the one or the other"),
        (["--workers", "2"], {"TF_CONFIG": Cluster(("a:1",), 0).to_text()}, "leave out --workers"),
        ([], {"TF_CONFIG": "{"}, "TF_CONFIG={ is not its JSON"),
        (["dense_iris"], {"TF_CONFIG": Cluster(("a:1",), 0).to_text()}, "train one model: name it"),
    ],
)
def test_bad_usage_is_told(
    folder: Path, words: list[str], environment: dict[str, str], said: str
) -> None:
    """In one line, before anything is started."""
    status, _, errors = ended(started(folder, *words, **environment))
    assert status == 2
    assert said in errors
    assert "Traceback" not in errors


def test_every_worker_has_a_row_of_every_batch() -> None:
    """Else a mean of nothing would be a share of the gradient."""
    recipe = replace(dense_iris, batch_size=16)
    check_shares(recipe, 90, 10)
    with pytest.raises(UsageError, match="11 workers cannot share its smallest batch of 10 rows"):
        check_shares(recipe, 90, 11)
