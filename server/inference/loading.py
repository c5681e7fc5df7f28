"""From a repository on disk to a catalog: each model alone, so that a bad one stops no other.

scan ──> config.pbtxt ──> versions ──> open the graph ──> complete and check ──> [self-test]
                                                                             ──> LoadedModel
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from server.errors import ModelLoadError
from server.inference.catalog import Catalog, CatalogEntry, ModelState
from server.inference.model import LoadedModel
from server.inference.self_test import SignedGraph, examine
from server.repository import completion, configuration, vectors
from server.repository.scan import FoundModel, scan

_LOG = logging.getLogger(__name__)


class GraphOpener(Protocol):
    """What opens graphs: server.runtime.session.Runtime, or a fake in a test."""

    def open(self, path: Path) -> SignedGraph:
        """Load a graph; ModelLoadError says why it cannot be served."""


def load_repository(repository: Path, opener: GraphOpener, *, self_test: bool = False) -> Catalog:
    """Load every model of a repository; one that cannot be served is listed with its reason.

    With `self_test`, a version with test vectors is served only if it answers them right.
    ConfigurationError if the repository itself cannot be read.
    """
    found = scan(repository)
    if not found:
        _LOG.warning("no models in '%s': nothing to serve", repository)
    return Catalog(
        entry for model in found for entry in load_model(model, opener, self_test=self_test)
    )


def load_model(
    found: FoundModel, opener: GraphOpener, *, self_test: bool = False
) -> Iterator[CatalogEntry]:
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
            model = _load_version(
                found, config, version, opener, batching_written, self_test=self_test
            )
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
    *,
    self_test: bool,
) -> LoadedModel:
    path = configuration.model_file(found, written, version)
    graph = opener.open(path)
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
    if self_test:
        verdict = _self_test(found, path, graph)
        _LOG.info("model '%s' version %d: self-test: %s", found.name, version, verdict)
    return LoadedModel(settings, graph)


def _self_test(found: FoundModel, path: Path, graph: SignedGraph) -> str:
    """Hold a graph against the vectors in its folder; return what was done, for the log."""
    if found.file is not None:
        return "a bare file has no folder of test vectors"  # those beside it may be another's
    bound = vectors.read_bound(path)
    if bound is None:
        return "left out: its manifest says that it is not meant to be equal"
    sets = vectors.read_vectors(path.parent)
    examine(graph, sets, bound)
    return f"{len(sets)} sets of test vectors answered right" if sets else "no test vectors"


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
