"""Large copies without the interpreter's lock, so that other threads run meanwhile.

`b"".join` and slices copy with the lock held: 64 MB take some 10 ms, and several times as long where the system has to
make the pages first. Here the C library copies, called through ctypes, which lets go of the lock.
"""

import ctypes
from collections.abc import Sequence

import numpy as np

#: Up to so many bytes a copy with the lock held is shorter than the wait for the lock afterwards.
COPIED_AT_ONCE = 1 << 18

#: Bytes objects that are not filled yet are C's alone to make (Python/C API, Bytes Objects).
_new_bytes = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_char_p, ctypes.c_ssize_t)(
    ("PyBytes_FromStringAndSize", ctypes.pythonapi)
)
_address_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ("PyBytes_AsString", ctypes.pythonapi)
)


def join(pieces: Sequence[bytes | memoryview]) -> bytes:
    """Return the pieces, which are contiguous, as one."""
    size = sum(map(len, pieces))
    if size <= COPIED_AT_ONCE:
        return b"".join(pieces)
    whole: bytes = _new_bytes(None, size)
    # Nobody else has it before it is whole.
    to = _address_of(whole)
    for piece in pieces:
        if len(piece):
            # numpy tells the address of what is read only, too.
            source = np.frombuffer(piece, np.uint8)
            ctypes.memmove(to, source.ctypes.data, source.nbytes)
            to += source.nbytes
    return whole
