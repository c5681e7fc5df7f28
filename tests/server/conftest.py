"""What every test of the server may ask for: graphs, a repository, and a server of it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

import grpc
import pytest

from tests.server.grpc_callers import Wire, connections, infer_request, serve_grpc
from tests.server.http_callers import Rest, rest_server
from tests.server.model_repositories import Repository, every_kind
from tests.server.onnx_graphs import Graphs
from tests.server.server_processes import RestProcess, ServerProcess
from zoo_proto import grpc_service_pb2 as pb
from zoo_server.config import TRANSPORTS


@pytest.fixture(scope="session")
def graphs() -> Graphs:
    """Builders of tiny models."""
    return Graphs()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty model repository."""
    return Repository(tmp_path / "models")


@pytest.fixture(scope="session", params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    """Each way of serving gRPC; a test of what is the same over both says so (transports.py)."""
    return str(request.param)


@pytest.fixture(scope="session")
def serve(transport: str) -> Callable[..., AbstractContextManager[Wire]]:
    """Serve a repository in this process: `with serve(path, provider="cpu") as wire:`."""
    return partial(serve_grpc, transport=transport)


@pytest.fixture
def server_process(transport: str) -> Iterator[Callable[..., ServerProcess]]:
    """Start servers in their own processes; all are ended with the test."""
    with ExitStack() as stack:

        def start(*arguments: object, first: str = "") -> ServerProcess:
            process = ServerProcess(
                [str(argument) for argument in (*arguments, "--transport", transport)], first
            )
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture
def two(
    repository: Repository, graphs: Graphs, server_process: Callable[..., ServerProcess]
) -> Callable[..., ServerProcess]:
    """Start two workers that serve `m`, on a free port, with what else a test wants."""
    repository.add("m", graphs.identity())

    def start(*options: object) -> ServerProcess:
        return server_process(repository.path, "--grpc-port", "0", "--workers", "2", *options)

    return start


@pytest.fixture(scope="session")
def connected() -> Callable[..., AbstractContextManager[list[grpc.Channel]]]:
    """Open connections of their own: `with connected(address) as channels:`.

    All of sixteen go to one of two workers once in 32768 times.
    """
    return connections


@pytest.fixture(scope="session")
def make_request() -> Callable[..., pb.ModelInferRequest]:
    """Build a request with raw contents from numeric arrays."""
    return infer_request


@pytest.fixture(scope="session")
def wire(
    tmp_path_factory: pytest.TempPathFactory, graphs: Graphs, transport: str
) -> Iterator[Wire]:
    """One server for all tests that only ask: an identity a datatype, and some special models."""
    repository = every_kind(tmp_path_factory.mktemp("wire") / "models", graphs)
    with serve_grpc(repository.path, transport=transport) as served:
        yield served


@pytest.fixture(scope="session")
def serve_rest() -> Callable[..., AbstractContextManager[Rest]]:
    """Serve a repository with HTTP and metrics: `with serve_rest(path) as rest:`."""
    return rest_server


@pytest.fixture(scope="session")
def rest(tmp_path_factory: pytest.TempPathFactory, graphs: Graphs) -> Iterator[Rest]:
    """One server for all tests that only ask over HTTP."""
    repository = every_kind(tmp_path_factory.mktemp("rest") / "models", graphs)
    repository.add("slow", graphs.slow())
    with rest_server(repository.path) as served:
        yield served


@pytest.fixture(scope="session")
def start_rest_process(
    tmp_path_factory: pytest.TempPathFactory, graphs: Graphs
) -> Iterator[Callable[[], RestProcess]]:
    """Start servers in their own processes, open to everything that REST offers."""
    repository = every_kind(tmp_path_factory.mktemp("rest") / "models", graphs)
    repository.add("spare", graphs.identity())
    arguments = (str(repository.path), "--model-control-mode", "explicit", "--load-model", "*")
    with ExitStack() as stack:

        def start() -> RestProcess:
            process = RestProcess(*arguments, "--allow-shared-memory")
            stack.callback(process.close)
            return process

        yield start


@pytest.fixture(scope="session")
def rest_process(start_rest_process: Callable[[], RestProcess]) -> RestProcess:
    """One such server for all tests that only ask."""
    return start_rest_process()


@pytest.fixture
def slow(repository: Repository, graphs: Graphs) -> Path:
    """Return a repository with a model as slow as it is told to be."""
    repository.add("slow", graphs.slow())
    return repository.path
