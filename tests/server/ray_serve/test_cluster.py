"""The application on a cluster of raylets on this machine, asked by an unmodified tritonclient."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.model_repositories import Repository
from tests.server.onnx_graphs import Graphs

ROOT = Path(__file__).parents[3]

#: Only loopback, and an end of Ray's processes with the program's.
ALONE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


@pytest.mark.slow
@pytest.mark.interop
def test_a_multiplexed_application_answers(repository: Repository, graphs: Graphs) -> None:
    pytest.importorskip("ray", reason="ray is not installed: `make test-all` does that")
    alone = [*ALONE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no network namespace, without which Ray is not on loopback")
    for name in ("a", "b", "c"):
        repository.add(name, graphs.identity())
    repository.add(
        "sequence",
        graphs.identity(),
        "max_batch_size: 8 sequence_batching { direct {} max_sequence_idle_microseconds: 1000000 }",
    )
    outcome = repository.path.with_name("outcome.json")
    program = [sys.executable, "-m", "tests.server.ray_serve.cluster_run"]
    done = subprocess.run(
        [*alone, *program, str(repository.path), str(outcome)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(outcome.read_text())

    assert outcomes["ready"] == [True, True, True]
    assert {"sequence", "logging", "system_shared_memory"}.isdisjoint(outcomes["extensions"])
    assert outcomes["index"] == ["a", "b", "c", "sequence"]
    assert all(outcomes["equal"])
    assert outcomes["loaded"] == ["b", "c"]  # of three models, the two that were asked last
    assert (outcomes["config"], outcomes["input"]) == ("a", "x")
    assert outcomes["unknown"] == "StatusCode.NOT_FOUND"
    assert outcomes["mistyped"] == "StatusCode.INVALID_ARGUMENT"
    for refused in ("load", "memory", "log", "sequence"):
        assert outcomes[refused] == "StatusCode.UNIMPLEMENTED"
