"""A server in explicit mode, and a client of it."""

import pytest
import tritonclient.grpc as triton

from tests.server.models.control_calls import Opener


@pytest.fixture
def opener():
    """What opens the graphs of the server in explicit mode."""
    return Opener()


@pytest.fixture
def explicit(repository, graphs, serve, opener):
    """A server in explicit mode of a repository with the models m, n and bad; none is loaded."""
    repository.add("m", graphs.identity())
    repository.add("n", graphs.identity())
    repository.add("bad", b"not a graph")
    with serve(repository.path, opener=opener, model_control_mode="explicit") as wire:
        yield wire


@pytest.fixture
def client(explicit):
    """An unmodified tritonclient of that server."""
    with triton.InferenceServerClient(explicit.address) as connected:
        yield connected
