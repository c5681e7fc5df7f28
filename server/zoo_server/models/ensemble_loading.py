"""Loads ensembles: what they are made of is loaded before, by whoever calls."""

import time
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial

from zoo_server.errors import ModelLoadError, ServerError
from zoo_server.inference.caching import CachingScheduler
from zoo_server.inference.ensemble import EnsembleRunner, EnsembleScheduler, Find
from zoo_server.inference.execution import Rows, Run
from zoo_server.inference.model import LoadedModel
from zoo_server.inference.queued_request import QueuedRequest
from zoo_server.inference.validation import RequestChecker
from zoo_server.model_config import EnsembleStep
from zoo_server.models.catalog import Catalog
from zoo_server.repository import config_pbtxt
from zoo_server.repository.ensembles import ensemble_settings
from zoo_server.repository.scan import ModelFiles
from zoo_server.schedulers.response_cache import ResponseCache
from zoo_server.schedulers.scheduler import Answers, Scheduler
from zoo_server.telemetry.requests import RequestJournal, RunObserver


def load_ensemble(
    files: ModelFiles,
    config: config_pbtxt.ModelConfig,
    steps: tuple[EnsembleStep, ...],
    version: int,
    catalog: Catalog,
    workers: Executor,
    journal: RequestJournal | None = None,
    cache: ResponseCache[Run] | None = None,
) -> LoadedModel:
    """Return a version of an ensemble; ModelLoadError if it does not fit the models of its steps.

    `journal` hears of its requests; `cache` keeps their answers if the configuration says so.
    """
    began = time.perf_counter()
    models = [_model_of(step, catalog.find) for step in steps]
    settings = ensemble_settings(
        files.name,
        config,
        steps,
        [model.settings for model in models],
        version=version,
        read_labels=partial(config_pbtxt.read_labels, files),
    )
    observer = None if journal is None else RunObserver(journal, files.name, version)
    runner = EnsembleRunner(observer)

    def ensemble(answers: Answers[QueuedRequest, Rows]) -> EnsembleScheduler:
        begins = workers if catalog.is_lazy else None
        return EnsembleScheduler(files.name, steps, catalog.find, runner, answers, begins)

    scheduler: Scheduler[QueuedRequest] = (
        CachingScheduler(cache, runner, ensemble, runner.statistics, workers, observer=observer)
        if settings.response_cache and cache is not None
        else ensemble(runner)
    )
    model = LoadedModel(settings, runner, scheduler, RequestChecker(settings))
    model.load_seconds = time.perf_counter() - began
    return model


def made_of(steps: Sequence[EnsembleStep], catalog: Catalog) -> object:
    """Return what the models of an ensemble are at present: equal for as long as they stay."""
    return tuple(
        (name, model.settings.version, model.loaded_ns)
        for name in dict.fromkeys(step.model for step in steps)
        for model in catalog.ready_versions(name)
    )


def _model_of(step: EnsembleStep, find: Find) -> LoadedModel:
    try:
        return find(step.model, step.version)
    except ServerError as error:
        which = f" version {step.version}" if step.version else ""
        raise ModelLoadError(
            f"the ensemble depends on model '{step.model}'{which}, which is not ready: {error}"
        ) from None
