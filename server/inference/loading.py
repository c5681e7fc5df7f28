"""From a repository on disk to a catalog: each model alone, so that a bad one stops no other.

scan ──> config.pbtxt ──> versions ──> open the graph ──> complete and check ──> LoadedModel
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from server.errors import ModelLoadError
from server.inference.catalog import Catalog, CatalogEntry, ModelState
from server.inference.model import Graph, LoadedModel
from server.repository import completion, configuration
from server.repository.scan import FoundModel, scan
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


def load_repository(repository: Path, opener: GraphOpener) -> Catalog:
    """Load every model of a repository; one that cannot be served is listed with its reason.

    ConfigurationError if the repository itself cannot be read.
    """
    found = scan(repository)
    if not found:
        _LOG.warning("no models in '%s': nothing to serve", repository)
    return Catalog(entry for model in found for entry in load_model(model, opener))


def load_model(found: FoundModel, opener: GraphOpener) -> Iterator[CatalogEntry]:
    """Yield an entry for each version that should be served."""
    try:
        if found.fault is not None:
            raise ModelLoadError(found.fault)
        config = configuration.read(found)
        batching_written = configuration.mentions_batching(found)
        versions = configuration.choose_versions(config, found.versions)
    except Exception as error:  # whatever it is, the other models are served
        yield _failed(found.name, None, error)
        return
    _say_idle(found.name, config)
    for version in versions:
        try:
            model = _load_version(found, config, version, opener, batching_written)
        except Exception as error:
            yield _failed(found.name, version, error)
        else:
            yield CatalogEntry(
                name=found.name, version=version, state=ModelState.READY, model=model
            )


def _load_version(
    found: FoundModel,
    written: configuration.ModelConfig | None,
    version: int,
    opener: GraphOpener,
    batching_written: bool,
) -> LoadedModel:
    graph = opener.open(configuration.model_file(found, written, version))
    signature = completion.Signature(inputs=graph.inputs, outputs=graph.outputs)
    config, derived = completion.complete(
        found.name, written, signature, batching_written=batching_written
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


def _failed(name: str, version: int | None, error: Exception) -> CatalogEntry:
    """Log why and keep it for RepositoryIndex; what is no ModelLoadError is our bug."""
    place = f"model '{name}'" + (f" version {version}" if version is not None else "")
    if isinstance(error, ModelLoadError):
        reason = str(error)
        _LOG.error("%s is not served: %s", place, reason)
    else:
        reason = f"failed to load: unexpected {type(error).__name__}, see the server's log"
        _LOG.error("%s is not served", place, exc_info=error)
    return CatalogEntry(name=name, version=version, state=ModelState.UNAVAILABLE, reason=reason)
