"""The dynamic batcher of a model whose instances the rate limiter lets run.

A batch is taken from the queue once an instance may run it, so that what comes meanwhile joins it.
"""

from concurrent.futures import Executor

from zoo_server.model_config import Batching
from zoo_server.schedulers.dynamic_batcher import DynamicBatcher, R
from zoo_server.schedulers.latency_model import LatencyModel
from zoo_server.schedulers.member import Decision, M
from zoo_server.schedulers.rate_limiter import Instance, InstancePool
from zoo_server.schedulers.scheduler import Runner
from zoo_server.schedulers.timer import Timer


class LimitedBatcher(DynamicBatcher[M, R]):
    """A DynamicBatcher that asks for an instance before each run."""

    def __init__(
        self,
        pool: InstancePool,
        batching: Batching,
        runner: Runner[M, R],
        latency: LatencyModel,
        workers: Executor,
        timer: Timer,
        most_waiting: int = 0,
    ) -> None:
        """`pool` has the model's instances; the other arguments are DynamicBatcher's."""
        super().__init__(batching, runner, latency, workers, timer, most_waiting)
        self._direct = False
        self._pool = pool
        #: The instances of the batches under way, by the batch's identity.
        self._instances_of_batches: dict[int, Instance] = {}
        pool.wake_with(self._wake)

    def _next(self) -> Decision[M]:
        with self._lock:
            if not len(self._queue):
                self._pool.withdraw()
                return self._nothing
        instance = self._pool.take()
        if instance is None:
            return self._nothing
        decision = super()._next()
        if decision.batch:
            self._instances_of_batches[id(decision.batch)] = instance
        else:
            self._pool.release(instance, ran=False)
        return decision

    def _run(self, batch: list[M], *, waits: bool) -> None:
        super()._run(batch, waits=waits)
        self._pool.release(self._instances_of_batches.pop(id(batch)))
