"""What is built once is built once, however many of pytest-xdist's workers there are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WORKERS = ("-n", "2", "--dist", "loadfile", "-p", "no:hypothesispytest")

CONFTEST = """
import time
import pytest
from tests.shared_folder import shared_folder

def build(folder):
    with open({count!r}, "a") as file:
        file.write(folder.name + " ")
    time.sleep(0.5)
    if folder.name == "broken":
        raise OSError
    (folder / "file").write_text("x")
    return "log"

@pytest.fixture(scope="session", params=["models", "broken"])
def built(request, tmp_path_factory):
    return shared_folder(tmp_path_factory, request.param, build)
"""

MODULE = """
def test_it(built):
    folder, text = built
    assert [path.name for path in folder.iterdir()] == ["file"]
    assert text == "log"
"""


@pytest.mark.slow
def test_two_modules_build_once(tmp_path: Path) -> None:
    """Also if it fails: the second module fails too, and does not wait for another try."""
    count = tmp_path / "count"
    (tmp_path / "conftest.py").write_text(CONFTEST.format(count=str(count)))
    for name in ("test_a.py", "test_b.py"):
        (tmp_path / name).write_text(MODULE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", *WORKERS, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=ROOT,
    )

    assert "2 passed, 2 errors" in done.stdout, done.stdout + done.stderr
    assert sorted(count.read_text().split()) == ["broken", "models"]
