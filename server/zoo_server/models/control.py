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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from enum import StrEnum
from functools import partial

from zoo_server.errors import ControlDisabled, ModelNotReady, OperatorError, ServerError
from zoo_server.models.catalog import Catalog, CatalogEntry, ModelState
from zoo_server.models.entries import dormant, loading, unavailable
from zoo_server.models.installer import Installer
from zoo_server.models.lazy_installer import LazyInstaller
from zoo_server.models.load_override import (
    ControlValue,
    Override,
    check_name,
    parse_override,
    poll_failure,
    unpacked,
)
from zoo_server.models.load_threads import LoadThreads
from zoo_server.models.name_locks import NameLocks
from zoo_server.models.residency import Residency
from zoo_server.repository.diff import Action, Load, settled
from zoo_server.repository.scan import ModelFiles
from zoo_server.repository.watched import WatchedRepository

_LOG = logging.getLogger(__name__)

#: --load-model: every model of the repository.
ALL_MODELS = "*"

#: How often it is looked at whether the server is to leave while its first models load.
_LOOK_SECONDS = 0.1


class ControlMode(StrEnum):
    """--model-control-mode."""

    NONE = "none"
    POLL = "poll"
    EXPLICIT = "explicit"


class ModelControl:
    """The one place from which the catalog is changed; all methods may be called from any thread."""

    def __init__(
        self,
        repository: WatchedRepository,
        installer: Installer,
        threads: LoadThreads,
        catalog: Catalog,
        mode: ControlMode,
    ) -> None:
        """`installer` puts the models in place: all of them, or on request (LazyInstaller)."""
        self._repository = repository
        self._installer = installer
        self._lazy = installer if isinstance(installer, LazyInstaller) else None
        self._threads = threads
        self._catalog = catalog
        self._mode = mode
        self._busy = NameLocks()
        if self._lazy is not None:
            catalog.wake_with(self._wake)
        #: The scan that was acted upon, and in poll mode the one after it.
        self._applied: list[ModelFiles] = []
        self._before: list[ModelFiles] = []

    @property
    def repository_problem(self) -> str:
        """Why the repository could not be read when it was last looked at; empty if it could."""
        return self._repository.problem

    @property
    def residency(self) -> Residency | None:
        """What decides which models are in memory; None where all are."""
        return None if self._lazy is None else self._lazy.residency

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
        if self._mode is ControlMode.POLL or (self._mode is ControlMode.NONE and not self._lazy):
            self._applied = self._before = self._repository.scan()
        present = self._repository.names()
        if not present:
            _LOG.warning("no models in '%s': nothing to serve", self._repository.path)
        chosen = present
        if self._mode is ControlMode.EXPLICIT and ALL_MODELS not in names:
            for name in sorted({*names} - {*present}):
                _LOG.error("model '%s' is not served: it is not in the repository", name)
                self._installer.put(name, [unavailable(name, "it is not in the repository")])
            chosen = self._with_models([name for name in dict.fromkeys(names) if name in present])
        if self._lazy is not None:
            self._catalog.replace_all({name: [dormant(name)] for name in chosen})
            return
        self._catalog.replace_all({name: [loading(name)] for name in chosen})
        files_by_name = {files.name: files for files in self._applied}
        over = self._threads.run_each(
            partial(self._install_first, name, files_by_name.get(name)) for name in chosen
        )
        if not _wait(over, leave or threading.Event(), seconds):
            _LOG.warning("models are still being loaded after %g s: the others are served", seconds)

    def _with_models(self, names: Sequence[str]) -> list[str]:
        """Return models and, where there are ensembles among them, what these are made of."""
        chosen, left = dict[str, None](), list(names)
        while left:
            name = left.pop()
            if name not in chosen:
                chosen[name] = None
                files = self._repository.find(name)
                left += self._installer.models_of(files) if files is not None else ()
        return sorted(chosen)

    def _refresh_users(self, name: str) -> None:
        """Have the ensembles that a model is a part of follow its change; no lock may be held."""
        seen, left = {name}, [name]
        while left:
            for user in self._installer.dependencies.users(left.pop()):
                if user not in seen:
                    seen.add(user)
                    left.append(user)
                    with self._busy.with_name(user):
                        self._installer.refresh(user)

    def _load_models_of(self, files: ModelFiles) -> None:
        """Load what an ensemble is made of and is not loaded; what fails is said by the ensemble's load."""
        for name in self._installer.models_of(files):
            if not self._catalog.available_versions(name):
                with suppress(ServerError):
                    self._load(self._find(name))

    def _load(self, files: ModelFiles, *, repeatable: bool = True) -> ServerError | None:
        """Load a model, after those that it is made of; return why that could not be done."""
        self._load_models_of(files)
        with self._busy.with_name(files.name):
            problem = self._installer.install(files, repeatable=repeatable)
        self._refresh_users(files.name)
        return problem

    def _install_first(self, name: str, files: ModelFiles | None) -> None:
        """Load a model at the start, from its files if they are known already."""
        with self._busy.with_name(name):
            files = files or self._repository.find(name)
            if files is not None:
                self._installer.install(files, defers=True)
            else:  # it went meanwhile
                self._installer.put(name, [])
        self._refresh_users(name)

    def _wake(self, name: str) -> None:
        """Load a dormant model; what becomes of it is in the catalog."""
        assert self._lazy is not None
        with self._lazy.residency.waiting_call(), self._busy.with_name(name):
            if not self._catalog.may_wake(name):
                return  # another request has loaded it
            try:
                files = self._repository.find(name)
            except OperatorError:
                files = self._repository.last_seen.get(name)
                if files is None:
                    raise ModelNotReady(f"model '{name}': the repository cannot be read") from None
            if files is None:
                self._installer.put(name, [])
            else:
                self._installer.install(files)

    def load(self, name: str, parameters: Mapping[str, ControlValue]) -> None:
        """Load a model, or load it again, and return once it serves.

        InvalidRequest for a name or parameter that is none, ControlDisabled unless the mode is
        explicit. LoadFailed for a model that cannot be read and InvalidRequest for one that cannot
        be loaded, each with the reason; then what served before still serves.
        """
        override = parse_override(name, parameters)
        check_name(name)
        self._check_mode()
        if override.files:
            with _override_files(name, override) as files:
                problem = self._load(files, repeatable=False)
        else:
            problem = self._load(replace(self._find(name), config_json=override.config))
        if problem is not None:
            raise problem

    def unload(self, name: str, *, dependents: bool = False) -> None:
        """Take a model out of service and return; requests that run on it finish.

        Ensembles that it is a part of are UNAVAILABLE until it is loaded again. `dependents`: of an
        ensemble, its models are unloaded as well, but for those that another ensemble is made of.
        ControlDisabled unless the mode is explicit. What is not loaded is unloaded already.
        """
        self._check_mode()
        models = self._installer.dependencies.uses(name) if dependents else ()
        with self._busy.with_name(name):
            self._installer.retire(name)
        self._refresh_users(name)
        for model in models:
            if not self._installer.dependencies.users(model):
                self.unload(model, dependents=True)

    def index(self, *, ready: bool) -> list[CatalogEntry]:
        """Return RepositoryIndex's entries; a model never loaded has neither version nor state.

        While the repository cannot be read, that is the reason of all that have no other.
        """
        entries = self._catalog.entries()
        if ready:
            entries = [entry for entry in entries if entry.state is ModelState.READY]
        elif self._mode is ControlMode.EXPLICIT:
            known = {entry.name for entry in entries}
            entries += [
                CatalogEntry(name=name, version=None, state=ModelState.UNKNOWN, is_required=False)
                for name in self._names_on_disk()
                if name not in known
            ]
        if self._repository.problem:
            entries = [
                replace(entry, reason=entry.reason or self._repository.problem) for entry in entries
            ]
        return sorted(entries, key=lambda entry: (entry.name, entry.version or 0))

    def poll(self) -> None:
        """Look at the repository once and act upon what changed and has come to rest."""
        try:
            now = self._repository.scan()
        except OperatorError as error:  # a disk that went away takes no model with it
            _LOG.warning("%s; what is loaded is served on", error)
            return
        due = settled(self._applied, self._before, now)
        self._before = now
        acted = {files.name: files for files in self._applied}
        for action in due:
            _LOG.info("model '%s' changed in the repository", action.name)
            if isinstance(action, Load):
                # Acted upon even if it fails: it is tried again when it changes again.
                acted[action.name] = action.files
            else:
                del acted[action.name]
        self._applied = [acted[name] for name in sorted(acted)]
        self._threads.run_each(partial(self._act, action) for action in due).wait()

    def _act(self, action: Action) -> None:
        with self._busy.with_name(action.name):
            if isinstance(action, Load):
                if self._lazy is not None and not self._catalog.ready_versions(action.name):
                    self._lazy.put_dormant(action.name)
                else:
                    self._installer.install(action.files)
            else:
                self._installer.retire(action.name)
        self._refresh_users(action.name)

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
        except OperatorError as error:
            raise poll_failure(name, str(error)) from None
        if files is None:
            raise poll_failure(name)
        return files

    def _names_on_disk(self) -> list[str]:
        try:
            return self._repository.names()
        except OperatorError:
            return []


@contextmanager
def _override_files(name: str, override: Override) -> Iterator[ModelFiles]:
    try:
        with unpacked(name, override) as files:
            yield files
    except OSError as error:
        raise poll_failure(name, f"its files cannot be written: {error.strerror}") from error


def _wait(over: threading.Event, leave: threading.Event, seconds: float) -> bool:
    """Wait for the end of the loads, that of the server, or some seconds; tell whether it was not time."""
    end = time.monotonic() + seconds
    while not over.wait(max(0.0, min(_LOOK_SECONDS, end - time.monotonic()))):
        if leave.is_set():
            return True
        if time.monotonic() >= end:
            return False
    return True
