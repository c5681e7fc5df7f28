"""Has replicas started and ended by load, and asks for two that never become ready; writes what came of it as JSON."""

import json
import os
import sys
from pathlib import Path

import tritonclient.grpc as triton
from ray import serve

from tests.server.ray_serve.clusters import (
    ROW,
    Callers,
    application,
    infer,
    replicas,
    running,
    seconds_until,
    status,
)
from zoo_server.ray_serve.application import build

#: Seconds until Ray has decided, and replicas have started or ended: it looks back over half a minute.
_SCALED = 300

SCALING = {
    "min_replicas": 1,
    "max_replicas": 3,
    "target_requests": 2,
    "upscale_delay_seconds": 1,
    "downscale_delay_seconds": 2,
}


def scaled(repository: str) -> dict[str, object]:
    """Return how long eight callers have three replicas of one, and one caller one of three."""
    serve.run(build({"repository": repository, **SCALING}), name="zoo")
    steady = Callers(port=8001, model="a", count=2)
    more = Callers(port=8001, model="a", count=6)
    with steady.running():
        with more.running():
            up = seconds_until(lambda: replicas("zoo") == 3, _SCALED)
            seen = steady.answered
            seconds_until(lambda: steady.answered > seen + 100, _SCALED)
        down = seconds_until(lambda: replicas("zoo") == 1, _SCALED)
        seen = steady.answered
        seconds_until(lambda: steady.answered > seen + 100, _SCALED)
    serve.delete("zoo")
    return {
        "three after": up,
        "one after": down,
        "answered": steady.answered + more.answered,
        "slowest": round(max(steady.slowest, more.slowest), 2),
        "failures": (steady.failures + more.failures)[:5],
    }


def never_ready(arguments: dict[str, object], state: str, shows: str) -> str:
    """Wait until an application has a state and these words about it; return what a caller hears."""
    target = serve.RunTarget(build(arguments), name="zoo")
    serve.run_many([target], wait_for_applications_running=False)

    def says_so() -> bool:
        overview = application("zoo")
        messages = [overview.message, *(each.message for each in overview.deployments.values())]
        return overview.status == state and any(shows in message for message in messages)

    seconds_until(says_so, _SCALED)
    with triton.InferenceServerClient("127.0.0.1:8001") as client:
        heard = status(lambda: infer(client, "a", ROW, 3))
    serve.delete("zoo")
    return heard


def main(repository: str, outcome: str) -> None:
    os.environ["RAY_SERVE_SLOW_STARTUP_WARNING_S"] = "3"
    missing = "the model repository '/none' does not exist"
    with running("serve.yaml", 3):
        outcomes = {
            "scaled": scaled(repository),
            "no repository": never_ready({"repository": "/none"}, "DEPLOY_FAILED", missing),
            "no room": never_ready(
                {"repository": repository, "cpus": 2}, "DEPLOYING", "to be scheduled"
            ),
        }
        Path(outcome).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
