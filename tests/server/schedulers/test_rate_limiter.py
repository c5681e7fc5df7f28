"""The rate limiter: turns and resources by themselves, and models that share them on the wire."""

import gc
from collections import Counter

import grpc
import numpy as np
import pytest

from tests.server.grpc_callers import infer_request
from tests.waiting import until
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError, ModelLoadError
from zoo_server.model_config import InstanceLimit, Resource
from zoo_server.schedulers.rate_limiter import RateLimiter


def limit(priority: int = 1, device: int = 0, **resources: int) -> InstanceLimit:
    """Return one instance's; a resource whose name begins with `all_` is global."""
    return InstanceLimit(
        resources=tuple(
            Resource(name=name, count=count, is_global=name.startswith("all_"))
            for name, count in resources.items()
        ),
        priority=priority,
        device=device,
    )


class Model:
    """A model with work at all times; `woken` counts how often it was called."""

    def __init__(self, limiter: RateLimiter, *limits: InstanceLimit) -> None:
        self.pool = limiter.pool(limits)
        self.pool.wake_with(self.wake)
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


def test_there_are_as_many_as_one_instance_needs_at_most():
    """Triton's example: R1 is 4, R2 is 5, R3 is 10, so that A and B, or B and C, cannot run at once."""
    limiter = RateLimiter()
    a = Model(limiter, limit(R1=4, R2=4))
    b = Model(limiter, limit(R2=5, R3=10, R4=5))
    c = Model(limiter, limit(R1=1, R3=7, R4=2))
    running = b.pool.take()
    assert running is not None
    assert (a.pool.take(), c.pool.take()) == (None, None)
    b.pool.release(running)
    assert (a.woken, c.woken) == (1, 0)
    first = a.pool.take()
    assert first is not None
    assert c.pool.take() is None  # R1: 4 of 4 are taken
    assert b.pool.take() is None
    a.pool.release(first)
    assert c.woken == 1
    assert c.pool.take() is not None


@pytest.mark.parametrize(
    ("available", "together"), [(None, 1), ({"r": {None: 4}}, 2), ({"r": {0: 6}}, 3)]
)
def test_what_the_server_says_goes_before(available, together):
    """Instances of one model share as well; a device's own number counts on that device."""
    model = Model(RateLimiter(available), *[limit(r=2)] * 5)
    taken = [model.pool.take() for _ in range(5)]

    assert sum(instance is not None for instance in taken) == together


def test_devices_have_their_own_and_global_ones_are_shared():
    """Case does not matter for a name."""
    limiter = RateLimiter()
    one, two = Model(limiter, limit(R=1)), Model(limiter, limit(r=1, device=1))
    assert one.pool.take() is not None
    assert two.pool.take() is not None
    shared = [Model(limiter, limit(all_x=1, device=device)) for device in (2, 3)]
    assert [model.pool.take() is not None for model in shared] == [True, False]


def run(models: dict[str, Model], turns: int) -> Counter[str]:
    """Let models that always want to run share one place; return who ran how often."""
    ran: Counter[str] = Counter()
    for _ in range(turns):
        taken = {}
        for name, model in models.items():
            instance = model.pool.take()
            if instance is not None:
                taken[name] = instance
        assert len(taken) == 1
        for name, instance in taken.items():
            ran[name] += 1
            models[name].pool.release(instance)
    return ran


def test_priority_2_has_half_the_turns_of_priority_1():
    """And one that comes later, or was idle, does not stop the others until it has caught up."""
    limiter = RateLimiter()
    models = {"one": Model(limiter, limit(1, r=1)), "two": Model(limiter, limit(2, r=1))}
    ran = run(models, 300)
    assert (ran["one"], ran["two"]) == (pytest.approx(200, abs=2), pytest.approx(100, abs=2))
    only = {"one": models["one"]}
    models["two"].pool.withdraw()
    assert run(only, 100)["one"] == 100
    models["late"] = Model(limiter, limit(1, r=1))
    ran = run(models, 250)
    assert [ran[name] for name in ("one", "two", "late")] == [
        pytest.approx(n, abs=2) for n in (100, 50, 100)
    ]


def test_a_large_need_is_waited_for():
    """Small ones do not pass by for ever; who withdraws is waited for no longer."""
    limiter = RateLimiter({"r": {None: 3}})
    small, large = Model(limiter, *[limit(r=1)] * 3), Model(limiter, limit(r=3))
    first = small.pool.take()
    second = small.pool.take()
    assert first is not None
    assert second is not None
    assert large.pool.take() is None
    small.pool.release(first)
    assert (small.pool.take(), large.woken) == (None, 0)
    large.pool.withdraw()
    assert small.woken == 1
    assert small.pool.take() is not None


def test_a_model_that_is_gone_is_forgotten():
    """Its needs count no more, and nobody waits for it."""
    limiter = RateLimiter()
    big, small = Model(limiter, limit(r=9)), Model(limiter, *[limit(r=1)] * 3)
    instances = [small.pool.take() for _ in range(3)]
    assert None not in instances
    del big
    gc.collect()
    for instance in instances:
        assert instance is not None
        small.pool.release(instance)

    assert [small.pool.take() is not None for _ in range(3)] == [True, False, False]


def test_what_could_never_run_is_refused():
    """In Triton's words: too few, none on this device, and a name that is of both kinds."""
    little = RateLimiter({"resource1": {None: 3}, "other": {10: 10}})
    with pytest.raises(ModelLoadError, match=r'"resource1" is limited to 3 .* required count is 4'):
        little.pool([limit(resource1=4)])
    for name in ("other", "unknown"):
        with pytest.raises(ModelLoadError, match=f'"{name}" is limited to 0 which will prevent'):
            little.pool([limit(**{name: 1})])
    limiter = RateLimiter()
    kept = limiter.pool([limit(r=1)])
    with pytest.raises(ModelLoadError, match='"r" is present as both global and device-specific'):
        limiter.pool([InstanceLimit(resources=(Resource(name="r", count=1, is_global=True),))])
    assert kept.take() is not None


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"rate_limit": "execution_count", "rate_limit_resource": ("R1:4", "r1:8:1")}, ""),
        ({"rate_limit_resource": ("R1:4",)}, "needs --rate-limit execution_count"),
        ({"rate_limit": "execution_count", "rate_limit_resource": ("R1",)}, "'R1': write NAME:COUNT"),
        ({"rate_limit": "execution_count", "rate_limit_resource": ("R1:x:0",)}, "write NAME:COUNT"),
        ({"rate_limit": "execution_count", "workers": 2}, "needs --workers 1"),
        ({"rate_limit": "sometimes"}, "choose one of off, execution_count"),
    ],
)  # fmt: skip
def test_options(options, fault, tmp_path):
    """Triton's two; what cannot be meant is refused."""
    if fault:
        with pytest.raises(ConfigurationError, match=fault):
            ServerConfig(repository=tmp_path, **options)
    else:
        ServerConfig(repository=tmp_path, **options)


LIMITED = 'instance_group {{ count: 1 rate_limiter {{ resources {{ name: "R1" count: {} }} }} }}'


@pytest.mark.parametrize(("mode", "together"), [("execution_count", False), ("off", True)])
def test_models_that_share_a_resource_take_turns(mode, together, repository, graphs, serve):
    """One runs and the other waits, without a thread; a model without a limit runs meanwhile."""
    for name in ("a", "b"):
        repository.add(name, graphs.slow(), LIMITED.format(2))
    repository.add("free", graphs.slow())
    endless, short = (np.array([number], np.int64) for number in (10**15, 5))
    with serve(repository.path, rate_limit=mode) as wire:
        a, b = (wire.server.catalog.find(name, "").scheduler for name in "ab")
        first = wire.stub.ModelInfer.future(infer_request("a", n=endless))
        until(lambda: a.running)
        second = wire.stub.ModelInfer.future(infer_request("b", n=short))
        until(lambda: second.done() if together else b.waiting)
        assert wire.infer("free", n=short)["y"] == 5
        assert (b.waiting, b.running) == ((0, 0) if together else (1, 0))
        first.cancel()
        assert second.result(timeout=20).raw_output_contents[0] == short.tobytes()
        many = [wire.stub.ModelInfer.future(infer_request(name, n=short)) for name in "ab" * 50]
        assert {call.result(timeout=20).raw_output_contents[0] for call in many} == {
            short.tobytes()
        }


def test_what_waits_for_a_turn_runs_together(repository, graphs, serve):
    """A batch is taken when its instance may run, not before; who leaves meanwhile is not run."""
    repository.add("a", graphs.slow(), LIMITED.format(1))
    repository.add(
        "rows", graphs.identity(), f"max_batch_size: 8 dynamic_batching {{ }} {LIMITED.format(1)}"
    )
    row = np.ones((1, 4), np.float32)
    with serve(repository.path, rate_limit="execution_count") as wire:
        rows = wire.server.catalog.find("rows", "")
        first = wire.stub.ModelInfer.future(infer_request("a", n=np.array([10**15], np.int64)))
        until(lambda: wire.server.catalog.find("a", "").scheduler.running)
        calls = [wire.stub.ModelInfer.future(infer_request("rows", x=row)) for _ in range(5)]
        until(lambda: rows.waiting == 5)
        calls.pop().cancel()
        first.cancel()
        for call in calls:
            assert call.result(timeout=20)
        stats = rows.statistics.snapshot()

    assert (stats.success.count, stats.execution_count) == (4, 1)


def test_a_model_that_could_never_run_is_not_served(repository, graphs, serve):
    """The reason is the load's."""
    repository.add("m", graphs.identity(), LIMITED.format(4))
    options = {"rate_limit": "execution_count", "rate_limit_resource": ("R1:3",)}
    with serve(repository.path, **options) as wire:
        (entry,) = wire.stub.RepositoryIndex(pb.RepositoryIndexRequest()).models
        with pytest.raises(grpc.RpcError):
            wire.infer("m", x=np.ones((1, 4), np.float32))

    assert "the minimum required count is 4" in entry.reason


def test_a_model_whose_reload_was_refused_takes_its_resources_along(repository, graphs, serve):
    """It is unloaded with all that it had: nothing waits for Python to look for circles."""
    limits = "instance_group {{ rate_limiter {{ resources {{ name: 'R' count: 2 {} }} }} }}"
    folder = repository.add("m", graphs.identity(), limits.format(""))
    options = {"rate_limit": "execution_count", "model_control_mode": "explicit"}
    load = pb.RepositoryModelLoadRequest(model_name="m")
    with serve(repository.path, **options, load_model=("m",)) as wire:
        (folder / "config.pbtxt").write_text(limits.format("global: true"))
        gc.collect()
        gc.disable()
        try:
            with pytest.raises(grpc.RpcError, match="both global and device-specific"):
                wire.stub.RepositoryModelLoad(load)
            wire.stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="m"))
            wire.stub.RepositoryModelLoad(load)
        finally:
            gc.enable()
