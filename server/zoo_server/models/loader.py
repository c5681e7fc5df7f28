"""Loads a model from disk into catalog entries, each version alone: a bad one does not stop the others.

scan ──> config.pbtxt ──> versions ──> open the graph ──> complete and check ──> LoadedModel
         └───────── plan ────────┘     └──────────────── load ────────────────────────┘
"""

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from zoo_server.errors import ModelLoadError, ServerExiting
from zoo_server.inference.cancellation import Cancellation
from zoo_server.inference.model import LoadedModel
from zoo_server.model_config import EnsembleStep, ModelSettings
from zoo_server.models.assembly import loaded_model
from zoo_server.models.catalog import Catalog, CatalogEntry, ModelState
from zoo_server.models.dependencies import Dependencies
from zoo_server.models.ensemble_loading import load_ensemble, made_of
from zoo_server.models.entries import failed
from zoo_server.models.load_threads import LoadThreads
from zoo_server.models.model_runtime import LoadedGraph, ModelRuntime
from zoo_server.models.self_test import run_self_test
from zoo_server.models.warm_up import try_out, warm_up
from zoo_server.repository import autocomplete, config_pbtxt, vectors
from zoo_server.repository.ensembles import steps_of
from zoo_server.repository.external_data import check_external_data
from zoo_server.repository.scan import ModelFiles
from zoo_server.repository.scheduling import isolation_of
from zoo_server.repository.session_settings import idle_settings, session_settings
from zoo_server.repository.warm_ups import warm_ups_of
from zoo_server.telemetry import memory

_LOG = logging.getLogger(__name__)


#: A graph file below this may be too small for threads of its own: it is timed.
_SMALL_BYTES = 1 << 20

#: What a session may take beside its weights, in bytes, without that it is seen.
_MOST_BESIDE_FILES = 16 << 20

#: A run of one row that takes less is over before a thread pool would have woken.
_SMALL_RUN_NS = 1_000_000


#: Names the model, the version, and the node.
_ENDS_ON_DATA = (
    "model '%s' version %d: %s may end the server's process, by the data of a request alone: "
    'the parameter isolation "process" in config.pbtxt gives the model a process of its own'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One model, read as far as is possible without opening a graph."""

    files: ModelFiles
    config: config_pbtxt.ModelConfig | None
    batching_written: bool
    versions: tuple[int, ...]
    #: Of an ensemble.
    steps: tuple[EnsembleStep, ...] = ()
    #: What the models of an ensemble were when it was planned.
    made_of: object = None

    def origin(self, version: int) -> object:
        """Return what a version is made of; equal for one that need not be loaded again."""
        files = self.files
        stamps = files.stamp, files.version_stamps.get(version)
        return stamps, files.config_file, files.config_json, self.made_of


class Loader:
    """Turns what lies in a repository into catalog entries."""

    def __init__(self, runtime: ModelRuntime, threads: LoadThreads, catalog: Catalog) -> None:
        """`catalog` has the models that ensembles are made of."""
        self._runtime = runtime
        self._threads = threads
        self._catalog = catalog
        self.dependencies = Dependencies()

    def plan(self, files: ModelFiles) -> LoadPlan:
        """Read a model's configuration and choose its versions; ModelLoadError if that fails."""
        if files.fault is not None:
            raise ModelLoadError(files.fault)
        files_lease = files.fetch(None)
        written = config_pbtxt.read(files)
        del files_lease
        steps = steps_of(written.config) if written.config is not None else ()
        self.dependencies.record(files.name, [step.model for step in steps])
        plan = LoadPlan(
            files=files,
            config=written.config,
            batching_written=written.batching,
            versions=tuple(config_pbtxt.choose_versions(written.config, files.versions)),
            steps=steps,
            made_of=made_of(steps, self._catalog),
        )
        if written.config is not None:
            _say_idle(files.name, written.config, self._runtime)
        return plan

    def renewed(self, plan: LoadPlan) -> LoadPlan:
        """Return the plan of an ensemble for its models as they are by now."""
        return replace(plan, made_of=made_of(plan.steps, self._catalog))

    def load(self, plan: LoadPlan, version: int) -> CatalogEntry:
        """Load one version; an entry that is UNAVAILABLE says why it cannot be served."""
        try:
            model = self._ensemble(plan, version) if plan.steps else self._graph(plan, version)
        except ServerExiting:
            raise
        except Exception as error:  # whatever it is, the other models are served
            entry = failed(plan.files.name, version, error)
            # Its frames hold the graph, and the future that brought it, which holds the error.
            error.__traceback__ = None
            return entry
        return CatalogEntry(
            name=plan.files.name,
            version=version,
            state=ModelState.READY,
            model=model,
            origin=plan.origin(version),
        )

    def _graph(self, plan: LoadPlan, version: int) -> LoadedModel:
        return self._threads.run(partial(_load_version, plan, version, self._runtime))

    def _ensemble(self, plan: LoadPlan, version: int) -> LoadedModel:
        """Not in a thread for loads: its models may be loaded for it, and need theirs."""
        assert plan.config is not None
        files_lease = plan.files.fetch(None)
        model = load_ensemble(
            plan.files,
            plan.config,
            plan.steps,
            version,
            self._catalog,
            self._runtime.workers,
            self._runtime.journal,
            self._runtime.cache,
        )
        model.files_lease = files_lease
        return model


def _load_version(
    plan: LoadPlan, version: int, runtime: ModelRuntime, cancellation: Cancellation
) -> LoadedModel:
    began, before = time.perf_counter(), memory.resident_bytes()
    files, written = plan.files, plan.config
    files_lease = files.fetch(None), files.fetch(version)
    path = config_pbtxt.model_file(files, written, version)
    session = session_settings(written)
    requested = session.threads
    opener = runtime.opener
    isolation = isolation_of(written) if written is not None else None
    if isolation is not None:
        opener = opener.isolated(isolation)
    files.confinement.check(path, f"{path.parent.name}/{path.name}", config_pbtxt.MAX_GRAPH_BYTES)
    beside = check_external_data(files.confinement, path)
    threads = requested or _first_guess(path, beside, opener.threads)
    graph = opener.open(path, threads, cancellation, session)
    if graph.traits.ends_on_data and isolation is None:
        _LOG.warning(_ENDS_ON_DATA, files.name, version, graph.traits.ends_on_data)
    config, settings = _settings(plan, version, graph)
    run_ns = try_out(graph, settings, runtime.timer, cancellation)
    if not requested and graph.threads < opener.threads and run_ns >= _SMALL_RUN_NS:
        graph = opener.open(path, opener.threads, cancellation, session)
        run_ns = try_out(graph, settings, runtime.timer, cancellation)
    if runtime.self_test:
        verdict = _self_test(files, path, graph, cancellation)
        _LOG.info("model '%s' version %d: self-test: %s", files.name, version, verdict)
    warm_up(graph, settings, warm_ups_of(config, graph.inputs), files, cancellation)
    model = loaded_model(settings, graph, run_ns, runtime)
    size = files.graph_bytes(version)
    # What other loads and requests took meanwhile is not this model's: hence a limit.
    grown = min(memory.resident_bytes() - before, 4 * size + _MOST_BESIDE_FILES)
    model.memory_bytes = max(size, grown)
    model.load_seconds = time.perf_counter() - began
    model.files_lease = files_lease
    return model


def _settings(
    plan: LoadPlan, version: int, graph: LoadedGraph
) -> tuple[config_pbtxt.ModelConfig, ModelSettings]:
    """Complete a version's configuration from its graph; the log says what was derived."""
    files = plan.files
    signature = autocomplete.Signature(inputs=graph.inputs, outputs=graph.outputs)
    config, derived = autocomplete.complete(
        files.name, plan.config, signature, batching_written=plan.batching_written
    )
    if derived:
        _LOG.info("model '%s' version %d: derived %s", files.name, version, derived)
    settings = autocomplete.settings_of(
        config,
        signature,
        version=version,
        read_labels=partial(config_pbtxt.read_labels, files),
    )
    return config, settings


def _self_test(
    files: ModelFiles, path: Path, graph: LoadedGraph, cancellation: Cancellation
) -> str:
    """Hold a graph against the vectors in its folder; return what was done, for the log."""
    if files.file is not None:
        return "a bare file has no folder of test vectors"  # those beside it may be another's
    tolerance = vectors.read_tolerance(files.confinement, path)
    if tolerance is None:
        return "left out: its manifest says that it is not meant to be equal"
    sets = vectors.read_vectors(files.confinement, path.parent)
    run_self_test(graph, sets, tolerance, cancellation)
    return f"{len(sets)} sets of test vectors answered right" if sets else "no test vectors"


def _first_guess(path: Path, beside: int, threads: int) -> int:
    """Return the threads to try first: handing a tiny run to a pool costs more than the run.

    `beside` are the bytes of its external data.
    """
    try:
        return 1 if path.stat().st_size + beside < _SMALL_BYTES else threads
    except OSError:
        return threads  # opening it says what is wrong


def _say_idle(name: str, config: config_pbtxt.ModelConfig, runtime: ModelRuntime) -> None:
    idle = idle_settings(config)
    if config.response_cache.enable and runtime.cache is None:
        idle.append("response_cache (the server was started without --cache-config)")
    limited = any(group.HasField("rate_limiter") for group in config.instance_group)
    if limited and runtime.limiter is None:
        idle.append("rate_limiter (the server was started without --rate-limit execution_count)")
    if idle:
        _LOG.info("model '%s': %s accepted, not acted upon", name, ", ".join(idle))
