"""Puts one model in place: reads it, loads its versions beside those that serve, and swaps them.

A load that fails leaves what was there. The caller holds the model's lock.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from zoo_server.errors import InvalidRequest, ModelLoadError, NoVersion, ServerError
from zoo_server.models.catalog import Catalog, CatalogEntry, ModelState
from zoo_server.models.entries import failed, unloaded
from zoo_server.models.load_override import poll_failure
from zoo_server.models.loader import Loader, LoadPlan
from zoo_server.repository.scan import ModelFiles

_LOG = logging.getLogger(__name__)


class Installer:
    """Changes the catalog, one model at a time; of different models, from any number of threads."""

    def __init__(
        self, loader: Loader, catalog: Catalog, changed: Callable[[str, bool], None]
    ) -> None:
        """`changed` is called after each change, with the model's name and whether another answer of
        readiness may follow from it.
        """
        self._loader = loader
        self._catalog = catalog
        self._changed = changed
        self.dependencies = loader.dependencies
        #: Of ensembles, as they were last read.
        self._ensembles: dict[str, LoadPlan] = {}

    def models_of(self, files: ModelFiles) -> tuple[str, ...]:
        """Return the models that a model is made of; none if it is no ensemble, or cannot be read."""
        try:
            return tuple(step.model for step in self._loader.plan(files).steps)
        except ModelLoadError:
            return ()

    def refresh(self, name: str) -> None:
        """Load an ensemble again after a change of its models; nothing of it is read again."""
        plan = self._ensembles.get(name)
        if plan is not None:
            self._install(self._loader.renewed(plan), defers=True)

    def install(
        self, files: ModelFiles, *, repeatable: bool = True, defers: bool = False
    ) -> ServerError | None:
        """Load a model and put it in place; return why that could not be done, None if it was.

        `repeatable` False: an equal model found later is not this one. `defers`: an ensemble with a
        model that is being loaded is left as it is, for `refresh` once that is done.
        """
        name = files.name
        try:
            plan = self._loader.plan(files)
        except Exception as error:
            entry = failed(name, None, error)
            self._keep(name, [entry]) if self._serving(name) else self.put(name, [entry])
            if isinstance(error, NoVersion):
                return _load_failure(
                    name,
                    f"at least one version must be available under the version policy of model "
                    f"'{name}': {entry.reason}",
                )
            return poll_failure(name, entry.reason)
        return self._install(plan, repeatable=repeatable, defers=defers)

    def _serving(self, name: str) -> dict[int | None, CatalogEntry]:
        return {
            entry.version: entry
            for entry in self._catalog.versions(name)
            if entry.model is not None
        }

    def _install(
        self, plan: LoadPlan, *, repeatable: bool = True, defers: bool = False
    ) -> ServerError | None:
        name = plan.files.name
        serving = self._serving(name)
        if plan.steps:
            self._ensembles[name] = plan
            if defers and any(self._is_loading(step.model) for step in plan.steps):
                return None
        else:
            self._ensembles.pop(name, None)
        self._announce(plan, serving)
        entries = [self._version(plan, version, serving) for version in plan.versions]
        problems = [
            f"version {entry.version} is at UNAVAILABLE state: {entry.reason}"
            for entry in entries
            if entry.model is None
        ]
        # An ensemble is not kept: the models that it was made of may be gone.
        if problems and serving and not plan.steps:
            self._keep(name, [entry for entry in entries if entry.model is None])
            return _load_failure(name, "; ".join(problems))
        if not repeatable:
            entries = [replace(entry, origin=None) for entry in entries]
        gone = [entry for version, entry in serving.items() if version not in plan.versions]
        self.put(name, [*entries, *(unloaded(entry) for entry in gone)])
        return _load_failure(name, "; ".join(problems)) if problems else None

    def _is_loading(self, name: str) -> bool:
        return any(entry.state is ModelState.LOADING for entry in self._catalog.versions(name))

    def _version(
        self, plan: LoadPlan, version: int, serving: Mapping[int | None, CatalogEntry]
    ) -> CatalogEntry:
        """Return a version, the one that serves if nothing about it has changed."""
        present = serving.get(version)
        if present is not None and present.origin == plan.origin(version):
            return replace(present, reason="", is_required=True)
        return self._loader.load(plan, version)

    def _announce(self, plan: LoadPlan, serving: Mapping[int | None, CatalogEntry]) -> None:
        """Show LOADING for the versions that serve no request meanwhile."""
        loading = [
            CatalogEntry(
                name=plan.files.name,
                version=version,
                state=ModelState.LOADING,
                is_required=not serving,
            )
            for version in plan.versions
            if version not in serving
        ]
        if loading:
            self.put(plan.files.name, [*serving.values(), *loading])

    def _keep(self, name: str, problems: list[CatalogEntry]) -> None:
        """Leave what serves in place and list what should have taken it; the server stays ready."""
        serving = [entry for entry in self._catalog.versions(name) if entry.model is not None]
        serving_versions = {entry.version for entry in serving}
        listed = [
            replace(entry, is_required=False)
            for entry in problems
            if entry.version is not None and entry.version not in serving_versions
        ]
        self.put(name, [*serving, *listed])
        _LOG.warning("model '%s' is served as it was before", name)

    def retire(self, name: str) -> None:
        """Take a model out of service; requests that run on it finish."""
        self._ensembles.pop(name, None)
        self.dependencies.record(name, ())
        entries = self._catalog.versions(name)
        if not entries:
            return
        if any(entry.model is not None for entry in entries):
            _LOG.info("model '%s' is unloaded", name)
        self.put(name, [unloaded(entry) for entry in entries])

    def put(self, name: str, entries: Sequence[CatalogEntry]) -> None:
        """Replace what is known of a model, and tell so."""
        self._catalog.replace(name, entries)
        self._changed(name, True)


def _load_failure(name: str, reason: str) -> ServerError:
    """Return the error for a model that was read and cannot be loaded; Triton blames the caller."""
    return InvalidRequest(f"load failed for model '{name}': {reason}; failed to load '{name}'")
