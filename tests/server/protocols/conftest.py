"""Certificates, and a server of one model on every port that is given them or a file of tokens."""

import pytest

from tests.server.protocols.secure_servers import TOKEN, Certificates
from zoo_server.config import ServerConfig
from zoo_server.server import running


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """Make the certificates once."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def serve_secure(repository, graphs, transport, tmp_path):
    """Return a function that configures a server of one model, on every port."""
    repository.add("identity", graphs.identity())
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    def configured(**options):
        return running(
            ServerConfig(
                repository=repository.path,
                grpc_port=0,
                http_port=0,
                metrics_port=0,
                drain_seconds=2.0,
                transport=transport,
                **options,
            )
        )

    return configured
