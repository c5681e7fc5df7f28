"""Kills a replica, and then a node with its proxy, under callers; writes what they saw as JSON."""

import json
import os
import signal
import sys
from pathlib import Path

from ray import serve

from tests.server.ray_serve.clusters import (
    Callers,
    node_of,
    replica_processes,
    replicas,
    running,
    seconds_until,
)
from zoo_server.ray_serve.application import build

#: Replicas, and nodes: one more, so that there is room for those that were lost.
REPLICAS, NODES = 2, 3

#: Seconds for Ray to notice a loss, and to start another replica.
_NOTICED, _MADE_GOOD = 240, 400


def main(repository: str, outcome: str) -> None:
    application = build(
        {"repository": repository, "min_replicas": REPLICAS, "max_replicas": REPLICAS}
    )
    with running("serve.yaml", NODES, "EveryNode") as cluster:
        serve.run(application, name="zoo")
        callers = Callers(port=8001, model="a", count=4)
        outcomes: dict[str, object] = {}
        with callers.running():
            seconds_until(lambda: callers.answered > 100, _MADE_GOOD)
            for lost in ("replica", "node"):
                before = callers.answered
                victim = replica_processes()[0]
                if lost == "replica":
                    os.kill(victim, signal.SIGKILL)
                else:
                    cluster.remove_node(node_of(cluster, victim), allow_graceful=False)
                noticed = seconds_until(lambda: replicas("zoo") < REPLICAS, _NOTICED)
                again = seconds_until(lambda: replicas("zoo") == REPLICAS, _MADE_GOOD)
                seen = callers.answered
                seconds_until(lambda seen=seen: callers.answered > seen + 100, _MADE_GOOD)
                outcomes[lost] = {
                    "noticed after": noticed,
                    "another after": again,
                    "answered": callers.answered - before,
                    "tried again": callers.tried_again,
                    "slowest": round(callers.slowest, 2),
                }
        outcomes["answered"] = callers.answered
        outcomes["failures"] = callers.failures[:5]
        Path(outcome).write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
