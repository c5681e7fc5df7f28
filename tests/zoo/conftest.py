"""Programs that need TensorFlow, without waiting for its import each time (forking_python.py)."""

import subprocess
from collections.abc import Callable
from functools import partial

import pytest

from tests.zoo.keras_process import Outcomes, run_cases

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def zoo(python: Run) -> Run:
    """Run `zoo ARGUMENTS` in a process of its own."""
    return partial(python, "-m", "zoo.cli")


@pytest.fixture(scope="session")
def cases(python: Run) -> Callable[..., Outcomes]:
    """Run the cases of a module in a process of their own (keras_process.py)."""
    return partial(run_cases, python)
