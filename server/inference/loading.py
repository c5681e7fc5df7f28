"""From a model on disk to catalog entries: each version alone, so that a bad one stops no other.

scan ──> config.pbtxt ──> versions ──> open the graph ──> complete and check ──> LoadedModel
         └───────── plan ────────┘     └──────────────── load ────────────────────────┘
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from server.errors import ModelLoadError
from server.inference.catalog import CatalogEntry, ModelState
from server.inference.model import Graph, LoadedModel
from server.repository import completion, configuration
from server.repository.scan import FoundModel
from server.tensors import TensorSpec

_LOG = logging.getLogger(__name__)


class LoadedGraph(Graph, Protocol):
    """A graph that also says what it takes and gives."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class GraphOpener(Protocol):
    """What opens graphs: server.runtime.session.Runtime, or a fake in a test."""

    def open(self, path: Path) -> LoadedGraph:
        """Load a graph; ModelLoadError says why it cannot be served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One model, read as far as is possible without opening a graph."""

    found: FoundModel
    config: configuration.ModelConfig | None
    batching_written: bool
    versions: tuple[int, ...]

    def origin(self, version: int) -> object:
        """Return what a version is made of; equal for one that need not be loaded again."""
        found = self.found
        return found.stamp, found.config_file, found.config_json, found.version_stamps.get(version)


class Loader:
    """Turns what lies in a repository into catalog entries."""

    def __init__(self, opener: GraphOpener) -> None:
        self._opener = opener

    def plan(self, found: FoundModel) -> LoadPlan:
        """Read a model's configuration and choose its versions; ModelLoadError if that fails."""
        if found.fault is not None:
            raise ModelLoadError(found.fault)
        config = configuration.read(found)
        plan = LoadPlan(
            found=found,
            config=config,
            batching_written=configuration.mentions_batching(found),
            versions=tuple(configuration.choose_versions(config, found.versions)),
        )
        _say_idle(found.name, config)
        return plan

    def load(self, plan: LoadPlan, version: int) -> CatalogEntry:
        """Load one version; an entry that is UNAVAILABLE says why it cannot be served."""
        try:
            model = self._model(plan, version)
        except Exception as error:  # whatever it is, the other models are served
            return failed(plan.found.name, version, error)
        return CatalogEntry(
            name=plan.found.name,
            version=version,
            state=ModelState.READY,
            model=model,
            origin=plan.origin(version),
        )

    def _model(self, plan: LoadPlan, version: int) -> LoadedModel:
        found = plan.found
        graph = self._opener.open(configuration.model_file(found, plan.config, version))
        signature = completion.Signature(inputs=graph.inputs, outputs=graph.outputs)
        config, derived = completion.complete(
            found.name, plan.config, signature, batching_written=plan.batching_written
        )
        if derived:
            _LOG.info("model '%s' version %d: derived %s", found.name, version, derived)
        settings = completion.settings_of(
            config,
            signature,
            version=version,
            read_labels=lambda filename: configuration.read_labels(found.folder, filename),
        )
        return LoadedModel(settings, graph)


def _say_idle(name: str, config: configuration.ModelConfig | None) -> None:
    idle = configuration.idle_settings(config)
    if idle:
        _LOG.info("model '%s': %s accepted, not acted upon", name, ", ".join(idle))


def failed(name: str, version: int | None, error: Exception) -> CatalogEntry:
    """Return the entry of what cannot be served, and log why; what is no ModelLoadError is our bug."""
    place = f"model '{name}'" + (f" version {version}" if version is not None else "")
    if isinstance(error, ModelLoadError):
        reason = str(error)
        _LOG.error("%s is not served: %s", place, reason)
    else:
        reason = f"failed to load: unexpected {type(error).__name__}, see the server's log"
        _LOG.error("%s is not served", place, exc_info=error)
    return CatalogEntry(name=name, version=version, state=ModelState.UNAVAILABLE, reason=reason)
