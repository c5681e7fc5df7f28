"""System shared memory: regions of POSIX shared memory objects, registered by callers on this machine.

    /dev/shm/KEY   [------|===== region NAME =====|----]
                          offset          byte_size

An input named by region is a view of the object's memory, which goes into the runtime as it is; an
output named by region is written there once. Views keep the mapping alive: a region unregistered
while a request runs on it stays mapped until that request has ended (docs/protocol.md 2.1).

A caller that shares memory with the server can change a tensor while it is being read. That can spoil an
answer and, inside a runtime that trusts its inputs, more: the feature is opt-in, for trusted callers.
"""

import mmap
import os
import resource
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zoo_server.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    SharedMemoryFailed,
    Unsupported,
)

#: Where Linux keeps what shm_open opens.
_ROOT = Path("/dev/shm")

#: Of one path component, in bytes.
_NAME_MAX = 255

#: Keys under which Triton's Python backend keeps its own objects; refused there, and so here.
_RESERVED_PREFIX = "triton_python_backend_shm_region_"

DISABLED = (
    "Client shared memory is disabled. Start the server with --allow-shared-memory to enable."
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """One registered region; the mapping ends with the last reference to it or to a view of it."""

    name: str
    key: str
    #: Of the region in the object, in bytes.
    offset: int
    byte_size: int
    mapping: mmap.mmap
    #: Of the mapping in the object: mappings begin at pages.
    mapped_from: int

    def check_extent(self, end: int) -> None:
        """Refuse what lies beyond the object's end by now: to touch it would end the process."""
        if end > self.mapping.size():
            raise InvalidRequest(
                f"shared memory region: '{self.name}' has become smaller than it was registered"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where one input lies instead of in the request."""

    region: Region
    view: memoryview
    #: Where the view ends in the object.
    end: int

    def __len__(self) -> int:
        return len(self.view)

    def read(self) -> memoryview:
        """Return the bytes, to be read at once; InvalidRequest if they are no longer there."""
        self.region.check_extent(self.end)
        return self.view


@dataclass(frozen=True, slots=True, eq=False)
class Destination:
    """Where one output goes instead of into the answer."""

    region: Region
    view: memoryview
    #: Where the view ends in the object.
    end: int

    def write(self, name: str, raw: bytes | memoryview) -> None:
        """Write an output's elements in wire form; SharedMemoryFailed if they do not fit."""
        size = len(raw)
        if size > len(self.view):
            raise SharedMemoryFailed(
                f"shared memory size specified with the request for output '{name}' "
                f"({len(self.view)} bytes) should be at least {size} bytes to hold the results"
            )
        self.region.check_extent(self.end)  # once more: the run took its time
        self.view[:size] = raw


class SharedMemory:
    """The registered regions, by name."""

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled
        self._lock = threading.Lock()
        self._regions: dict[str, Region] = {}
        self._listeners: list[Callable[[], None]] = []

    def when_unregistered(self, listener: Callable[[], None]) -> None:
        """Have a function called after regions were unregistered: who keeps parts lets go of them."""
        self._listeners.append(listener)

    def register(self, name: str, key: str, offset: int, byte_size: int) -> None:
        """Map a part of a shared memory object under a name.

        Unsupported unless enabled, InvalidRequest for a key or bounds that are none, AlreadyExists
        for a name in use, SharedMemoryFailed if the object cannot be opened.
        """
        if not self.enabled:
            raise Unsupported(DISABLED)
        file = _file_of(name, key)
        with self._lock:
            if name in self._regions:
                raise AlreadyExists(f"shared memory region '{name}' already in manager")
            if len(self._regions) >= _most_regions():
                raise SharedMemoryFailed(
                    f"failed to register shared memory region '{name}': {len(self._regions)} are "
                    "registered, which is half of the files that this process may have open"
                )
            self._regions[name] = _map(name, key, file, offset, byte_size)

    def unregister(self, name: str) -> None:
        """Forget a region, or all of them for the name ""; what is not registered is forgotten."""
        with self._lock:
            if name:
                self._regions.pop(name, None)
            else:
                self._regions.clear()
        for listener in self._listeners:
            listener()

    def status(self, name: str) -> list[Region]:
        """Return one region, or all of them for the name ""; NotFound for one that is not there."""
        with self._lock:
            if not name:
                return list(self._regions.values())
            try:
                return [self._regions[name]]
            except KeyError:
                raise NotFound(f"Unable to find system shared memory region: '{name}'") from None

    def source(self, name: str, offset: int, byte_size: int) -> Source:
        """Return a part of a region to read from, without a copy.

        Unsupported unless enabled, NotFound for an unknown region, InvalidRequest if the part does
        not lie inside it.
        """
        return Source(*self._part(name, offset, byte_size))

    def destination(self, name: str, offset: int, byte_size: int) -> Destination:
        """Return a part of a region to write to; errors as for `source`."""
        return Destination(*self._part(name, offset, byte_size))

    def _part(self, name: str, offset: int, byte_size: int) -> tuple[Region, memoryview, int]:
        if not self.enabled:
            raise Unsupported(DISABLED)
        with self._lock:
            region = self._regions.get(name)
        if region is None:
            raise NotFound(f"Unable to find shared memory region: '{name}'")
        if not 0 <= offset < region.byte_size:
            raise InvalidRequest(f"Invalid offset for shared memory region: '{name}'")
        if not 0 <= byte_size <= region.byte_size - offset:
            raise InvalidRequest(f"Invalid offset + byte size for shared memory region: '{name}'")
        end = region.offset + offset + byte_size
        region.check_extent(end)
        last = end - region.mapped_from
        view = memoryview(region.mapping)[last - byte_size : last]
        return region, view, end


def _file_of(name: str, key: str) -> Path:
    """Return the file of a key by the rules of shm_open: one name, leading slashes do not count."""
    bare = key.lstrip("/")
    if bare.startswith(_RESERVED_PREFIX):
        raise InvalidRequest(
            f"cannot register shared memory region '{name}' with key '{key}' as the key contains "
            f"the reserved prefix '{_RESERVED_PREFIX}'"
        )
    if not bare:
        raise InvalidRequest(
            f"cannot register shared memory region '{name}' - invalid shm key '{key[:300]}'"
        )
    encoded = bare.encode("utf-8", "surrogatepass")
    if bare in (".", "..") or {"/", "\0"} & set(bare) or len(encoded) > _NAME_MAX:
        raise SharedMemoryFailed(
            f"Unable to open shared memory region: '{key[:300]}' (it is not one plain name)"
        )
    return _ROOT / bare


def _map(name: str, key: str, file: Path, offset: int, byte_size: int) -> Region:
    try:
        # No link is followed, and a pipe of that name is not waited for.
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(file, flags)
    except OSError as error:
        raise SharedMemoryFailed(
            f"Unable to open shared memory region: '{key}' ({error.strerror})"
        ) from None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SharedMemoryFailed(f"Invalid shared memory region: '{key}'")
        if byte_size < 1 or offset < 0 or offset + byte_size > status.st_size:
            raise InvalidRequest(
                f"failed to register shared memory region '{name}': invalid args (offset {offset}, "
                f"byte size {byte_size}, of an object of {status.st_size} bytes)"
            )
        mapped_from = offset - offset % mmap.ALLOCATIONGRANULARITY
        length = offset - mapped_from + byte_size
        mapping = mmap.mmap(descriptor, length, offset=mapped_from)
    except (OSError, ValueError, OverflowError) as error:
        raise SharedMemoryFailed(
            f"failed to register shared memory region '{name}': {error}"
        ) from None
    finally:
        os.close(descriptor)
    return Region(
        name=name,
        key=key,
        offset=offset,
        byte_size=byte_size,
        mapping=mapping,
        mapped_from=mapped_from,
    )


def _most_regions() -> int:
    """Each mapping keeps a file open; half of those allowed are left for connections and models."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
