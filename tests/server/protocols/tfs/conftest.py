"""Clients of TensorFlow Serving's protocol, and the servers that they ask."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.server.protocols.tfs.client import LABELS, Client


@pytest.fixture
def client(wire: Any) -> Client:
    """A client of the server that all tests share."""
    return Client(wire.channel)


@pytest.fixture
def labelled(repository: Any, graphs: Any, serve: Callable[..., Any]) -> Iterator[Client]:
    """A client of a server with a model of versions 1 to 3, two of them labelled, and a bad one."""
    for version in (1, 2, 3):
        repository.add("m", graphs.identity(), f"version_policy {{ all {{}} }} {LABELS}", version)
    repository.add("bad", b"no graph")
    with serve(repository.path) as wire:
        yield Client(wire.channel)
