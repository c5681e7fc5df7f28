"""Readiness as ServerReady, ModelReady and health report it, of one process or of several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from zoo_server.models.catalog import Catalog, parse_version


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """Which models and versions are ready at one moment."""

    #: ServerReady's answer.
    server: bool
    #: The ready versions of each known model, ascending.
    models: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, catalog: Catalog) -> Self:
        """Return a catalog's."""
        return cls(
            server=catalog.is_ready(),
            models={name: catalog.available_versions(name) for name in catalog.names()},
        )

    @classmethod
    def common(cls, parts: Sequence["Readiness"]) -> Self:
        """Return what holds wherever a caller may arrive; ready is what is ready everywhere."""
        names = sorted({name for part in parts for name in part.models})
        return cls(
            server=bool(parts) and all(part.server for part in parts),
            models={
                name: sorted(set.intersection(*(set(part.models.get(name, ())) for part in parts)))
                for name in names
            },
        )

    def is_model_ready(self, name: str, version: str) -> bool:
        """Answer ModelReady; InvalidRequest if `version` is no number."""
        number = parse_version(version)
        ready = self.models.get(name, ())
        return bool(ready) if number is None else number in ready
