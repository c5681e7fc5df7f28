"""Asks a multiplexed application on a cluster of two raylets on this machine; writes what came of it as JSON.

A program of its own: Ray's processes end with it, and it can be run where there is only loopback.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import ray
import tritonclient.grpc as triton
import yaml
from ray import serve
from ray.cluster_utils import Cluster

from zoo_server.ray_serve.application import build

DEPLOY = Path(__file__).parents[3] / "deploy" / "ray"
ROW = np.arange(8, dtype=np.float32).reshape(2, 4)
NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}


def infer(client: triton.InferenceServerClient, model: str, row: np.ndarray) -> np.ndarray:
    tensor = triton.InferInput("x", row.shape, triton.np_to_triton_dtype(row.dtype))
    tensor.set_data_from_numpy(row)
    return client.infer(model, [tensor]).as_numpy("y")


def status(call) -> str:
    try:
        call()
    except triton.InferenceServerException as error:
        return error.status()
    return "OK"


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
    config = yaml.safe_load((DEPLOY / "multiplexed.yaml").read_text())
    port = config["grpc_options"]["port"]
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    try:
        cluster.add_node(num_cpus=1, object_store_memory=NODE["object_store_memory"])
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.WARNING)
        serve.start(
            proxy_location="HeadOnly",
            grpc_options=config["grpc_options"],
            http_options=config["http_options"],
        )
        (application,) = config["applications"]
        arguments = {"repository": repository, "models_per_replica": 2}
        assert set(arguments) <= set(application["args"])
        serve.run(build(arguments), name=application["name"])
        with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
            Path(outcome).write_text(json.dumps(outcomes(client)))
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
