"""What the client's tests share: a scripted server, and clients of it of both kinds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.zoo.client.scripted_server import FakeServer, blocking
from zoo.client import Client


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A scripted server on a free port."""
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture(params=[Client, blocking], ids=["threads", "asyncio"])
def client(request: pytest.FixtureRequest, fake: FakeServer) -> Iterator[Any]:
    """A client of the scripted server, of each kind, to be used as Client is."""
    with request.param(fake.address) as connected:
        yield connected
