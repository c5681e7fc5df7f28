"""Sets what glibc does with freed memory, and makes and gives back its pages without anybody waiting.

By itself it returns each block of more than 32 MB to the system as soon as it is freed, and has a heap for each
thread. The next message then gets new pages, and to make those takes several times as long as the copy into
them, with the interpreter's lock held (bench/results/stall.md). So there is one heap, and what is free at
its end is returned only above _KEPT. Who is about to have a large block copied with the lock held has its pages
made first; server/zoo_server/memory_trimmer.py says when they are given back.

Where the C library has none of this (musl, macOS), nothing is done.
"""

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self, cast

#: What may stay free at the end of the heap, in bytes: all that can be said. glibc returns the rest within `free`,
#: while nobody else can allocate: 100 ms for 900 MB.
_KEPT = (1 << 31) - 1

#: Blocks from so many bytes on are mapped one by one, outside of the heap. protobuf calls malloc_trim with the
#: interpreter's lock held, at every 10,000th block that it frees (upb_trim_allocfunc in its python/protobuf.c):
#: 0.1 ms for each free megabyte of the heap, so a model's arena of hundreds of them must not lie there.
_MAPPED, _MAPPED_AT_MOST = 1 << 27, 1 << 25

#: By how much the heap grows at least: a large message comes in pieces of 16 kB, each of which would be a system call.
_GROWTH = 1 << 24

#: Free blocks of so many bytes are given back by us, this much at a time; smaller ones by malloc_trim.
_LARGEST, _SMALLEST, _AT_ONCE = 1 << 28, 1 << 20, 1 << 23

#: For work of bounded memory, blocks from so many bytes on are mapped one by one. The smaller ones leave holes in
#: the heap, which took 6 MB more while onnxruntime loaded a ResNet152V2 with four times as much here.
_MAPPED_WHEN_BOUNDED = 1 << 18

#: glibc's parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8

#: madvise(2); the second, since Linux 5.14, makes pages as if each had been written to.
_MADV_DONTNEED, _MADV_POPULATE_WRITE = 4, 23


@dataclass(frozen=True, slots=True, kw_only=True)
class _Glibc:
    """Its functions; each lets go of the interpreter's lock."""

    mallopt: Callable[[int, int], int]
    malloc_trim: Callable[[int], int]
    malloc: Callable[[int], int | None]
    free: Callable[[int], object]
    madvise: Callable[[int, int, int], int]
    mincore: Callable[[int, int, object], int]
    sbrk: Callable[[int], int]

    @classmethod
    def load(cls) -> Self | None:
        """Return them; None where there is another C library."""
        number, size, address = ctypes.c_int, ctypes.c_size_t, ctypes.c_void_p
        try:
            library = ctypes.CDLL(None)
            return cls(
                mallopt=_function(library, "mallopt", number, number, number),
                malloc_trim=_function(library, "malloc_trim", number, size),
                malloc=_function(library, "malloc", address, size),
                free=_function(library, "free", None, address),
                madvise=_function(library, "madvise", number, address, size, number),
                mincore=_function(library, "mincore", number, address, size, ctypes.c_char_p),
                sbrk=_function(library, "sbrk", address, ctypes.c_ssize_t),
            )
        except (OSError, AttributeError, TypeError):
            return None


def _function(
    library: ctypes.CDLL, name: str, result: type | None, *arguments: type
) -> Callable[..., int]:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return cast("Callable[..., int]", function)


class Heap:
    """The process's memory that is free, and its pages."""

    def __init__(self) -> None:
        self._glibc = _Glibc.load()
        #: Freed blocks of fewer bytes are used again; 0 as long as that is left to glibc.
        self._kept_below = 0
        self._returns_large_blocks = False

    def keep_freed_pages(self) -> None:
        """Use the pages of freed messages for those that follow; to be called before threads are started."""
        glibc = self._glibc
        if glibc is None:
            return
        glibc.mallopt(_M_ARENA_MAX, 1)
        # glibc before 2.35 allows no more than its heaps for threads could hold.
        for threshold in (_MAPPED, _MAPPED_AT_MOST):
            if glibc.mallopt(_M_MMAP_THRESHOLD, threshold):
                glibc.mallopt(_M_TRIM_THRESHOLD, _KEPT)
                glibc.mallopt(_M_TOP_PAD, _GROWTH)
                self._kept_below = threshold
                return

    def make_pages(self, size: int) -> None:
        """Make the pages of the block of so many bytes that is allocated next.

        It is a hint: another thread may take the block.
        """
        glibc = self._glibc
        if glibc is None or not 2 * mmap.PAGESIZE < size < self._kept_below:
            return
        block = glibc.malloc(size)
        if block:
            begin, end = _page_after(block), block + size
            # To look is a tenth of the work.
            there = ctypes.create_string_buffer(-(-(end - begin) // mmap.PAGESIZE))
            if glibc.mincore(begin, end - begin, there) or b"\0" in there.raw[:-1]:
                glibc.madvise(begin, end - begin, _MADV_POPULATE_WRITE)
            glibc.free(block)

    def give_back(self) -> None:
        """Return the pages to the system that nothing uses.

        malloc_trim alone keeps all other threads from allocating for as long as that takes, 30 ms for 300 MB.
        """
        glibc = self._glibc
        if glibc is None:
            return
        if self._kept_below:
            _give_back_large(glibc)
        glibc.malloc_trim(0)

    @contextmanager
    def returning_large_blocks(self) -> Iterator[None]:
        """Return blocks of a quarter of a megabyte or more as soon as they are freed: for work of bounded memory.

        Afterwards glibc keeps as much as it would have come to keep by itself.
        """
        glibc = self._glibc
        if glibc is None:
            yield
            return
        glibc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_WHEN_BOUNDED)
        glibc.malloc_trim(0)
        self._returns_large_blocks = True
        try:
            yield
        finally:
            self._returns_large_blocks = False
            glibc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_AT_MOST)
            glibc.mallopt(_M_TRIM_THRESHOLD, 2 * _MAPPED_AT_MOST)
            glibc.malloc_trim(0)

    def stage_ended(self) -> None:
        """Return what a stage of such work has freed in smaller blocks, in the heap of any thread."""
        if self._returns_large_blocks:
            self.give_back()


def _give_back_large(glibc: _Glibc) -> None:
    """Take every large free block, so that nobody else uses it, and let go of its pages."""
    size, blocks = _LARGEST, list[int]()
    while size >= _SMALLEST:
        end_of_heap = glibc.sbrk(0)
        block = glibc.malloc(size)
        if block and block < end_of_heap and glibc.sbrk(0) == end_of_heap:
            blocks.append(block)
            end = block + size
            for begin in range(_page_after(block), end - mmap.PAGESIZE, _AT_ONCE):
                stop = min(begin + _AT_ONCE, end - end % mmap.PAGESIZE)
                glibc.madvise(begin, stop - begin, _MADV_DONTNEED)
            continue
        # There was none of this size: it is new memory.
        if block:
            glibc.free(block)
        size //= 2
    for block in blocks:
        glibc.free(block)


def _page_after(address: int) -> int:
    return -(-address // mmap.PAGESIZE) * mmap.PAGESIZE


#: Of this process.
heap = Heap()
