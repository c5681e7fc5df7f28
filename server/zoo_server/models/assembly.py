"""Puts a loaded version together: its graph, what checks its requests, and the schedulers it asks for.

response cache ──┐
pictures ────────┼──> dynamic batcher ──> graph
sequence batcher ┘
"""

from zoo_server.inference.caching import CachedRunner, CachingScheduler
from zoo_server.inference.execution import Rows
from zoo_server.inference.model import GraphRunner, LoadedModel
from zoo_server.inference.pictures import PictureScheduler
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.validation import RequestChecker
from zoo_server.model_config import ModelSettings
from zoo_server.models.model_runtime import LoadedGraph, ModelRuntime
from zoo_server.schedulers.dynamic_batcher import DynamicBatcher
from zoo_server.schedulers.latency_model import LatencyModel
from zoo_server.schedulers.limited_batcher import LimitedBatcher
from zoo_server.schedulers.scheduler import Runner, Scheduler
from zoo_server.schedulers.sequence_batcher import SequenceBatcher
from zoo_server.telemetry.requests import RunObserver
from zoo_server.telemetry.statistics import ModelStatistics


def loaded_model(
    settings: ModelSettings, graph: LoadedGraph, trial_ns: int, runtime: ModelRuntime
) -> LoadedModel:
    """Put a version together; `trial_ns` is what a run of one row took, 0 if that is not known."""
    checker = RequestChecker(settings, graph.traits)
    latency = LatencyModel(comparable=checker.rows_are_alike)
    if trial_ns:
        size, key = checker.smallest()
        latency.begin(size, trial_ns, key)
    states = settings.sequences.states if settings.sequences is not None else ()
    observer = None
    if runtime.journal is not None:
        observer = RunObserver(runtime.journal, settings.name, settings.version)
    runner = GraphRunner(
        graph,
        ModelStatistics(),
        latency.learn,
        runtime.watch,
        always=tuple(state.output for state in states),
        ragged=settings.ragged,
        observer=observer,
    )
    scheduler = _scheduler(settings, runner, latency, runtime, observer, checker)
    return LoadedModel(settings, runner, scheduler, checker)


def _scheduler(
    settings: ModelSettings,
    runner: GraphRunner,
    latency: LatencyModel,
    runtime: ModelRuntime,
    observer: RunObserver | None,
    checker: RequestChecker,
) -> Scheduler[QueuedRequest]:
    """Return the scheduler that the configuration asks for."""

    def batcher(driven: Runner[QueuedRequest, Rows]) -> DynamicBatcher[QueuedRequest, Rows]:
        batching, workers, timer = settings.batching, runtime.workers, runtime.timer
        arguments = batching, driven, latency, workers, timer, runtime.max_queue_size
        if batching.limits and runtime.limiter is not None:
            return LimitedBatcher(runtime.limiter.pool(batching.limits), *arguments)
        return DynamicBatcher(*arguments)

    def reader(driven: Runner[QueuedRequest, Rows]) -> Scheduler[QueuedRequest]:
        inputs = settings.inputs
        if not any(tensor.image for tensor in inputs):
            return batcher(driven)
        return PictureScheduler(
            settings.name, inputs, checker, batcher(driven), driven, runtime.pictures
        )

    if settings.response_cache and runtime.cache is not None:
        return CachingScheduler(
            runtime.cache,
            runner,
            lambda answers: reader(CachedRunner(runner, answers)),
            runner.statistics,
            runtime.workers,
            in_order=settings.batching.preserves_order,
            observer=observer,
        )
    if settings.sequences is None:
        return reader(runner)
    return SequenceBatcher(
        settings.name,
        settings.sequences,
        runner,
        batcher,
        batched=settings.max_batch_size > 0,
        output_of=Rows.array,
        timer=runtime.timer,
        waiting=runtime.waiting,
    )
