"""The catalog's entries of models that take no requests: failed, loading, unloaded, dormant."""

import logging
import weakref
from dataclasses import replace

from zoo_server.errors import DecoupledModel, ModelLoadError
from zoo_server.models.catalog import CatalogEntry, ModelState

_LOG = logging.getLogger(__name__)

#: RepositoryIndex's reason for a version that serves no more.
UNLOADED = "unloaded"

#: RepositoryIndex's reason for a model that is not in memory.
DORMANT = "loaded when it is asked for"


def failed(name: str, version: int | None, error: Exception) -> CatalogEntry:
    """Return the entry of what cannot be served, and log why; what is no ModelLoadError is our bug."""
    place = f"model '{name}'" + (f" version {version}" if version is not None else "")
    if isinstance(error, ModelLoadError):
        reason = str(error)
        _LOG.error("%s is not served: %s", place, reason)
    else:
        reason = f"failed to load: unexpected {type(error).__name__}, see the server's log"
        _LOG.error("%s is not served", place, exc_info=error)
    return CatalogEntry(
        name=name,
        version=version,
        state=ModelState.UNAVAILABLE,
        reason=reason,
        unsupported=isinstance(error, DecoupledModel),
    )


def unavailable(name: str, reason: str) -> CatalogEntry:
    """Return the entry of a model that is not there."""
    return CatalogEntry(name=name, version=None, state=ModelState.UNAVAILABLE, reason=reason)


def loading(name: str) -> CatalogEntry:
    """Return the entry of a model that is about to be read."""
    return CatalogEntry(name=name, version=None, state=ModelState.LOADING)


def dormant(name: str) -> CatalogEntry:
    """Return the entry of a model that is loaded when a request asks for it."""
    return CatalogEntry(
        name=name, version=None, state=ModelState.READY, reason=DORMANT, dormant=True
    )


def unloaded(entry: CatalogEntry) -> CatalogEntry:
    """Return what is left of an entry once its model takes no more requests."""
    return replace(
        entry,
        state=ModelState.UNAVAILABLE,
        reason=UNLOADED,
        model=None,
        is_required=False,
        unsupported=False,
        origin=None,
        dormant=False,
        retry_ns=0,
        leaving=weakref.ref(entry.model) if entry.model is not None else entry.leaving,
    )
