"""One model over several worker processes: TensorFlow's MultiWorkerMirroredStrategy around our loop.

Every worker has the whole data and takes its share of each batch; Keras sums the gradients of all.
The first one, the chief, alone reads and writes the runs: what it decides, the state that it goes on
from, and its record reach the others over the wire, so that they need no folder in common.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from zoo.errors import CheckFailed, UsageError, first_line
from zoo.training.framework import import_keras

if TYPE_CHECKING:
    import tensorflow as tf

#: TensorFlow's own variable: who the workers are, and which one this process is.
VARIABLE = "TF_CONFIG"

EXAMPLE = '{"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, "task": {"type": "worker", "index": 0}}'


@dataclass(frozen=True, slots=True)
class Cluster:
    """The workers' addresses, HOST:PORT, and this process's place among them; the first is the chief."""

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Cluster | None:
        """Return what TF_CONFIG says, None where it is not set. Raises UsageError if it says nothing sensible."""
        text = environment.get(VARIABLE, "")
        if not text.strip():
            return None
        try:
            values = json.loads(text)
            addresses, task = values["cluster"]["worker"], values["task"]
            place, kind = task["index"], task["type"]
        except (ValueError, TypeError, KeyError) as error:
            what = f"has no {error}" if isinstance(error, KeyError) else "is not its JSON"
            raise UsageError(f"{VARIABLE}={text} {what}: write {EXAMPLE}") from error
        if set(values["cluster"]) != {"worker"} or kind != "worker":
            raise UsageError(
                f"{VARIABLE}={text}: there are workers only, the first of which is the chief: write {EXAMPLE}"
            )
        if not (isinstance(addresses, list) and addresses and all(map(_is_address, addresses))):
            raise UsageError(
                f"{VARIABLE}: worker={addresses!r}: must be a list of HOST:PORT: write {EXAMPLE}"
            )
        if type(place) is not int or not 0 <= place < len(addresses):
            raise UsageError(
                f"{VARIABLE}: index={place!r}: must be from 0 to {len(addresses) - 1}, a place in {addresses}"
            )
        return cls(tuple(addresses), place)

    def to_text(self) -> str:
        """Return it as TF_CONFIG has it."""
        task = {"type": "worker", "index": self.index}
        return json.dumps({"cluster": {"worker": list(self.addresses)}, "task": task})

    def __len__(self) -> int:
        """Return how many workers there are."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Tell whether this process is the one that reads and writes."""
        return self.index == 0


def _is_address(value: object) -> bool:
    if not isinstance(value, str):
        return False
    host, _, port = value.rpartition(":")
    return bool(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65536


@cache
def _strategy(cluster: Cluster | None) -> tf.distribute.Strategy:
    """Join the other workers; waits until all are there. Once a process: TensorFlow allows no second."""
    tf = import_keras().tf
    assert cluster is not None
    os.environ[VARIABLE] = cluster.to_text()
    kinds = tf.distribute.experimental
    # One order of summation whatever the machine has; NCCL is for GPUs.
    options = kinds.CommunicationOptions(implementation=kinds.CommunicationImplementation.RING)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


@dataclass(frozen=True, slots=True)
class Workers:
    """This process among the workers; of one alone every method is what it is without any."""

    cluster: Cluster | None = None

    @property
    def count(self) -> int:
        """Return how many there are."""
        return 1 if self.cluster is None else len(self.cluster)

    @property
    def index(self) -> int:
        """Return this one's place; 0 is the chief's."""
        return 0 if self.cluster is None else self.cluster.index

    def scope(self) -> AbstractContextManager[object]:
        """Return the context to build a model and its optimizer in."""
        return _nothing() if self.cluster is None else _strategy(self.cluster).scope()

    def run(self, step: Callable[[tf.Tensor], tf.Tensor], rows: tf.Tensor) -> tf.Tensor:
        """Call a step with the rows of a whole batch, in each worker."""
        if self.cluster is None:
            return step(rows)
        return _strategy(self.cluster).run(step, args=(rows,))

    def sum(self, value: tf.Tensor) -> tf.Tensor:
        """Return the sum of a value over all workers, the same in each."""
        if self.cluster is None:
            return value
        return _strategy(self.cluster).reduce("SUM", value, axis=None)

    def from_chief(self, content: bytes = b"") -> bytes:
        """Return the chief's bytes in every worker; what the others give is passed over."""
        if self.cluster is None:
            return content
        own = content if self.cluster.is_chief else b""
        (size,) = self._sum_of(np.array([len(own)], np.int32))
        # Sums of four bytes each travel: there is no collective of bytes.
        row = np.zeros(size, np.int32)
        row[: len(own)] = np.frombuffer(own, np.uint8)
        return self._sum_of(row).astype(np.uint8).tobytes() if size else b""

    def others_refusing(self, *, refuses: bool = False) -> int:
        """Return how many workers refuse what the chief decided; each says whether it does."""
        return 0 if self.cluster is None else int(self._sum_of(np.array([refuses], np.int32))[0])

    def _sum_of(self, array: np.ndarray) -> np.ndarray:
        tf = import_keras().tf
        strategy = _strategy(self.cluster)  # before the first tensor: it must find TensorFlow idle
        return np.asarray(
            strategy.reduce("SUM", strategy.run(lambda: tf.constant(array)), axis=None)
        )

    @contextmanager
    def together(self, where: str) -> Iterator[None]:
        """Say in one line what a worker that is gone does to the others. Raises CheckFailed."""
        if self.cluster is None:
            yield
            return
        try:
            yield
        except import_keras().tf.errors.OpError as error:
            raise CheckFailed(
                f"{where}: worker {self.index} of {self.count} lost another one ({first_line(error)}): "
                "start all of them again: the training goes on after its last epoch"
            ) from error


@contextmanager
def _nothing() -> Iterator[None]:
    yield
