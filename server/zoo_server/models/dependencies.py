"""Which ensembles are made of which models: what has to be loaded first, and what follows a change."""

import threading
from collections.abc import Iterable

from zoo_server.errors import ModelLoadError


class Dependencies:
    """The models of every ensemble that was read; used from any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uses: dict[str, tuple[str, ...]] = {}

    def record(self, name: str, uses: Iterable[str]) -> None:
        """Take what a model is made of, nothing if it is no ensemble; ModelLoadError for a cycle."""
        with self._lock:
            self._uses.pop(name, None)
            models = tuple(dict.fromkeys(uses))
            if not models:
                return
            self._uses[name] = models
            path = self._cycle(name)
        if path:
            raise ModelLoadError("the ensemble is part of itself: " + " -> ".join(path))

    def uses(self, name: str) -> tuple[str, ...]:
        """Return the models that an ensemble is made of; none for any other model."""
        return self._uses.get(name, ())

    def users(self, name: str) -> list[str]:
        """Return the ensembles that a model is a part of."""
        with self._lock:
            return sorted(user for user, models in self._uses.items() if name in models)

    def _cycle(self, name: str) -> list[str]:
        """Return the way from an ensemble to itself, empty if there is none."""
        paths, seen = [[name]], {name}
        while paths:
            path = paths.pop()
            for model in self._uses.get(path[-1], ()):
                if model == name:
                    return [*path, name]
                if model not in seen:
                    seen.add(model)
                    paths.append([*path, model])
        return []
