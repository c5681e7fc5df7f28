"""What the zoo's tests share."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _laboratory(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lab() -> ModuleType:
    """The graphs of quantize_lab.py."""
    return _laboratory("quantize_lab")


@pytest.fixture(scope="session")
def client_lab() -> ModuleType:
    """The scripted server of client_lab.py."""
    return _laboratory("client_lab")


@pytest.fixture
def fake(client_lab: ModuleType) -> Iterator[Any]:
    """A FakeServer of client_lab.py on a free port."""
    server = client_lab.FakeServer()
    yield server
    server.stop()


@pytest.fixture(params=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, client_lab: ModuleType, fake: Any) -> Iterator[Any]:
    """A client of the scripted server, of each kind, to be used as Client is."""
    from zoo.client import Client

    connect = {"threads": Client, "asyncio": client_lab.blocking}[request.param]
    with connect(fake.address) as connected:
        yield connected
