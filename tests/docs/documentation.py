"""Builds the documentation for the tests that look at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT


def build_documentation(folder: Path) -> Path:
    """Return the folder of the pages; a broken reference or a docstring that cannot be read fails."""
    pytest.importorskip("sphinx", reason="the documentation's group is not installed: make docs")
    done = subprocess.run(
        [
            sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning",
            "--doctree-dir", str(folder / "doctrees"), "docs", str(folder / "html"),
        ],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "html"
