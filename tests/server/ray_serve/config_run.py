"""Gives deploy/ray/multiplexed.yaml, as it is, to `serve run`, with a store behind its URL; writes what came of it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import tritonclient.grpc as triton

from tests.object_store import CREDENTIALS, running_store
from tests.server.ray_serve.clusters import DEPLOY, ROW, infer, seconds_until

#: Seconds until `serve run` has its replicas ready, and to end.
_READY, _ENDED = 240, 60


def main(repository: str, outcome: str) -> None:
    os.environ.update(CREDENTIALS)
    with running_store() as store:
        driver = store().driver
        driver.call_s3("create_bucket", Bucket="bucket")
        driver.put(repository, "bucket/models", recursive=True)
        serve = [Path(sys.executable).with_name("serve"), "run", DEPLOY / "multiplexed.yaml"]
        endpoint = {"AWS_ENDPOINT_URL": driver.endpoint_url}
        process = subprocess.Popen(serve, env={**os.environ, **endpoint})
        try:
            with triton.InferenceServerClient("127.0.0.1:8001") as client:
                seconds_until(lambda: is_ready(client), _READY)
                answers = [infer(client, name, ROW) for name in ("a", "b", "a")]
                outcomes = {"equal": [bool((answer == ROW).all()) for answer in answers]}
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_ENDED)
    Path(outcome).write_text(json.dumps(outcomes))


def is_ready(client: triton.InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_ready(client_timeout=10))
    except triton.InferenceServerException:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
