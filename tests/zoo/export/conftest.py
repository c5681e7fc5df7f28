"""A copy of the published models that a test may damage."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def published(trained, tmp_path: Path) -> Path:
    """A private copy of the repository."""
    shutil.copytree(trained.repository, tmp_path / "models")
    return tmp_path / "models"
