"""What is loaded, and what is known but cannot be served: the answer to "is there such a model?".

A catalog never changes once built; loading and unloading later will build another and swap it in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from server.errors import InvalidRequest, ModelNotReady, NotFound
from server.inference.model import LoadedModel

#: What the wire sends when no version is asked for.
ANY_VERSION = ""

#: The largest version number: folders are named by int64 (server/repository/layout.py).
_MAX_VERSION = 2**63 - 1


class ModelState(StrEnum):
    """RepositoryIndex's words (protocol.md 2.1)."""

    READY = "READY"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """One version of one model, or a model whose versions were never reached (`version` None)."""

    name: str
    version: int | None
    state: ModelState
    reason: str = ""
    model: LoadedModel | None = None


def parse_version(text: str) -> int | None:
    """Return the version asked for, None for any; InvalidRequest in Triton's words (4.2, int8)."""
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
    """Every known model by name and version."""

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        self._models: dict[str, dict[int | None, CatalogEntry]] = {}
        for entry in entries:
            self._models.setdefault(entry.name, {})[entry.version] = entry

    def find(self, name: str, version: str) -> LoadedModel:
        """Return the version asked for, or the latest ready one.

        NotFound for an unknown name or version, ModelNotReady for one that is not loaded,
        InvalidRequest if `version` is no number.
        """
        number = parse_version(version)
        versions = self._models.get(name)
        if versions is None:
            raise NotFound(f"Request for unknown model: '{name}' is not found")
        if number is None:
            ready = self.ready_versions(name)
            if not ready:
                reasons = "; ".join(entry.reason for entry in versions.values() if entry.reason)
                raise NotFound(
                    f"Request for unknown model: '{name}' has no available versions: {reasons}"
                )
            return ready[-1]
        entry = versions.get(number)
        if entry is None:
            raise NotFound(f"Request for unknown model: '{name}' version {number} is not found")
        if entry.model is None:
            raise ModelNotReady(
                f"Request for unknown model: '{name}' version {number} is not at ready state: "
                f"{entry.reason}"
            )
        return entry.model

    def is_model_ready(self, name: str, version: str) -> bool:
        """2.1, ModelReady: False and no error for what is unknown or not loaded."""
        try:
            self.find(name, version)
        except (NotFound, ModelNotReady):
            return False
        return True

    def is_ready(self) -> bool:
        """2.1, strict readiness: every version that should be served is."""
        return all(entry.state is ModelState.READY for entry in self.entries())

    def ready_versions(self, name: str) -> list[LoadedModel]:
        """Return the ready versions of a model, ascending; empty if there are none."""
        models = [entry.model for entry in self._models.get(name, {}).values() if entry.model]
        return sorted(models, key=lambda model: model.settings.version)

    def loaded(self) -> list[LoadedModel]:
        """Return every ready version, by name and then version."""
        return [model for name in sorted(self._models) for model in self.ready_versions(name)]

    def entries(self) -> list[CatalogEntry]:
        """Return everything known, by name and then version."""
        return [
            versions[version]
            for _, versions in sorted(self._models.items())
            for version in sorted(versions, key=lambda number: number or 0)
        ]

    def names(self) -> list[str]:
        """Return every known name, ready or not."""
        return sorted(self._models)
