"""Gives deploy/ray/multiplexed.yaml, as it is, to `serve run`, with a store behind its URL; writes what came of it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tritonclient.grpc as triton

from tests.object_store import CREDENTIALS, running_store
from tests.server.ray_serve.clusters import DEPLOY, ROW, infer, seconds_until

#: Seconds until `serve run` has its replicas ready, and to end.
_READY, _ENDED = 300, 60

#: Starts: `serve run` gives up where its proxy takes more than a minute, as on a machine with much else to do.
_STARTS = 3

#: That of the file.
PORT = "127.0.0.1:8001"


def main(repository: str, outcome: str) -> None:
    os.environ.update(CREDENTIALS)
    with running_store() as store:
        driver = store().driver
        driver.call_s3("create_bucket", Bucket="bucket")
        driver.put(repository, "bucket/models", recursive=True)
        os.environ["AWS_ENDPOINT_URL"] = driver.endpoint_url
        for left in reversed(range(_STARTS)):
            with running_config() as process, triton.InferenceServerClient(PORT) as client:
                ended = process.poll
                seconds_until(lambda ended=ended: ended() is not None or is_ready(client), _READY)
                if process.poll() is not None and left:
                    continue
                answers = [infer(client, name, ROW) for name in ("a", "b", "a")]
                outcomes = {"equal": [bool((answer == ROW).all()) for answer in answers]}
                break
    Path(outcome).write_text(json.dumps(outcomes))


@contextmanager
def running_config() -> Iterator[subprocess.Popen[bytes]]:
    """Run the file until the block ends, and the cluster that `serve run` starts for it."""
    program = Path(sys.executable).with_name("serve")
    process = subprocess.Popen([program, "run", DEPLOY / "multiplexed.yaml"])
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_ENDED)


def is_ready(client: triton.InferenceServerClient) -> bool:
    try:
        return bool(client.is_server_ready(client_timeout=10))
    except triton.InferenceServerException:
        return False


if __name__ == "__main__":
    main(*sys.argv[1:])
