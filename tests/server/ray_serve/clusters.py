"""A Ray cluster of several raylets on this machine, and Open Inference callers that load it."""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import ray
import tritonclient.grpc as triton
import yaml
from ray import serve
from ray.cluster_utils import Cluster
from ray.serve.schema import ApplicationStatusOverview, ProxyStatus

from zoo.client import Client, ClientError

DEPLOY = Path(__file__).parents[3] / "deploy" / "ray"
ROW = np.arange(8, dtype=np.float32).reshape(2, 4)
NODE = {"object_store_memory": 80 << 20, "include_dashboard": False}

#: Seconds until the proxies take calls.
_PROXIES = 240

#: Seconds before a caller's further tries, and how often it tries.
_WAIT, _TRIES = 0.25, 120


@contextmanager
def running(config: str, nodes: int, proxy_location: str = "HeadOnly") -> Iterator[Cluster]:
    """Run a head without CPUs and so many nodes of one CPU each, with a config's ports open."""
    options = yaml.safe_load((DEPLOY / config).read_text())
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **NODE})
    try:
        for _ in range(nodes):
            cluster.add_node(num_cpus=1, object_store_memory=NODE["object_store_memory"])
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.WARNING)
        # Ray waits a minute for its proxies; on a busy machine they take longer, and come all the same.
        with suppress(ray.exceptions.GetTimeoutError):
            serve.start(
                proxy_location=proxy_location,
                grpc_options=options["grpc_options"],
                http_options=options["http_options"],
            )
        seconds_until(proxies_are_healthy, _PROXIES)
        yield cluster
    finally:
        serve.shutdown()
        ray.shutdown()
        cluster.shutdown()


def proxies_are_healthy() -> bool:
    """Tell whether the head's proxy takes calls, and those of all nodes that have replicas."""
    proxies = serve.status().proxies.values()
    return bool(proxies) and all(proxy == ProxyStatus.HEALTHY for proxy in proxies)


def application(name: str) -> ApplicationStatusOverview:
    """Return what Ray says of an application."""
    return serve.status().applications[name]


def replicas(name: str) -> int:
    """Return how many replicas of an application are ready."""
    (deployment,) = application(name).deployments.values()
    return deployment.replica_states.get("RUNNING", 0)


def replica_processes() -> list[int]:
    """Return the processes of all replicas on this machine, which Ray names so."""
    pids = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if place.read_bytes().startswith(b"ray::ServeReplica"):
                pids.append(int(place.parent.name))
    return pids


def node_of(cluster: Cluster, worker: int) -> object:
    """Return the node whose raylet started a process."""
    (parent,) = re.findall(
        r"^PPid:\s*(\d+)$", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE
    )
    for node in cluster.worker_nodes:
        if any(raylet.process.pid == int(parent) for raylet in node.all_processes["raylet"]):
            return node
    raise AssertionError(f"process {worker} is of no node")


def infer(
    client: triton.InferenceServerClient, model: str, row: np.ndarray, seconds: float | None = None
) -> np.ndarray:
    tensor = triton.InferInput("x", row.shape, triton.np_to_triton_dtype(row.dtype))
    tensor.set_data_from_numpy(row)
    return client.infer(model, [tensor], client_timeout=seconds).as_numpy("y")


def status(call: Callable[[], object]) -> str:
    """Return the status that a call ends with."""
    try:
        call()
    except triton.InferenceServerException as error:
        return error.status()
    return "OK"


@dataclass
class Callers:
    """Threads that ask one model, one request after the other, and try again what is UNAVAILABLE.

    Half of them are unmodified tritonclients in a loop, the others Layer Zoo's client.
    """

    port: int
    model: str
    count: int
    tried_again: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._answered = [0] * self.count
        self._end = threading.Event()

    @property
    def answered(self) -> int:
        """Requests that were answered; 0 until each caller had an answer."""
        return sum(self._answered) if all(self._answered) else 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Ask for as long as the block takes."""
        kinds = (self._with_triton, self._with_zoo)
        threads = [threading.Thread(target=kinds[n % 2], args=(n,)) for n in range(self.count)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._end.set()
            for thread in threads:
                thread.join()

    def _with_triton(self, number: int) -> None:
        with triton.InferenceServerClient(f"127.0.0.1:{self.port}") as client:
            self._ask(number, lambda row: self._persist(client, row))

    def _with_zoo(self, number: int) -> None:
        with Client(f"127.0.0.1:{self.port}", timeout=300) as client:
            self._ask(number, lambda row: client.infer(self.model, {"x": row})["y"])

    def _ask(self, number: int, call: Callable[[np.ndarray], np.ndarray]) -> None:
        row = ROW + number
        while not self._end.is_set():
            began = time.monotonic()
            try:
                right = bool((call(row) == row).all())
                failure = "" if right else "another caller's answer"
            except (triton.InferenceServerException, ClientError) as error:
                failure = f"{type(error).__name__}: {error}"
            with self._lock:
                self._answered[number] += not failure
                self.slowest = max(self.slowest, time.monotonic() - began)
                if failure:
                    self.failures.append(failure)

    def _persist(self, client: triton.InferenceServerClient, row: np.ndarray) -> np.ndarray:
        for left in reversed(range(_TRIES)):
            try:
                return infer(client, self.model, row)
            except triton.InferenceServerException as error:
                if not left or error.status() != "StatusCode.UNAVAILABLE":
                    raise
            with self._lock:
                self.tried_again += 1
            time.sleep(_WAIT)
        raise AssertionError("unreachable")


def seconds_until(condition: Callable[[], object], limit: float) -> float:
    """Return how long it took until the condition held; AssertionError after the limit."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit, f"it did not come about within {limit} s"
        time.sleep(0.1)
    return round(time.monotonic() - began, 1)
