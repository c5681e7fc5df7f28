"""The rate limiter: which model's instance runs next, where what they need does not suffice for all.

    take ──> resources free, and no other's turn is earlier? ──yes──> an instance, until `release`
                       └─ no ──> the model waits, and is woken when it may be its turn

The meanings are Triton's: an instance needs so many of each resource while it runs, a resource is
that of a device or of the whole server, and there are as many as one instance needs at most, unless
--rate-limit-resource says how many. An instance of priority 2 gets half the turns of one of priority 1.
Whose turn is first and finds too little is waited for, so that a large need is met. Unlike Triton's
count of all runs, a turn that is missed is not made up for: a model that was idle, or was loaded
later, does not stop the others until it has caught up.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from zoo_server.errors import ModelLoadError
from zoo_server.model_config import InstanceLimit, Resource

#: A resource of a device, or with None of the whole server, by its name in lower case.
_Key = tuple[str, int | None]

#: How many there are of a resource, by device; None stands for every device.
Available = Mapping[str, Mapping[int | None, int]]


@dataclass(slots=True, eq=False)
class Instance:
    """What one run of a model needs, and when its next turn is."""

    needs: Mapping[_Key, int]
    priority: int
    turn: int = 0
    running: bool = False


class InstancePool:
    """The instances of one model."""

    def __init__(self, limiter: "RateLimiter", instances: Sequence[Instance]) -> None:
        self.limiter = limiter
        self.instances = tuple(instances)
        self.wake: Callable[[], Callable[[], None] | None] = lambda: None

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Call a method of an object, for as long as that lives, when `take` is worth another try."""
        self.wake = weakref.WeakMethod(wake)

    def idle(self) -> Instance | None:
        """Return the instance whose turn is first of those that do not run."""
        return min(
            (instance for instance in self.instances if not instance.running),
            key=lambda instance: instance.turn,
            default=None,
        )

    def take(self) -> Instance | None:
        """Return an instance that may run now, to be released; None if the model is to wait."""
        return self.limiter.take(self)

    def release(self, instance: Instance, *, ran: bool = True) -> None:
        """Give an instance back; one that was not run keeps its turn."""
        self.limiter.release(instance, ran=ran)

    def withdraw(self) -> None:
        """Wait no more: nothing is to be run."""
        self.limiter.withdraw(self)


class RateLimiter:
    """Shares resources among the instances of all models; used by any number of threads at once."""

    def __init__(self, available: Available | None = None) -> None:
        """`available`: how many there are; of others, if any is given, there are none."""
        self._available = available or {}
        self._lock = threading.Lock()
        self._pools: weakref.WeakSet[InstancePool] = weakref.WeakSet()
        #: Where nothing is said, how many there are; and of how many pools that is the most.
        self._most: dict[_Key, int] = {}
        self._pool_count = 0
        self._used: dict[_Key, int] = {}
        #: Those that wait, with the order in which they came.
        self._waiting: dict[InstancePool, int] = {}
        self._order = itertools.count()
        #: The turn of who was let through last.
        self._now = 0

    def pool(self, limits: Sequence[InstanceLimit]) -> InstancePool:
        """Return the pool of a model's instances; ModelLoadError if one of them could never run."""
        pool = InstancePool(
            self, [Instance(_needs(each), max(1, each.priority)) for each in limits]
        )
        with self._lock:
            self._check(pool)
            self._pools.add(pool)
            self._count()
        return pool

    def take(self, pool: InstancePool) -> Instance | None:
        """Return an instance that may run now; else the pool waits, unless all of it runs."""
        with self._lock:
            instance = pool.idle()
            if instance is None:
                return None
            if instance.needs and (self._has_to_wait(pool) or not self._fits(instance)):
                self._waiting.setdefault(pool, next(self._order))
                return None
            self._waiting.pop(pool, None)
            for key, count in instance.needs.items():
                self._used[key] = self._used.get(key, 0) + count
            self._now = max(self._now, instance.turn)
            instance.turn = self._now + instance.priority
            instance.running = True
            wake = self._next()
        wake()
        return instance

    def release(self, instance: Instance, *, ran: bool) -> None:
        """Take back what an instance needed."""
        with self._lock:
            for key, count in instance.needs.items():
                self._used[key] -= count
            instance.running = False
            if not ran:
                instance.turn -= instance.priority
            wake = self._next()
        wake()

    def withdraw(self, pool: InstancePool) -> None:
        """Let a pool wait no more."""
        with self._lock:
            if self._waiting.pop(pool, None) is None:
                return
            wake = self._next()
        wake()

    # -- with the lock held ------------------------------------------------------------------------

    def _turn(self, pool: InstancePool) -> tuple[int, int]:
        """Return what a waiting pool stands in line by: its turn, then when it came."""
        instance = pool.idle()
        turn = 0 if instance is None else max(instance.turn, self._now)
        return turn, self._waiting[pool]

    def _has_to_wait(self, pool: InstancePool) -> bool:
        """Tell whether another's turn is before that of a pool, waiting or just come."""
        if not self._waiting:
            return False
        self._waiting.setdefault(pool, next(self._order))
        return min(self._waiting, key=self._turn) is not pool

    def _next(self) -> Callable[[], None]:
        """Return what wakes the pool whose turn is next, if it can run."""
        while self._waiting:
            pool = min(self._waiting, key=self._turn)
            wake, instance = pool.wake(), pool.idle()
            if wake is None or instance is None:
                del self._waiting[pool]  # its model is gone, or all of it runs
            elif self._fits(instance):
                return wake
            else:
                break
        return _nothing

    def _fits(self, instance: Instance) -> bool:
        return all(
            self._used.get(key, 0) + count <= self._limit(key)
            for key, count in instance.needs.items()
        )

    def _limit(self, key: _Key) -> int:
        if not self._available:
            if len(self._pools) != self._pool_count:
                self._count()
            return self._most.get(key, 0)
        name, device = key
        counts = self._available.get(name, {})
        if device is None:
            return max(counts.values(), default=0)
        return max(counts.get(device, 0), counts.get(None, 0))

    def _count(self) -> None:
        """Find how many there are of each resource, where nothing is said: the most that one needs."""
        self._most = {}
        pools = list(self._pools)
        for instance in (each for pool in pools for each in pool.instances):
            for key, count in instance.needs.items():
                self._most[key] = max(self._most.get(key, 0), count)
        self._pool_count = len(pools)

    def _check(self, pool: InstancePool) -> None:
        """Refuse instances that could never run, with Triton's words."""
        needed = {key: count for each in pool.instances for key, count in each.needs.items()}
        known = {key for other in self._pools for each in other.instances for key in each.needs}
        for name, device in needed:
            if any(
                other == name and (elsewhere is None) != (device is None)
                for other, elsewhere in (*known, *needed)
            ):
                raise ModelLoadError(
                    f'Resource "{name}" is present as both global and device-specific resource in '
                    "the model configuration."
                )
        if not self._available:
            return
        for key, count in ((k, c) for each in pool.instances for k, c in each.needs.items()):
            limit = self._limit(key)
            if limit < count:
                raise ModelLoadError(
                    f'Resource count for "{key[0]}" is limited to {limit} which will prevent '
                    "scheduling of one or more model instances, the minimum required count is "
                    f"{count}"
                )


def _needs(limit: InstanceLimit) -> dict[_Key, int]:
    return {_key(resource, limit.device): resource.count for resource in limit.resources}


def _key(resource: Resource, device: int) -> _Key:
    return resource.name.lower(), None if resource.is_global else device


def _nothing() -> None:
    """Nobody is to be woken."""
