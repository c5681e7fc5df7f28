"""What the client's tests share: a scripted server, clients of it of both kinds, and one inference."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.zoo.client.scripted_server import FakeServer, blocking
from zoo.client import AsyncClient, Client


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


def _sync(address: str, model: str, inputs: Any, **options: Any) -> Any:
    with Client(address, **options) as client:
        return client.infer(model, inputs)


def _async(address: str, model: str, inputs: Any, **options: Any) -> Any:
    async def run() -> Any:
        async with AsyncClient(address, **options) as client:
            return await client.infer(model, inputs)

    return asyncio.run(run())


@pytest.fixture(params=[_sync, _async], ids=["threads", "asyncio"])
def infer(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """One inference through each client: every test that takes it runs twice."""
    through: Callable[..., Any] = request.param
    return through
