"""The cache of a remote repository: whole folders, of bounded size, whatever ends its users."""

import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from zoo_server.errors import ModelLoadError
from zoo_server.repository.remote.cache import Cache


def filling(content=b"content"):
    def fill(folder):
        (folder / "file").write_bytes(content)

    return fill


def never(_):
    pytest.fail("it is in the cache")


def folders(cache):
    return sorted(entry.name for entry in cache.root.iterdir() if entry.is_dir())


def test_a_folder_is_filled_once(tmp_path):
    """By whichever of many threads and caches of the same folder comes first."""
    count, leases = [], []

    def fill(folder):
        count.append(folder)
        filling()(folder)

    def obtain():
        leases.append(Cache(tmp_path, 100).obtain("aa-7", fill))

    threads = [threading.Thread(target=obtain) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(count), len(leases)) == (1, 8)
    assert (tmp_path / "aa-7" / "file").read_bytes() == b"content"


def test_a_failure_leaves_nothing(tmp_path):
    """Neither a folder nor a half of one; what was there stays."""
    cache = Cache(tmp_path, 100)
    cache.obtain("aa-7", filling())

    def fail(folder):
        filling()(folder)
        raise ModelLoadError("the store is away")

    with pytest.raises(ModelLoadError, match="away"):
        cache.obtain("bb-7", fail)
    assert folders(cache) == ["aa-7"]
    cache.obtain("aa-7", never)


def test_the_least_recently_used_makes_room(tmp_path):
    """What is held does not, also by another cache of the same folder."""
    cache = Cache(tmp_path, 21)
    held = Cache(tmp_path, 21).obtain("aa-7", filling())
    for key in ("bb-7", "cc-7", "bb-7"):
        cache.obtain(key, filling())
    cache.obtain("dd-7", filling())
    assert folders(cache) == ["aa-7", "bb-7", "dd-7"]
    with pytest.raises(OSError, match="no room for 15 bytes: 7 of 21 are in use"):
        cache.obtain("ee-15", filling())
    del held
    cache.obtain("ee-15", filling(b"fifteen letters"))
    assert folders(cache) == ["ee-15"]


def test_a_killed_process_leaves_nothing_that_counts(tmp_path):
    """What it was writing is removed by the next that needs room; what it held may go."""
    program = textwrap.dedent(
        f"""
        import time
        from pathlib import Path
        from zoo_server.repository.remote.cache import Cache
        cache = Cache(Path({str(tmp_path)!r}), 20)
        held = cache.obtain("aa-7", lambda folder: None)
        def fill(folder):
            (folder / "file").write_bytes(b"half")
            print("writing", flush=True)
            time.sleep(60)
        cache.obtain("bb-7", fill)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        cache = Cache(tmp_path, 20)
        with pytest.raises(OSError, match="14 of 20 are in use"):
            cache.obtain("cc-20", never)
        process.send_signal(signal.SIGKILL)
        process.wait()
    cache.obtain("bb-7", filling())
    assert folders(cache) == ["aa-7", "bb-7"]
    cache.obtain("cc-20", filling(b"x" * 20))
    assert folders(cache) == ["cc-20"]


def test_a_full_disk_leaves_what_was_there(tmp_path):
    """On a disk of 64 KiB: what does not fit is refused, before or while it is written."""
    program = textwrap.dedent(
        f"""
        from pathlib import Path
        from zoo_server.repository.remote.cache import Cache
        cache = Cache(Path({str(tmp_path)!r}), 1 << 40)
        def fill(size):
            return lambda folder: (folder / "file").write_bytes(b"x" * size) and None
        cache.obtain("aa-7", fill(7))
        for key, size in (("bb-1000000", 1000000), ("cc-7", 1000000)):
            try: cache.obtain(key, fill(size))
            except OSError as error: print(error)
        print(sorted(entry.name for entry in cache.root.iterdir() if entry.is_dir()))
        """
    )
    mount = f"mount -t tmpfs -o size=64k tmpfs {tmp_path} && exec {sys.executable} -c '{program}'"
    mount = mount.replace(f"'{tmp_path}'", f'"{tmp_path}"')
    ran = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True, text=True
    )
    if "unshare" in ran.stderr or "mount:" in ran.stderr:
        pytest.skip(f"no disk of the test's own: {ran.stderr.strip()}")
    before, meanwhile, left = ran.stdout.splitlines()
    assert "has no room for 1000000 bytes" in before
    assert "No space left on device" in meanwhile
    assert left == "['aa-7']"
