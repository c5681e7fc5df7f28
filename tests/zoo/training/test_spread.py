"""Several trainings at once, each in a process of its own: the same bytes as alone, nothing done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import until
from zoo.files import sha256
from zoo.training.seeds import over_seeds_text, summary_of

ZOO = Path(sys.executable).with_name("zoo")

#: Short trainings of recipes of the user's: one that any seed learns, one that one seed breaks, one that
#: waits for a file in its epochs' stead.
MINE = """
import os
from dataclasses import replace
from pathlib import Path

from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe

SETTINGS = dict(
    tutorial="Dense", dataset=IRIS, task="multiclass", input_name="x", output_name="y", parameters=15,
    baseline="majority", epochs=2, batch_size=16, learning_rate=0.1, patience=2,
)


@recipe(**SETTINGS, seed=1)
def flowers(units=3, broken=False):
    '''Learns in two epochs.

    Reaches: accuracy >= 0.4 on 30 held-out flowers, in about 9 s on two cores.
    '''
    import keras

    if broken:
        raise RuntimeError("broken on purpose")
    print("built", flush=True)
    layers = [keras.layers.Dense(units, activation="relu")] if units != 3 else []
    return keras.Sequential(
        [keras.Input((4,), name="x"), *layers, keras.layers.Dense(3, activation="softmax")]
    )


@recipe(**SETTINGS, seed=2**32 - 2)
def fragile():
    '''Ends its process with the seed after its own.

    Reaches: accuracy >= 0.4 on 30 held-out flowers, in about 9 s on two cores.
    '''
    import keras

    if os.environ.get("FRAGILE") == "1" and numpy_seed() == 2**32 - 1:
        os.kill(os.getpid(), 9)
    print("built", flush=True)
    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="softmax")])


def numpy_seed():
    import numpy as np

    return int(np.random.get_state()[1][0])
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the recipes and their trainings are."""
    folder = tmp_path_factory.mktemp("spread")
    (folder / "mine.py").write_text(MINE)
    return folder


def train(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `zoo train ... --json` with the recipes, as a program of its own."""
    return subprocess.run(
        [str(ZOO), "train", *words, "--module", "mine.py", "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, **environment},
    )


def reports(done: subprocess.CompletedProcess[str]) -> list[dict]:
    """The JSON behind what the recipes print when they are built."""
    return json.loads(
        done.stdout[done.stdout.index("\n[") :] if "built" in done.stdout else done.stdout
    )


@pytest.fixture(scope="module")
def seeds(folder: Path) -> dict:
    """Three seeds of one recipe, two processes at once."""
    done = train(folder, "flowers", "--seeds", "3", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    (report,) = reports(done)
    return report


def test_mean_and_deviation_are_those_of_the_seeds(folder: Path, seeds: dict) -> None:
    """The run's own seed first; which seed's weights are the model's does not change."""
    noted = seeds["seeds"]
    values = noted["values"]
    mean = sum(values) / 3

    assert noted["seeds"] == [1, 2, 3]
    assert len(set(values)) > 1, "seeds that make no difference show nothing"
    assert seeds["metric"]["value"] == values[0]
    assert noted["mean"] == pytest.approx(mean, rel=1e-5)
    assert noted["deviation"] == pytest.approx(
        (sum((value - mean) ** 2 for value in values) / 2) ** 0.5, rel=1e-5
    )


@pytest.mark.slow
def test_each_seed_alone_has_the_same_bytes(folder: Path, seeds: dict) -> None:
    """Trained by itself in another process, on its own folder of runs."""
    done = train(folder, "flowers", "--set", "seed=3", "--runs", "alone")
    assert done.returncode == 0, done.stderr
    (report,) = reports(done)
    weights = sha256(folder / "alone/flowers/best.weights.h5")
    among = [sha256(path) for path in (folder / "build/runs").glob("*.trials/*/*/best.weights.h5")]

    assert report["metric"]["value"] == seeds["seeds"]["values"][2]
    assert report["settings"] == {"seed": 3}
    assert weights in among
    assert len(among) == 2
    assert sha256(folder / "build/runs/flowers/best.weights.h5") not in among


@pytest.mark.slow
def test_the_seeds_are_published_with_the_same_weights(folder: Path, seeds: dict) -> None:
    """In a version of their own, if the model was published before; card, file and command say it."""
    from onnx import load

    words = [str(ZOO), "export", "flowers", "--module", "mine.py", "--repository", "models"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    version = folder / "models/flowers/1"
    manifest = json.loads((version / "manifest.json").read_text())
    facts = {entry.key: entry.value for entry in load(version / "model.onnx").metadata_props}
    said = over_seeds_text(seeds["seeds"])

    assert manifest["training"]["seeds"] == seeds["seeds"]
    assert manifest["rebuild"]["command"] == "zoo train flowers --seeds 3 && zoo export flowers"
    assert facts["metric_over_seeds"] == said
    assert said.partition(" (")[0] in (version / "README.md").read_text()


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again(folder: Path, seeds: dict) -> None:
    """Nor is anything built; one seed more is one training more."""
    again = train(folder, "flowers", "--seeds", "3")
    more = train(folder, "flowers", "--seeds", "4")

    # Once for the check of a recipe of the user's that is to be trained: here there is none.
    assert "built" not in again.stdout
    assert reports(again)[0]["trained_now"] is False
    assert more.stdout.count("built") == 1
    assert len(reports(more)[0]["seeds"]["values"]) == 4


@pytest.mark.slow
def test_a_process_that_dies_takes_no_other_with_it(folder: Path) -> None:
    """It is named, with the signal; the same command then trains what is missing."""
    killed = train(folder, "fragile", "--seeds", "3", FRAGILE="1")
    (partial,) = reports(killed)

    assert killed.returncode == 1
    assert "fragile seed=4294967295: its process ended with signal 9" in killed.stderr
    assert partial["seeds"] is None
    mended = train(folder, "fragile", "--seeds", "3")
    assert mended.returncode == 0
    assert mended.stdout.count("built") == 1
    assert reports(mended)[0]["seeds"]["seeds"] == [2**32 - 2, 2**32 - 1, 0]


@pytest.mark.slow
def test_a_killed_command_goes_on_from_what_is_finished(folder: Path) -> None:
    """kill -9 after the first training; its processes end by themselves."""
    words = [
        "train",
        "flowers",
        "--module",
        "mine.py",
        "--seeds",
        "4",
        "--jobs",
        "1",
        "--runs",
        "killed",
    ]
    process = subprocess.Popen(
        [str(ZOO), *words], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: (folder / "killed/flowers/record.json").is_file(), seconds=200)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    until(lambda: not _children_of_no_one(folder), seconds=60)
    finished = len(list((folder / "killed").rglob("record.json")))
    done = train(folder, *words[1:2], *words[4:])

    assert 1 <= finished < 4
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("built") == 4 - finished


def _children_of_no_one(folder: Path) -> list[int]:
    """Processes that still train in the folder of the killed command."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cwd").readlink() == folder:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_setting_is_kept_until_the_recipes_own_return(folder: Path) -> None:
    """As the data is; an argument of the builder changes the number of parameters."""
    first = train(folder, "flowers", "--set", "units=5", "--set", "epochs=3", "--runs", "set")
    kept = train(folder, "flowers", "--runs", "set")
    back = train(folder, "flowers", "--set", "recipe", "--runs", "set")

    (one,), (two,), (three,) = map(reports, (first, kept, back))
    assert one["settings"] == two["settings"] == {"epochs": 3, "units": 5}
    assert (one["parameters"], three["parameters"]) == (43, 15)
    assert two["trained_now"] is False
    assert (three["settings"], three["trained_now"]) == ({}, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "--seeds: '0': must be a whole number, 2 or more"),
        (["--seeds", "many"], "--seeds: 'many': must be a whole number, 2 or more"),
        (["--jobs", "0"], "--jobs: '0': must be a whole number, 1 or more"),
        (["--on", "mars"], "--on"),
        (["--set", "unit=3"], "no setting is called 'unit': did you mean units?"),
        (["--set", "epochs=0"], "epochs=0: must be a whole number, 1 or more"),
        (["--set", "epochs"], "--set epochs: write KEY=VALUE"),
        (["--set", "units=[3]"], "units=[3]: must be a number, a text, True or False"),
        (["fragile", "--set", "epochs=3"], "--set is for one model: name it"),
    ],
)
def test_bad_usage_is_told(folder: Path, words: list[str], said: str) -> None:
    """In one line, before anything is trained."""
    done = train(folder, "flowers", *words)

    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_recipe_that_raises_is_told(folder: Path) -> None:
    """By name, with what it raised."""
    done = train(folder, "flowers", "--set", "broken=True", "--seeds", "2", "--runs", "raised")

    assert done.returncode == 2
    assert "cannot be built: RuntimeError: broken on purpose" in done.stderr


def test_equal_values_have_no_deviation() -> None:
    """And a record of one seed says nothing."""

    class Record:
        """As much of a record as is read."""

        def __init__(self, seed: int) -> None:
            self.metric = {"value": 0.5}
            self.recipe = {"seed": seed}

    summary = summary_of([Record(1), Record(2)])
    assert over_seeds_text(summary) == "0.5 ± 0 (2 seeds)"
    assert over_seeds_text(None) == ""
