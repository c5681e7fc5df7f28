"""What the tests of quantisation share: graphs with seeded weights, made without Keras."""

from __future__ import annotations

from types import ModuleType

import pytest

from tests.zoo.quantize import graphs


@pytest.fixture(scope="session")
def lab() -> ModuleType:
    """The graphs of graphs.py."""
    return graphs
