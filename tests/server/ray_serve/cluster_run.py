"""Asks a multiplexed application on a cluster of two raylets on this machine; writes what came of it as JSON.

A program of its own: Ray's processes end with it, and it can be run where there is only loopback.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from ray import serve

from tests.server.ray_serve.clusters import ROW, infer, running, status
from zoo_server.ray_serve.application import build


def outcomes(client: triton.InferenceServerClient) -> dict[str, object]:
    models = ("a", "b", "c")
    return {
        "ready": [client.is_server_live(), client.is_server_ready(), client.is_model_ready("a")],
        "extensions": list(client.get_server_metadata().extensions),
        "index": [model.name for model in client.get_model_repository_index().models],
        "equal": [bool((infer(client, m, ROW) == ROW).all()) for m in models * 2],
        "loaded": [one.name for one in client.get_inference_statistics().model_stats],
        "config": client.get_model_config("a").config.name,
        "input": client.get_model_metadata("b").inputs[0].name,
        "unknown": status(lambda: infer(client, "none", ROW)),
        "mistyped": status(lambda: infer(client, "a", ROW.astype(np.int64))),
        "load": status(lambda: client.load_model("a")),
        "memory": status(client.get_system_shared_memory_status),
        "log": status(client.get_log_settings),
        "sequence": status(lambda: infer(client, "sequence", ROW)),
    }


def main(repository: str, outcome: str) -> None:
    arguments = {"repository": repository, "models_per_replica": 2}
    with running("multiplexed.yaml", 1):
        serve.run(build(arguments), name="zoo")
        with triton.InferenceServerClient("127.0.0.1:8001") as client:
            Path(outcome).write_text(json.dumps(outcomes(client)))


if __name__ == "__main__":
    main(*sys.argv[1:])
