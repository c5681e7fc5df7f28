"""Which of the processes that share a port gets a connection: evenly, for few connections too.

Linux chooses by a hash, which is as even as tossing a coin: of 16 connections one of two processes
gets 12 or more in one case of 13. The same kernel hands a client its ports in ascending order, each 2
to 16 above the last. So dealing out ports in blocks of 16 deals out a client's connections nearly in
turn, with one case of a hundred. A small filter of the kernel's (SO_ATTACH_REUSEPORT_CBPF, socket(7))
computes that; where it cannot be had, or names a process that is not there, the hash is used.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: socket(7); Python's module does not name it.
_ATTACH_REUSEPORT_CBPF = 51

#: linux/filter.h: the class, size and mode of each instruction used, and where IP's header is.
_LOAD_BYTE, _LOAD_HALF = 0x30, 0x28
_SHIFT_RIGHT, _MODULO = 0x74, 0x94
_JUMP_IF_EQUAL, _JUMP, _RETURN = 0x15, 0x05, 0x16
_NETWORK_HEADER = 0xFFF00000

#: Lengths of IP's headers without options; behind them comes the port that the client has.
_IPV4_BYTES, _IPV6_BYTES = 20, 40

#: The binary order of a block of ports.
_BLOCK = 4


def spread_evenly(port: int, processes: int) -> bool:
    """Spread connections to a port on which this process listens; False if only the hash does."""
    attached = False
    for listener in _listeners(port):
        with _program(processes) as program:
            try:
                listener.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, program)
            except OSError:
                return False
            attached = True
    return attached


def block_of(port: int, processes: int) -> int:
    """Return which process, counted from 0, a client's port leads to."""
    return (port >> _BLOCK) % processes


@contextmanager
def _program(processes: int) -> Iterator[bytes]:
    """Yield `block_of` as the kernel takes it: struct sock_fprog, pointing at its instructions."""
    instructions = (
        (_LOAD_BYTE, 0, 0, _NETWORK_HEADER),
        (_SHIFT_RIGHT, 0, 0, 4),
        (_JUMP_IF_EQUAL, 0, 2, 6),  # IP's version
        (_LOAD_HALF, 0, 0, _NETWORK_HEADER + _IPV6_BYTES),
        (_JUMP, 0, 0, 1),
        (_LOAD_HALF, 0, 0, _NETWORK_HEADER + _IPV4_BYTES),
        (_SHIFT_RIGHT, 0, 0, _BLOCK),
        (_MODULO, 0, 0, processes),
        (_RETURN, 0, 0, 0),
    )
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
    kept = ctypes.create_string_buffer(code, len(code))
    yield struct.pack("@HP", len(instructions), ctypes.addressof(kept))


def _listeners(port: int) -> Iterator[socket.socket]:
    """Yield this process's listening sockets on a port, which gRPC keeps to itself."""
    try:
        names = sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())
    except OSError:
        return
    for name in names:
        try:
            if not str(Path(f"/proc/self/fd/{name}").readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(name)) as found:
                if (
                    found.family in (socket.AF_INET, socket.AF_INET6)
                    and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                    and found.getsockname()[1] == port
                ):
                    yield found
        except OSError:
            continue  # closed meanwhile
