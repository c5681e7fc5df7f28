"""Files on disk: whole or not there, and hidden from readers while they are written."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from zoo.errors import StorageError
from zoo.files import TEMPORARY_PREFIX, atomic_write, locked, sha256, staged_folder
from zoo_server.repository import layout


def test_what_is_being_written_is_hidden_from_a_server() -> None:
    """The server passes over the names that publishers use."""
    assert layout.is_hidden(f"{TEMPORARY_PREFIX}model")
    assert TEMPORARY_PREFIX == layout.TEMPORARY_PREFIX


def test_a_file_is_replaced_whole_and_an_equal_one_is_left_alone(tmp_path: Path) -> None:
    """An unchanged file keeps its time, so that nobody reads it again."""
    path = tmp_path / "file"
    atomic_write(path, b"one")
    before = path.stat()
    atomic_write(path, b"one")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert sha256(path) == "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3"


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    """No content is content too."""
    atomic_write(tmp_path / "empty", b"")

    assert (tmp_path / "empty").is_file()


def test_a_staged_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    """Whatever happens in it; what the disk refuses is said in one line that names the place."""
    with staged_folder(tmp_path, "model") as folder:
        (folder / "file").write_text("half")
        assert layout.is_hidden(folder.name)
    with pytest.raises(ValueError, match="a bug"), staged_folder(tmp_path, "model"):
        raise ValueError("a bug")
    with (
        pytest.raises(StorageError, match=f"{tmp_path}: No space left on device: nothing was"),
        staged_folder(tmp_path, "model"),
    ):
        raise OSError(28, "No space left on device")

    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_held_against_other_processes(tmp_path: Path) -> None:
    """And free again once its holder is done."""
    program = textwrap.dedent(
        """
        import fcntl, sys
        with open(sys.argv[1], "a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("held")
            else:
                print("free")
        """
    )

    def other() -> str:
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "lock")],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        return done.stdout.strip()

    with locked(tmp_path / "lock"):
        assert other() == "held"
    assert other() == "free"
