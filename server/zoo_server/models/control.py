"""Model control: loading and unloading while the server runs, by request, by polling, or not at all.

    none       everything is loaded at the start, and that is that
    poll       the repository is looked at every so often; what came, changed or went is acted upon
    explicit   callers load and unload by name; at the start only what was named

A model is loaded beside the one that serves and takes its place only when all of it is ready: a load
that fails leaves what was there. An unloaded model takes no request from then on; those that run on
it finish, and the last one to end frees it.
"""

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial

from zoo_server.errors import ControlDisabled, InvalidRequest, NoVersion, OperatorError, ServerError
from zoo_server.models.catalog import Catalog, CatalogEntry, ModelState
from zoo_server.models.load_threads import LoadThreads
from zoo_server.models.loader import Loader, LoadPlan, failed
from zoo_server.models.payload import ControlValue, Override, parse_override, poll_failure, unpacked
from zoo_server.repository import layout
from zoo_server.repository.diff import Action, Load, settled
from zoo_server.repository.scan import ModelFiles, ModelRepository

_LOG = logging.getLogger(__name__)

#: --load-model: every model of the repository.
ALL_MODELS = "*"

#: How often it is looked at whether the server is to leave while its first models load.
_LOOK_SECONDS = 0.1

#: RepositoryIndex's reason for a version that serves no more.
UNLOADED = "unloaded"


class ControlMode(StrEnum):
    """--model-control-mode."""

    NONE = "none"
    POLL = "poll"
    EXPLICIT = "explicit"


class ModelControl:
    """The one place from which the catalog is changed; all methods may be called from any thread."""

    def __init__(
        self,
        repository: ModelRepository,
        loader: Loader,
        threads: LoadThreads,
        catalog: Catalog,
        mode: ControlMode,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called after each change of the catalog, by the thread that made it."""
        self._repository = repository
        self._loader = loader
        self._threads = threads
        self._catalog = catalog
        self._mode = mode
        self._changed = changed
        self._busy = _Busy()
        #: Of poll mode: the scan that was acted upon, and the one after it.
        self._acted: list[ModelFiles] = []
        self._before: list[ModelFiles] = []

    def start(
        self,
        names: Sequence[str] = (),
        *,
        seconds: float = float("inf"),
        leave: threading.Event | None = None,
    ) -> None:
        """Load what the mode wants loaded from the start; `names` as --load-model gives them.

        It returns once all is loaded, after so many seconds, or when `leave` is set: what is not
        loaded by then is LOADING, and follows. ConfigurationError if the repository itself cannot be
        read. A model that cannot be served is listed with its reason.
        """
        models = self._repository.scan()
        self._acted = self._before = models
        if not models:
            _LOG.warning("no models in '%s': nothing to serve", self._repository.path)
        if self._mode is ControlMode.EXPLICIT and ALL_MODELS not in names:
            known = {model.name: model for model in models}
            for name in names:
                if name not in known:
                    _LOG.error("model '%s' is not served: it is not in the repository", name)
                    self._put(name, [_unavailable(name, "it is not in the repository")])
            models = [known[name] for name in dict.fromkeys(names) if name in known]
        self._catalog.replace_all({files.name: [_loading(files.name)] for files in models})
        over = self._threads.run_each(partial(self._install_first, files) for files in models)
        if not _wait(over, leave or threading.Event(), seconds):
            _LOG.warning("models are still being loaded after %g s: the others are served", seconds)

    def _install_first(self, files: ModelFiles) -> None:
        with self._busy.with_name(files.name):
            self._install(files)

    def load(self, name: str, parameters: Mapping[str, ControlValue]) -> None:
        """Load a model, or load it again, and return once it serves.

        InvalidRequest for a name or parameter that is none, ControlDisabled unless the mode is
        explicit. LoadFailed for a model that cannot be read and InvalidRequest for one that cannot
        be loaded, each with the reason; then what served before still serves.
        """
        override = parse_override(name, parameters)
        _check_name(name)
        self._check_mode()
        with self._busy.with_name(name):
            if override.files:
                with _written(name, override) as files:
                    problem = self._install(files, repeatable=False)
            else:
                files = replace(self._find(name), config_json=override.config)
                problem = self._install(files)
        if problem is not None:
            raise problem

    def unload(self, name: str) -> None:
        """Take a model out of service and return; requests that run on it finish.

        ControlDisabled unless the mode is explicit. What is not loaded is unloaded already.
        """
        self._check_mode()
        with self._busy.with_name(name):
            self._retire(name)

    def index(self, *, ready: bool) -> list[CatalogEntry]:
        """Return RepositoryIndex's entries; a model never loaded has neither version nor state."""
        entries = self._catalog.entries()
        if ready:
            return [entry for entry in entries if entry.state is ModelState.READY]
        if self._mode is ControlMode.EXPLICIT:
            known = {entry.name for entry in entries}
            entries += [
                CatalogEntry(name=name, version=None, state=ModelState.UNKNOWN, wanted=False)
                for name in self._names_on_disk()
                if name not in known
            ]
        return sorted(entries, key=lambda entry: (entry.name, entry.version or 0))

    def poll(self) -> None:
        """Look at the repository once and act upon what changed and has come to rest."""
        try:
            now = self._repository.scan()
        except OperatorError as error:  # a disk that went away takes no model with it
            _LOG.warning("%s; what is loaded is served on", error)
            return
        due = settled(self._acted, self._before, now)
        self._before = now
        acted = {files.name: files for files in self._acted}
        for action in due:
            _LOG.info("model '%s' changed in the repository", action.name)
            if isinstance(action, Load):
                # Acted upon even if it fails: it is tried again when it changes again.
                acted[action.name] = action.files
            else:
                del acted[action.name]
        self._acted = [acted[name] for name in sorted(acted)]
        self._threads.run_each(partial(self._act, action) for action in due).wait()

    def _act(self, action: Action) -> None:
        with self._busy.with_name(action.name):
            if isinstance(action, Load):
                self._install(action.files)
            else:
                self._retire(action.name)

    # -- one model -----------------------------------------------------------------------------

    def _install(self, files: ModelFiles, *, repeatable: bool = True) -> ServerError | None:
        """Load a model and put it in place; return why that could not be done, None if it was.

        `repeatable` False: an equal model found later is not this one.
        """
        name = files.name
        serving = {
            entry.version: entry
            for entry in self._catalog.versions(name)
            if entry.model is not None
        }
        try:
            plan = self._loader.plan(files)
        except Exception as error:
            entry = failed(name, None, error)
            self._keep(name, [entry]) if serving else self._put(name, [entry])
            if isinstance(error, NoVersion):
                return _load_failure(
                    name,
                    f"at least one version must be available under the version policy of model "
                    f"'{name}': {entry.reason}",
                )
            return poll_failure(name, entry.reason)
        self._announce(plan, serving)
        entries = [self._version(plan, version, serving) for version in plan.versions]
        problems = [
            f"version {entry.version} is at UNAVAILABLE state: {entry.reason}"
            for entry in entries
            if entry.model is None
        ]
        if problems and serving:
            self._keep(name, [entry for entry in entries if entry.model is None])
            return _load_failure(name, "; ".join(problems))
        if not repeatable:
            entries = [replace(entry, origin=None) for entry in entries]
        gone = [entry for version, entry in serving.items() if version not in plan.versions]
        self._put(name, [*entries, *(_unloaded(entry) for entry in gone)])
        return _load_failure(name, "; ".join(problems)) if problems else None

    def _version(
        self, plan: LoadPlan, version: int, serving: Mapping[int | None, CatalogEntry]
    ) -> CatalogEntry:
        """Return a version, the one that serves if nothing about it has changed."""
        present = serving.get(version)
        if present is not None and present.origin == plan.origin(version):
            return replace(present, reason="", wanted=True)
        return self._loader.load(plan, version)

    def _announce(self, plan: LoadPlan, serving: Mapping[int | None, CatalogEntry]) -> None:
        """Show LOADING for the versions that serve no request meanwhile."""
        loading = [
            CatalogEntry(
                name=plan.files.name,
                version=version,
                state=ModelState.LOADING,
                wanted=not serving,
            )
            for version in plan.versions
            if version not in serving
        ]
        if loading:
            self._put(plan.files.name, [*serving.values(), *loading])

    def _keep(self, name: str, problems: list[CatalogEntry]) -> None:
        """Leave what serves in place and list what should have taken it; the server stays ready."""
        serving = [entry for entry in self._catalog.versions(name) if entry.model is not None]
        taken = {entry.version for entry in serving}
        listed = [
            replace(entry, wanted=False)
            for entry in problems
            if entry.version is not None and entry.version not in taken
        ]
        self._put(name, [*serving, *listed])
        _LOG.warning("model '%s' is served as it was before", name)

    def _retire(self, name: str) -> None:
        entries = self._catalog.versions(name)
        if not entries:
            return
        if any(entry.model is not None for entry in entries):
            _LOG.info("model '%s' is unloaded", name)
        self._put(name, [_unloaded(entry) for entry in entries])

    def _put(self, name: str, entries: Sequence[CatalogEntry]) -> None:
        self._catalog.replace(name, entries)
        self._changed()

    # -- the repository ------------------------------------------------------------------------

    def _check_mode(self) -> None:
        if self._mode is not ControlMode.EXPLICIT:
            raise ControlDisabled(
                "explicit model load / unload is not allowed if polling is enabled or models are "
                f"loaded once: the server runs with --model-control-mode {self._mode}, which must "
                "be explicit"
            )

    def _find(self, name: str) -> ModelFiles:
        try:
            files = self._repository.find(name)
        except OperatorError:
            raise poll_failure(name, "the repository cannot be read") from None
        if files is None:
            raise poll_failure(name)
        return files

    def _names_on_disk(self) -> list[str]:
        try:
            return self._repository.names()
        except OperatorError:
            return []


@contextmanager
def _written(name: str, override: Override) -> Iterator[ModelFiles]:
    try:
        with unpacked(name, override) as files:
            yield files
    except OSError as error:
        raise poll_failure(name, f"its files cannot be written: {error.strerror}") from error


def _check_name(name: str) -> None:
    """Model-name validation (docs/protocol.md 4.4), with Triton's words where it has some."""
    if not name.strip():
        raise InvalidRequest("Model name cannot be empty. Please enter a valid name to deploy.")
    if name.strip() == ".." or "/" in name:
        raise InvalidRequest(
            f"invalid model name '{name[:300]}', model name must not contain path traversal "
            "characters"
        )
    try:
        layout.check_model_name(name)
    except ValueError as error:
        raise InvalidRequest(f"invalid model name: {error}") from None


def _load_failure(name: str, reason: str) -> ServerError:
    """Return the error for a model that was read and cannot be loaded; Triton blames the caller."""
    return InvalidRequest(f"load failed for model '{name}': {reason}; failed to load '{name}'")


def _unavailable(name: str, reason: str) -> CatalogEntry:
    return CatalogEntry(name=name, version=None, state=ModelState.UNAVAILABLE, reason=reason)


def _loading(name: str) -> CatalogEntry:
    return CatalogEntry(name=name, version=None, state=ModelState.LOADING)


def _wait(over: threading.Event, leave: threading.Event, seconds: float) -> bool:
    """Wait for the end of the loads, that of the server, or some seconds; tell whether it was not time."""
    end = time.monotonic() + seconds
    while not over.wait(max(0.0, min(_LOOK_SECONDS, end - time.monotonic()))):
        if leave.is_set():
            return True
        if time.monotonic() >= end:
            return False
    return True


def _unloaded(entry: CatalogEntry) -> CatalogEntry:
    """Return what is left of an entry once its model takes no more requests."""
    return replace(
        entry,
        state=ModelState.UNAVAILABLE,
        reason=UNLOADED,
        model=None,
        wanted=False,
        unsupported=False,
        origin=None,
        leaving=weakref.ref(entry.model) if entry.model is not None else entry.leaving,
    )


class _Busy:
    """One change of a model at a time; of different models, any number."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._names: set[str] = set()

    @contextmanager
    def with_name(self, name: str) -> Iterator[None]:
        """Hold this model's lock: one change of a model at a time."""
        with self._changed:
            self._changed.wait_for(lambda: name not in self._names)
            self._names.add(name)
        try:
            yield
        finally:
            with self._changed:
                self._names.discard(name)
                self._changed.notify_all()
