"""What the zoo's tests share."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

QUANTIZE_LAB = Path(__file__).with_name("quantize_lab.py")


@pytest.fixture(scope="module")
def lab() -> ModuleType:
    """The graphs of quantize_lab.py."""
    spec = importlib.util.spec_from_file_location("quantize_lab", QUANTIZE_LAB)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
