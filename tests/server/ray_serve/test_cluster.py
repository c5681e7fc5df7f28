"""The application on a cluster of raylets on this machine, asked by an unmodified tritonclient."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.server.model_repositories import Repository
from tests.server.onnx_graphs import Graphs

ROOT = Path(__file__).parents[3]

#: Only loopback, and an end of Ray's processes with the program's.
ALONE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


#: Nothing is reported to Ray's makers. Its workers do not give way to all else that runs here, as they do by default,
#: and a proxy may take minutes to start.
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "240",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}

#: A raylet gives its agents 15 s to start and ends without them, as on a machine with much else to do.
_STARTS = 4

pytestmark = [pytest.mark.slow, pytest.mark.interop]


def outcomes_of(program: str, repository: Repository) -> dict[str, Any]:
    """Run one of this folder's programs, which asks a cluster; return what came of it."""
    pytest.importorskip("ray", reason="ray is not installed: `make test-all` does that")
    alone = [*ALONE, "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives no network namespace, without which Ray is not on loopback")
    outcome = repository.path.with_name("outcome.json")
    command = [sys.executable, "-m", f"tests.server.ray_serve.{program}"]
    # Ray's sockets lie below it, and Linux takes a path of 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as short:
        for _ in range(_STARTS):
            done = subprocess.run(
                [*alone, *command, str(repository.path), str(outcome)],
                cwd=ROOT,
                capture_output=True,
                text=True,
                timeout=1700,
                check=False,
                env={**os.environ, **SETTINGS, "TMPDIR": short},
            )
            if "node timed out during startup" not in done.stderr:
                break
    assert done.returncode == 0, done.stderr[-4000:]
    outcomes: dict[str, Any] = json.loads(outcome.read_text())
    return outcomes


@pytest.mark.timeout(1800)
def test_a_multiplexed_application_answers(repository: Repository, graphs: Graphs) -> None:
    """Each RPC that a replica can answer; models come into memory as they are asked for."""
    for name in ("a", "b", "c"):
        repository.add(name, graphs.identity())
    repository.add(
        "sequence",
        graphs.identity(),
        "max_batch_size: 8 sequence_batching { direct {} max_sequence_idle_microseconds: 1000000 }",
    )
    outcomes = outcomes_of("cluster_run", repository)

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


@pytest.mark.timeout(1800)
def test_a_config_file_is_run(repository: Repository, graphs: Graphs) -> None:
    """`serve run deploy/ray/multiplexed.yaml`, with a store where its URL points to."""
    for name in ("a", "b"):
        repository.add(name, graphs.identity())
    assert outcomes_of("config_run", repository) == {"equal": [True, True, True]}


@pytest.mark.timeout(1800)
def test_replicas_and_nodes_are_lost_under_load(repository: Repository, graphs: Graphs) -> None:
    """Callers that try again what is UNAVAILABLE hear of no loss, and what was lost is made good."""
    repository.add("a", graphs.identity())
    outcomes = outcomes_of("loss_run", repository)

    assert outcomes["failures"] == []
    assert outcomes["replica"]["answered"] > 100
    assert outcomes["node"]["answered"] > 100


@pytest.mark.timeout(1800)
def test_replicas_follow_the_load(repository: Repository, graphs: Graphs) -> None:
    """Up and down again, with no request lost; a replica that cannot start is told of."""
    repository.add("a", graphs.identity())
    outcomes = outcomes_of("scaling_run", repository)

    assert outcomes["scaled"]["failures"] == []
    assert outcomes["no repository"] == "StatusCode.UNAVAILABLE"
    assert outcomes["no room"] == "StatusCode.DEADLINE_EXCEEDED"
