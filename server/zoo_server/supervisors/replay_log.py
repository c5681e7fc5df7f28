"""Changes that callers have asked for, as far as a worker started later has to make up for them.

What a later change undoes is dropped, so that the journal is as large as what is in force and not as
old as the server:

    load a, load b, unload a    ──>  load b
    register r, unregister r    ──>
    log_info off, log_info on   ──>  log_info on
"""

from collections.abc import Collection, Iterator, Sequence

from zoo_proto import grpc_service_pb2 as pb

#: --load-model's word for every model.
_ALL = "*"

#: The RPCs that change the server, and the lane of each: changes of one lane come one by one.
LANES = {
    "RepositoryModelLoad": "models",
    "RepositoryModelUnload": "models",
    "SystemSharedMemoryRegister": "memory",
    "SystemSharedMemoryUnregister": "memory",
    "TraceSetting": "settings",
    "LogSettings": "settings",
}


class Journal:
    """The changes in force; each is an RPC's name and its serialised request."""

    def __init__(self, started_with: Sequence[str] = ()) -> None:
        """`started_with`: --load-model, which each worker loads by itself."""
        self._started_with = frozenset(started_with)
        self._models: dict[str, tuple[str, bytes]] = {}
        self._regions: dict[str, bytes] = {}
        self._traces: dict[str, pb.TraceSettingRequest] = {}
        self._logs = pb.LogSettingsRequest()

    def record(self, method: str, request: bytes, known: Collection[str] = ()) -> None:
        """Take note of a change that was made; `known`: the models that the server knows of.

        KeyError for an RPC that changes nothing.
        """
        _RECORDERS[method](self, request, known)

    def changes(self) -> Iterator[tuple[str, bytes]]:
        """Yield what to repeat, in order: models first, since settings may name them."""
        yield from self._models.values()
        for region in self._regions.values():
            yield "SystemSharedMemoryRegister", region
        for traces in self._traces.values():
            yield "TraceSetting", traces.SerializeToString()
        if self._logs.settings:
            yield "LogSettings", self._logs.SerializeToString()

    def _load(self, request: bytes, _: Collection[str]) -> None:
        name = pb.RepositoryModelLoadRequest.FromString(request).model_name
        self._models.pop(name, None)  # or it would be repeated in the place of an earlier one
        self._models[name] = "RepositoryModelLoad", request

    def _unload(self, request: bytes, known: Collection[str]) -> None:
        name = pb.RepositoryModelUnloadRequest.FromString(request).model_name
        self._models.pop(name, None)
        # Unloading what never was there succeeds too: names that a stranger invents are not kept.
        if name in self._started_with or (_ALL in self._started_with and name in known):
            self._models[name] = "RepositoryModelUnload", request

    def _register(self, request: bytes, _: Collection[str]) -> None:
        name = pb.SystemSharedMemoryRegisterRequest.FromString(request).name
        self._regions[name] = request

    def _unregister(self, request: bytes, _: Collection[str]) -> None:
        name = pb.SystemSharedMemoryUnregisterRequest.FromString(request).name
        if name:
            self._regions.pop(name, None)
        else:
            self._regions.clear()

    def _trace(self, request: bytes, _: Collection[str]) -> None:
        given = pb.TraceSettingRequest.FromString(request)
        kept = self._traces.setdefault(
            given.model_name, pb.TraceSettingRequest(model_name=given.model_name)
        )
        for key, setting in given.settings.items():
            kept.settings[key].CopyFrom(setting)

    def _log(self, request: bytes, _: Collection[str]) -> None:
        for key, setting in pb.LogSettingsRequest.FromString(request).settings.items():
            self._logs.settings[key].CopyFrom(setting)


_RECORDERS = {
    "RepositoryModelLoad": Journal._load,
    "RepositoryModelUnload": Journal._unload,
    "SystemSharedMemoryRegister": Journal._register,
    "SystemSharedMemoryUnregister": Journal._unregister,
    "TraceSetting": Journal._trace,
    "LogSettings": Journal._log,
}
