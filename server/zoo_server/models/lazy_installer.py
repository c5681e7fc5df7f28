"""Installs models that are loaded when a request asks for them, where not all are to be in memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from zoo_server.errors import ModelLoadError, ServerError
from zoo_server.inference.model import LoadedModel
from zoo_server.models.catalog import Catalog, CatalogEntry, ModelState
from zoo_server.models.entries import UNLOADED, dormant, failed
from zoo_server.models.installer import Installer
from zoo_server.models.load_override import poll_failure
from zoo_server.models.loader import Loader
from zoo_server.models.residency import Residency
from zoo_server.repository.scan import ModelFiles

#: How long a model that failed to load on request is not tried again.
_RETRY_NS = 30 * 10**9

#: Returns the residency of models, from what lists the loaded ones and what evicts one.
ResidencyFactory = Callable[[Callable[[], list[LoadedModel]], Callable[[str], None]], Residency]


class LazyInstaller(Installer):
    """An installer whose models may leave memory again; a model that is not in memory is dormant."""

    def __init__(
        self,
        loader: Loader,
        catalog: Catalog,
        changed: Callable[[str, bool], None],
        residency: ResidencyFactory,
    ) -> None:
        super().__init__(loader, catalog, changed)
        self.residency = residency(catalog.loaded, self._evict)

    def install(
        self, files: ModelFiles, *, repeatable: bool = True, defers: bool = False
    ) -> ServerError | None:
        """Load a model once there is room for it; QueueFull if there is none at present."""
        size = files.graph_bytes(max(files.versions, default=0))
        try:
            with self.residency.reserved(files.name, size):
                problem = super().install(files, repeatable=repeatable, defers=defers)
        except ModelLoadError as error:
            entry = failed(files.name, None, error)
            self.put(files.name, [entry])
            return poll_failure(files.name, entry.reason)
        if not repeatable or files.config_json is not None:
            # What came with a request cannot be loaded again from the repository.
            for model in self._catalog.ready_versions(files.name):
                model.pinned = True
        return problem

    def refresh(self, name: str) -> None:
        """Have an ensemble looked at again when it is asked for, also one that failed a moment ago."""
        self.put_dormant(name)

    def put_dormant(self, name: str) -> None:
        """List a model as dormant, whatever was known of it: it is loaded when a request asks for it."""
        self.put(name, [dormant(name)])

    def put(self, name: str, entries: Sequence[CatalogEntry]) -> None:
        """Replace what is known of a model; one that loads or failed to is not held against the server.

        A request for one bad model must not take the server out of rotation, and one for a model
        that another request loads waits for that.
        """
        before = self._catalog.available_versions(name)
        self._catalog.replace(name, [_lazy_entry(entry) for entry in entries])
        after = self._catalog.available_versions(name)
        self._changed(name, bool(before) != bool(after))

    def _evict(self, name: str) -> None:
        self._catalog.replace_loaded(name, [dormant(name)])
        self._changed(name, False)


def _lazy_entry(entry: CatalogEntry) -> CatalogEntry:
    if entry.state is ModelState.LOADING:
        return replace(entry, dormant=True, is_required=False)
    if entry.state is ModelState.UNAVAILABLE and entry.reason != UNLOADED:
        until = time.monotonic_ns() + _RETRY_NS
        return replace(entry, dormant=True, is_required=False, retry_ns=until)
    return entry
