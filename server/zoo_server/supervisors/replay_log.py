"""The replay log: changes in force, which a worker started later repeats.

What a later change undoes is dropped: the log is as large as what is in force, not as old as the
server.

    load a, load b, unload a    ──>  load b
    register r, unregister r    ──>
    log_info off, log_info on   ──>  log_info on
"""

from collections.abc import Collection, Iterator, Sequence

from zoo_server.supervisors.rpc import Arguments

#: The methods that change a server (zoo_server/dataplane.py), and the lane of each: changes of one lane
#: come one by one.
LANES = {
    "load_model": "models",
    "unload_model": "models",
    "register_system_region": "memory",
    "unregister_system_region": "memory",
    "trace_settings": "settings",
    "log_settings": "settings",
}

#: A method and its arguments.
Change = tuple[str, Arguments]


class ReplayLog:
    """The changes in force, by what they change."""

    def __init__(self, started_with: Sequence[str] = ()) -> None:
        """`started_with`: --load-model, which each worker loads by itself."""
        self._started_with = frozenset(started_with)
        self._models: dict[str, Change] = {}
        self._regions: dict[str, Change] = {}
        self._settings: dict[tuple[str, ...], Change] = {}

    def record(self, change: Change, known: Collection[str] = ()) -> None:
        """Take note of a change that was made; `known`: the models that the server knows of."""
        match change:
            case "load_model", (_, name, _):
                self._models.pop(
                    name, None
                )  # or it would be repeated in the place of an earlier one
                self._models[name] = change
            case "unload_model", (_, name, _):
                self._models.pop(name, None)
                # A name that was never loaded may be unloaded too: those are not kept. What else is
                # loaded may be an ensemble that loads this one.
                loads = self._started_with or self._models
                if name in self._started_with or (loads and name in known):
                    self._models[name] = change
            case "register_system_region", (name, *_):
                self._regions[name] = change
            case "unregister_system_region", (name,):
                for region in [name] if name else list(self._regions):
                    self._regions.pop(region, None)
            case method, (*model, values):
                for key, value in values.items():
                    self._settings[method, *model, key] = method, (*model, {key: value})

    def changes(self) -> Iterator[Change]:
        """Yield what to repeat, in order: models first, since settings may name them."""
        yield from self._models.values()
        yield from self._regions.values()
        yield from self._settings.values()
