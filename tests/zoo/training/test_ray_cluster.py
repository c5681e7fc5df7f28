"""Trainings on a Ray cluster of this machine, through its client port: the same bytes as here."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from zoo.files import sha256

BIN = Path(sys.executable).parent

#: Only loopback, and an end of Ray's processes with the program's.
ALONE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]

MINE = """
import os
import sys
from pathlib import Path

from zoo.datasets.tables import IRIS
from zoo.recipes.recipe import recipe
from zoo.recipes.search import log_uniform

SETTINGS = dict(
    tutorial="Dense", dataset=IRIS, task="multiclass", input_name="x", output_name="y", parameters=15,
    baseline="majority", seed=1, epochs=9, batch_size=16, learning_rate=0.1, patience=9,
)


def build():
    import keras

    return keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(3, activation="softmax")])


@recipe(**SETTINGS, search={"learning_rate": log_uniform(0.001, 0.3)})
def flowers():
    '''Learns anywhere.

    Reaches: accuracy >= 0.4 on 30 held-out flowers, in about 99 s on two cores.
    '''
    return build()


@recipe(**SETTINGS)
def mortal():
    '''Ends its process on the cluster, the first time.

    Reaches: accuracy >= 0.4 on 30 held-out flowers, in about 99 s on two cores.
    '''
    mark = Path(__file__).with_name("died")
    if "ray" in sys.modules and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return build()


@recipe(**SETTINGS)
def boastful():
    '''Claims what it does not reach.

    Reaches: accuracy >= 1 on 30 held-out flowers, in about 99 s on two cores.
    '''
    return build()
"""

#: A head that is a whole cluster, and what is trained on it: one JSON a line.
SCRIPT = """
ip link set lo up
ray start --head --num-cpus 2 --port 6399 --ray-client-server-port 10001 --include-dashboard=false \
    --object-store-memory 90000000 --temp-dir "$1" --disable-usage-stats >&2 || exit 9
until python -c 'import ray; ray.init("ray://127.0.0.1:10001")' >&2; do sleep 1; done
on="--module mine.py --json --on ray://127.0.0.1:10001 --runs ray"
zoo train flowers --seeds 2 $on > seeds.json || exit 8
zoo train flowers --seeds 2 $on > again.json
zoo train mortal $on > mortal.json
zoo train boastful $on > boastful.json; echo $? > boastful.status
zoo train flowers --trials 4 $on > trials.json
ray stop --force >&2
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "mine.py").write_text(MINE)
    return folder


@pytest.fixture(scope="module")
def trained(folder: Path) -> str:
    """What the trainings said on their error output; the cluster is gone by then."""
    pytest.importorskip("ray.tune", reason="ray is not installed: `make test-all` does that")
    if subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no network namespace, without which Ray is not on loopback")
    # Its sockets' paths have 107 characters at most.
    place = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "RAY_USAGE_STATS_ENABLED": "0",
        # The cluster's own, since a client has to show one.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        # Where other tests have the processors a client's server takes its time.
        "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "120",
        "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "120",
        "RAY_CLIENT_MAX_CONNECTION_TIMEOUT_S": "120",
        "RAY_worker_niceness": "0",
    }
    try:
        done = subprocess.run(
            [*ALONE, "sh", "-c", SCRIPT, "sh", place],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=1700,
            check=False,
            env=environment,
        )
    finally:
        shutil.rmtree(place, ignore_errors=True)
    assert done.returncode == 0, done.stderr
    return done.stderr


def report(folder: Path, name: str) -> dict[str, Any]:
    (values,) = json.loads((folder / f"{name}.json").read_text())
    return values


def zoo(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "zoo"), "train", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_seed_on_the_cluster_has_the_bytes_of_one_here(folder: Path, trained: str) -> None:
    """Its run comes back whole; the second command has nothing to do."""
    seeds = report(folder, "seeds")
    assert seeds["seeds"]["seeds"] == [1, 2]
    assert report(folder, "again")["trained_now"] is False
    here = zoo(folder, "flowers", "--set", "seed=2", "--module", "mine.py", "--runs", "here")
    assert here.returncode == 0, here.stderr
    runs = folder / "ray/flowers.trials"
    (came_back,) = runs.glob("*/flowers/best.weights.h5")
    assert sha256(came_back) == sha256(folder / "here/flowers/best.weights.h5")
    assert {path.name for path in came_back.parent.iterdir()} == {
        path.name for path in (folder / "here/flowers").iterdir()
    }


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_process_that_dies_is_started_again(folder: Path, trained: str) -> None:
    """By Ray, on what is left of the cluster."""
    assert (folder / "died").exists()
    assert report(folder, "mortal")["metric"]["value"] >= 0.4


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_claim_is_held_against_what_came_back(folder: Path, trained: str) -> None:
    """A run that misses it is kept beside, as one of this machine is."""
    assert (folder / "boastful.status").read_text().strip() == "1"
    assert "but claimed: Reaches: accuracy >= 1" in trained
    assert (folder / "ray/boastful.failed/record.json").is_file()
    assert not (folder / "ray/boastful").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_search_chooses_by_the_validation_loss(folder: Path, trained: str) -> None:
    """Of what ASHA let come to its end; the model's own run has the trial's bytes."""
    search = report(folder, "trials")["search"]
    scores = [
        json.loads(path.read_text())
        for path in (folder / "ray").glob("flowers.trials/*/score.json")
    ]
    assert search["trials"] == 4
    assert 1 <= search["finished"] == len(scores) <= 4
    assert search["val_loss"] == min(score["val_loss"] for score in scores)
    assert search["weights_sha256"] == sha256(folder / "ray/flowers/best.weights.h5")


def test_a_cluster_that_is_not_there_is_told(folder: Path) -> None:
    """In one line, before anything is trained."""
    pytest.importorskip("ray.tune", reason="ray is not installed: `make test-all` does that")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = zoo(folder, "dense_iris", "--on", f"ray://127.0.0.1:{port}")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert f"ray://127.0.0.1:{port} cannot be reached" in line
    assert "ray start --head" in line


def test_without_ray_the_extra_is_named(folder: Path) -> None:
    """And an address that is none is bad usage."""
    code = "import sys; sys.modules['ray'] = None; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", code, "train", "dense_iris", "--on"]
    lacking = subprocess.run(
        [*words, "ray://127.0.0.1:1"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert lacking.returncode == 1
    assert "pip install 'layer-zoo[ray]'" in lacking.stderr
    for address, said in (
        ("mars", "write local, or ray://HOST:PORT"),
        ("ray://", "ray://HOST:PORT"),
    ):
        wrong = zoo(folder, "dense_iris", "--on", address)
        assert wrong.returncode == 2
        assert said in wrong.stderr
