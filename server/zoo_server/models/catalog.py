"""The catalog: every loaded model version, and the known ones that cannot be served, with the reason.

The table is immutable: loading or unloading a model builds another table, which replaces it at once.
A request keeps the model that it looked up, and the last reference frees the model.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from zoo_server.errors import InvalidRequest, ModelNotReady, NotFound, ServerError, Unsupported
from zoo_server.inference.model import LoadedModel
from zoo_server.telemetry.readings import ModelReading

#: The version of a request that names none.
ANY_VERSION = ""

#: The largest version number: folders are named by int64 (server/zoo_server/repository/layout.py).
_MAX_VERSION = 2**63 - 1


class ModelState(StrEnum):
    """RepositoryIndex's words (docs/protocol.md 2.1)."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"
    LOADING = "LOADING"
    UNLOADING = "UNLOADING"
    #: On disk, and never loaded. On the wire it has no state at all.
    UNKNOWN = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One version of one model, or a model whose versions were never reached (`version` None)."""

    name: str
    version: int | None
    state: ModelState
    reason: str = ""
    model: LoadedModel | None = None
    #: A model that Triton serves, and only over streams: who asks for it hears that it is not offered.
    unsupported: bool = False
    #: Whether the server is not ready without it; it is without what was unloaded on purpose.
    is_required: bool = True
    #: What it was loaded from: a load with an equal origin keeps the model.
    origin: object = None
    #: Not in memory, and loaded when a request asks for it; of a whole model if `version` is None.
    dormant: bool = False
    #: Of a dormant one whose load failed: until when it is not tried again, in ns of time.monotonic_ns.
    retry_ns: int = 0
    #: Of an unloaded version, returns its model for as long as a request still runs on it.
    leaving: Callable[[], LoadedModel | None] | None = None

    @property
    def is_available(self) -> bool:
        """Whether a request for it is served, at once or after it is loaded."""
        return self.model is not None or (self.dormant and not self.retry_ns)

    def at_present(self) -> "CatalogEntry":
        """Return the entry as it stands now: UNLOADING until the last request has ended."""
        if self.leaving is not None and self.leaving() is not None:
            return replace(self, state=ModelState.UNLOADING, reason="")
        return self


#: Versions by number; None stands for a model none of whose versions was reached.
Versions = Mapping[int | None, CatalogEntry]


def parse_version(text: str) -> int | None:
    """Return the requested version, None for any; or InvalidRequest (docs/protocol.md 4.2)."""
    if text == ANY_VERSION:
        return None
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or int(digits[:20]) > _MAX_VERSION:
        raise InvalidRequest(
            f"failed to get model version from specified version string '{text[:80]}' (details: not "
            "an integer), version should be an integral value > 0"
        )
    if text != digits:
        raise InvalidRequest(
            f"invalid model version specified '{text}' , version should be an integral value > 0"
        )
    return int(digits)


class Catalog:
    """Every known model by name and version; read from any number of threads, without a lock."""

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        models: dict[str, dict[int | None, CatalogEntry]] = {}
        for entry in entries:
            models.setdefault(entry.name, {})[entry.version] = entry
        self._models: Mapping[str, Versions] = models
        self._replacing = threading.Lock()
        #: A table, and how many of its versions are missing.
        self._missing_count: tuple[object, int] = None, 0
        #: Loads a dormant model, and returns when that is done or has failed.
        self._wake: Callable[[str], None] | None = None

    @property
    def is_lazy(self) -> bool:
        """Whether finding a model may take as long as loading it."""
        return self._wake is not None

    def wake_with(self, wake: Callable[[str], None]) -> None:
        """Load dormant models with this when they are asked for."""
        self._wake = wake

    def replace(self, name: str, entries: Iterable[CatalogEntry]) -> None:
        """Put these in the place of all that is known of a model; without any, forget it."""
        versions = {entry.version: entry for entry in entries}
        with self._replacing:
            others = {key: value for key, value in self._models.items() if key != name}
            self._models = {**others, name: versions} if versions else others

    def replace_all(self, models: Mapping[str, Iterable[CatalogEntry]]) -> None:
        """Put these in the places of what is known of many models, in one step."""
        versions = {
            name: {entry.version: entry for entry in entries} for name, entries in models.items()
        }
        with self._replacing:
            self._models = {**self._models, **versions}

    def replace_loaded(self, name: str, entries: Iterable[CatalogEntry]) -> None:
        """Put these in the place of a model that is loaded; leave any other as it is."""
        with self._replacing:
            if _ready(self._models.get(name, {})):
                self._models = {**self._models, name: {entry.version: entry for entry in entries}}

    def may_wake(self, name: str) -> bool:
        """Tell whether a model is dormant, and loading it is worth a try."""
        return _may_wake(self._models.get(name, {}))

    def find(self, name: str, version: str) -> LoadedModel:
        """Return the version asked for, or the latest ready one; a dormant model is loaded first.

        NotFound for an unknown name or version, ModelNotReady for one that is not loaded,
        Unsupported for a decoupled model, InvalidRequest if `version` is no number.
        """
        number = parse_version(version)
        if self._wake is not None and self.may_wake(name):
            self._wake(name)
        return self.find_loaded(name, number)

    def find_loaded(self, name: str, number: int | None) -> LoadedModel:
        """Return a version as `find` does, without loading any."""
        versions = self._models.get(name)
        if versions is None:
            raise NotFound(f"Request for unknown model: '{name}' is not found")
        if number is None:
            ready = _ready(versions)
            if not ready:
                raise _absent(name, versions)
            return ready[-1]
        entry = versions.get(number)
        if entry is None:
            raise _absent(name, versions, number)
        if entry.model is None:
            raise ModelNotReady(
                f"Request for unknown model: '{name}' version {number} is not at ready state: "
                f"{_why(entry)}"
            )
        return entry.model

    def is_model_ready(self, name: str, version: str) -> bool:
        """ModelReady: False, no error, for what is unknown or unloaded (docs/protocol.md 2.1)."""
        number = parse_version(version)
        versions = self._models.get(name, {})
        if any(entry.is_available for entry in versions.values() if entry.dormant):
            return True  # as soon as it is asked for
        try:
            self.find_loaded(name, number)
        except (NotFound, ModelNotReady, Unsupported):
            return False
        return True

    def is_ready(self) -> bool:
        """Strict readiness: every version that should be served is (docs/protocol.md 2.1)."""
        return not self.missing()

    def missing(self) -> int:
        """Return how many versions should be served and are not."""
        models = self._models
        if self._missing_count[0] is not models:
            count = sum(
                entry.is_required and entry.state is not ModelState.READY
                for versions in models.values()
                for entry in versions.values()
            )
            self._missing_count = models, count
        return self._missing_count[1]

    def ready_versions(self, name: str) -> list[LoadedModel]:
        """Return the ready versions of a model, ascending; empty if there are none."""
        return _ready(self._models.get(name, {}))

    def available_versions(self, name: str) -> list[int]:
        """Return the numbers of the ready versions, ascending; a dormant model has all, as 0."""
        versions = self._models.get(name, {})
        if any(entry.is_available for entry in versions.values() if entry.dormant):
            return [0]
        return [model.settings.version for model in _ready(versions)]

    def loaded(self) -> list[LoadedModel]:
        """Return every ready version, by name and then version."""
        return [model for _, versions in sorted(self._models.items()) for model in _ready(versions)]

    def entries(self) -> list[CatalogEntry]:
        """Return everything known, by name and then version."""
        return [
            versions[version].at_present()
            for _, versions in sorted(self._models.items())
            for version in sorted(versions, key=lambda number: number or 0)
        ]

    def versions(self, name: str) -> list[CatalogEntry]:
        """Return what is known of one model, in no order."""
        return list(self._models.get(name, {}).values())

    def names(self) -> list[str]:
        """Return every known name, ready or not."""
        return sorted(self._models)


def reading_of(model: LoadedModel) -> ModelReading:
    """Return what was counted of a version."""
    return ModelReading(
        name=model.settings.name,
        version=model.settings.version,
        sums=model.statistics.snapshot(),
        pending=model.waiting,
        load_seconds=model.load_seconds,
        memory_bytes=model.memory_bytes,
        loaded_ns=model.loaded_ns,
        restarts=model.restarts,
        nodes=model.nodes,
        caches=model.caches,
    )


def _may_wake(versions: Versions) -> bool:
    """Tell whether a model is to be loaded: nothing of it is, and it is not known to fail."""
    now = time.monotonic_ns()
    return any(entry.dormant and entry.retry_ns <= now for entry in versions.values()) and not any(
        entry.model is not None for entry in versions.values()
    )


def _absent(name: str, versions: Versions, number: int | None = None) -> ServerError:
    """Return the error for a model without that version, or without any (docs/protocol.md 1c)."""
    unread = versions.get(None)
    if unread is not None and unread.unsupported:
        # docs/protocol.md 1c: UNIMPLEMENTED, as Triton answers a unary call of one.
        return Unsupported(
            f"model '{name}' is not served: this server doesn't support models with decoupled "
            f"transaction policy: {unread.reason}"
        )
    stem = f"Request for unknown model: '{name}'"
    if number is None:
        reasons = "; ".join(filter(None, map(_why, versions.values())))
        return NotFound(f"{stem} has no available versions: {reasons}")
    reason = "" if unread is None else f": {_why(unread)}"
    return NotFound(f"{stem} version {number} is not found{reason}")


def _why(entry: CatalogEntry) -> str:
    """Return why a version takes no requests: the reason, or the state where it says enough."""
    return entry.reason or entry.state.lower()


def _ready(versions: Versions) -> list[LoadedModel]:
    models = [entry.model for entry in versions.values() if entry.model is not None]
    return sorted(models, key=lambda model: model.settings.version)
