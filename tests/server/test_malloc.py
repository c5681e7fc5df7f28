"""What becomes of freed memory, in a process of its own."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's settings")

_FAULTS = """
import resource
from zoo_server.malloc import heap

def faults(work):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    work()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

heap.keep_freed_pages()
message = b"x" * (24 << 20)
copy = lambda: bytes(memoryview(message))  # freed at once
"""


def _run(program):
    done = subprocess.run(
        [sys.executable, "-c", _FAULTS + program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [int(word) for word in done.stdout.split()]


def test_the_pages_of_a_freed_message_are_used_again():
    """The second copy of a large message meets next to no new page."""
    first, second = _run("print(faults(copy), faults(copy))")

    assert first > 1000
    assert second < first / 20


def test_pages_that_are_made_before_a_copy_are_met_by_it():
    _, copied = _run("print(faults(lambda: heap.make_pages(len(message) + 100)), faults(copy))")

    assert copied < 1000


def test_what_is_free_is_given_back_and_the_rest_left_alone():
    program = """
from pathlib import Path
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])
before = pages()
blocks = [bytearray(index % 251 + 1 for index in range(size)) * 256 for size in range(20_000, 40_000, 1000)]
kept = blocks[::3]
full = pages()
del blocks
heap.give_back()
right = all(block == bytearray(index % 251 + 1 for index in range(len(block) // 256)) * 256 for block in kept)
print(full - before, pages() - before, sum(map(len, kept)) // 4096, int(right))
"""
    full, left, needed, right = _run(program)

    assert right
    assert full > 2.5 * needed
    assert left < 1.2 * needed + 2000


def test_a_stage_of_bounded_memory_gives_back_small_blocks_too():
    """Those below one that is still used; outside of such work nothing is done."""
    program = """
from pathlib import Path
from zoo_server.malloc import Heap
pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])

def held(heap):
    blocks = [bytearray(b"x" * 100_000) for _ in range(1000)]
    last = bytearray(b"x" * 100_000)
    before = pages()
    del blocks
    heap.stage_ended()
    return before - pages()

heap = Heap()
outside = held(heap)
with heap.returning_large_blocks():
    within = held(heap)
print(outside, within)
"""
    outside, within = _run(program)

    assert outside < 2_000
    assert within > 20_000
