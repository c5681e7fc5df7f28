"""A rolling update under load, as Kubernetes does one: python -m bench.rolling_update.

    python -m bench.rolling_update --callers 8 --updates 3

A minute; prints JSON. Two servers with the arguments of deploy/kubernetes/deployment.yaml stand behind a balancer of
connections, as a Service is one. For each update another server starts and takes the place of the oldest one, which gets
no new connection from then on, the manifest's pause, and then SIGTERM. All the time callers ask, one request after the
other, on connections that they keep: half of them unmodified tritonclients that send again what is UNAVAILABLE, the others
Layer Zoo's client.
"""

import argparse
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import yaml

from bench.many_models import write_models
from zoo.client import Client, ClientError

MANIFEST = Path(__file__).parents[1] / "deploy" / "kubernetes" / "deployment.yaml"

#: Servers at a time, and requests that are answered between two updates at least.
_REPLICAS, _BETWEEN = 2, 200

#: Seconds for a server to be ready, and for requests to be answered.
_LIMIT = 400

_MODEL = "model_00000"

#: Tries of a tritonclient, and seconds before each further one.
_TRIES, _WAIT = 20, 0.1


def manifest() -> tuple[list[str], float]:
    """Return the server's arguments and the seconds before SIGTERM, as the Deployment says them."""
    (container,) = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]["containers"]
    return container["args"], float(container["lifecycle"]["preStop"]["sleep"]["seconds"])


class Balancer:
    """Hands each new connection to the next of its endpoints; those that are there stay where they are."""

    def __init__(self) -> None:
        self.endpoints: list[tuple[str, int]] = []
        self._next = itertools.count()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: set[socket.socket] = {self._listener}
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            try:
                endpoints = self.endpoints
                server = socket.create_connection(endpoints[next(self._next) % len(endpoints)])
            except OSError:
                caller.close()
                continue
            self._open |= {caller, server}
            for one, other in ((caller, server), (server, caller)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    @staticmethod
    def _pass_on(one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while content := one.recv(65536):
                other.sendall(content)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


class Replica:
    """One server."""

    def __init__(self, arguments: list[str], repository: Path, log: Path) -> None:
        """Start it and wait until it is ready."""
        zoo = Path(sys.executable).with_name("zoo")
        own = [str(repository) if argument == "/models" else argument for argument in arguments]
        ports = ["--grpc-port", "0", "--http-port", "off", "--metrics-port", "off"]
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [zoo, "serve", *own, *ports, "--log-format", "text"], stderr=stream
            )
        (address,) = wait_for(lambda: re.findall(r"ready: gRPC on ([^\s,]+)", log.read_text()))
        host, _, port = address.rpartition(":")
        self.endpoint = (host, int(port))

    def leave(self) -> int:
        """Send SIGTERM; return the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_LIMIT)

    def close(self) -> None:
        """Kill it if it is still there."""
        self._process.kill()
        self._process.wait()


@dataclass
class Callers:
    """What callers of one address had."""

    address: str
    answered: int = 0
    sent_again: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock, self._end = threading.Lock(), threading.Event()

    @contextmanager
    def running(self, count: int) -> Iterator[None]:
        """Ask for as long as the block takes."""
        kinds = (self._with_triton, self._with_zoo)
        threads = [threading.Thread(target=kinds[n % 2], args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join()

    def _with_triton(self, number: int) -> None:
        with triton.InferenceServerClient(self.address) as client:
            self._ask(lambda: self._persist(client, _row(number)), number)

    def _with_zoo(self, number: int) -> None:
        with Client(self.address) as client:
            self._ask(lambda: client.infer(_MODEL, {"x": _row(number)})["y"], number)

    def _persist(self, client: triton.InferenceServerClient, row: np.ndarray) -> Any:
        tensor = triton.InferInput("x", row.shape, "FP32")
        tensor.set_data_from_numpy(row)
        for left in reversed(range(_TRIES)):
            try:
                return client.infer(_MODEL, [tensor]).as_numpy("y")
            except triton.InferenceServerException as error:
                if not left or error.status() != "StatusCode.UNAVAILABLE":
                    raise
            with self._lock:
                self.sent_again += 1
            time.sleep(_WAIT)
        raise AssertionError("unreachable")

    def _ask(self, call: Any, number: int) -> None:
        expected = _row(number)  # the model gives back what is not negative
        while not self._end.is_set():
            began, failure = time.monotonic(), ""
            try:
                if not np.array_equal(call(), expected):
                    failure = "another caller's answer"
            except (triton.InferenceServerException, ClientError) as error:
                failure = f"{type(error).__name__}: {error}"
            with self._lock:
                self.answered += not failure
                self.slowest = max(self.slowest, time.monotonic() - began)
                if failure:
                    self.failures.append(failure)


def update(callers: int, updates: int, pause: float | None = None) -> dict[str, Any]:
    """Replace servers under load, `pause` seconds before each SIGTERM; return what callers had."""
    arguments, manifest_pause = manifest()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-update-")))
        write_models(work / "models", 1)

        def start() -> Replica:
            replica = Replica(arguments, work / "models", work / "log.txt")
            stack.callback(replica.close)
            return replica

        replicas = [start() for _ in range(_REPLICAS)]
        balancer = Balancer()
        stack.callback(balancer.close)
        balancer.endpoints = [replica.endpoint for replica in replicas]
        load, statuses = Callers(balancer.address), []
        with load.running(callers):
            for _ in range(updates):
                answered_more(load)
                oldest, *others = replicas
                replicas = [*others, start()]
                balancer.endpoints = [replica.endpoint for replica in replicas]
                time.sleep(manifest_pause if pause is None else pause)
                statuses.append(oldest.leave())
            answered_more(load)
    return {
        "updates": updates,
        "callers": callers,
        "answered": load.answered,
        "failed": len(load.failures),
        "failures": load.failures[:5],
        "sent again by tritonclient's callers": load.sent_again,
        "slowest s": round(load.slowest, 3),
        "exit statuses": statuses,
        "load average": round(os.getloadavg()[0], 1),
    }


def answered_more(callers: Callers) -> None:
    """Wait for further answers, or a failure."""
    before = callers.answered
    wait_for(lambda: callers.answered > before + _BETWEEN or callers.failures)


def wait_for(condition: Any) -> Any:
    """Return what a condition is once it holds; TimeoutError if it does not."""
    began = time.monotonic()
    while not (value := condition()):
        if time.monotonic() - began > _LIMIT:
            raise TimeoutError(f"it did not come about within {_LIMIT} s")
        time.sleep(0.02)
    return value


def _row(number: int) -> np.ndarray:
    return np.full((1, 4), number, np.float32)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--callers", type=int, default=8, metavar="N")
    parser.add_argument("--updates", type=int, default=3, metavar="N")
    options = parser.parse_args()
    print(json.dumps(update(options.callers, options.updates), indent=2))


if __name__ == "__main__":
    main()
