"""Repositories in Google's and Azure's stores: published, served and brought back; stores that go away."""

from urllib.parse import unquote_to_bytes

import pytest

from tests import emulators
from tests.server.grpc_callers import serve_grpc
from tests.server.repository.remote.callers import index, look_twice
from tests.server.repository.remote.test_serving import ROW
from zoo.cli import main
from zoo_server.errors import RepositoryUnreachable

pytestmark = pytest.mark.slow

#: What tells each store to write only if there is no such object: in the request's path, or its headers.
CONDITIONS = {"gs": "ifGenerationMatch=0", "az": "If-None-Match"}


@pytest.fixture(params=CONDITIONS)
def store(request, tmp_path, monkeypatch):
    """Yield the scheme, the URL of an empty repository, and the proxy before the store."""
    running = emulators.google() if request.param == "gs" else emulators.azure(tmp_path / "store")
    with running as (proxy, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield request.param, f"{request.param}://bucket/models", proxy


def test_a_version_is_published_served_and_brought_back(store, repository, graphs, tmp_path):
    """The whole way, by the commands; a version is claimed by a write that has a condition."""
    scheme, url, proxy = store
    conditions = []

    def watch(exchange):
        written = unquote_to_bytes(exchange.path) + exchange.body
        if exchange.command in ("PUT", "POST") and b"m/1/.upload" in written:
            conditions.append(CONDITIONS[scheme] in f"{exchange.path}\n{exchange.headers}")

    repository.add("m", graphs.identity())
    proxy.fault = watch
    assert main(["push", "m", url, "--repository", str(repository.path)]) == 0
    assert conditions
    assert all(conditions)

    with serve_grpc(
        url,
        repository_cache=tmp_path / "cache",
        model_control_mode="poll",
        repository_poll_secs=3600,
    ) as wire:
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        repository.add("m", graphs.with_default(), version=2)
        assert main(["push", "m", url, "--repository", str(repository.path)]) == 0
        look_twice(wire)
        assert wire.infer("m", x=ROW)["y"].tolist() == (ROW + 10).tolist()

    assert main(["pull", "m@1", url, "--repository", str(tmp_path / "copy")]) == 0
    assert (tmp_path / "copy/m/1/model.onnx").read_bytes() == graphs.identity()


def test_a_store_that_goes_away_and_refuses(store, repository, graphs, tmp_path):
    """What is loaded is served on, with the reason in the index, until the store is back."""
    _, url, proxy = store
    repository.add("m", graphs.identity())
    assert main(["push", "m", url, "--repository", str(repository.path)]) == 0
    options = {"repository_cache": tmp_path / "cache", "model_control_mode": "poll"}
    with serve_grpc(url, repository_poll_secs=3600, **options) as wire:
        for fault, says in (
            (lambda exchange: exchange.hang_up(), "cannot be read"),
            (
                lambda exchange: exchange.refuse(403, "AuthenticationFailed"),
                "refuses the credentials",
            ),
        ):
            proxy.fault = fault
            look_twice(wire)
            state, reason = index(wire)["m", "1"]
            assert (state, says in reason) == ("READY", True), reason
            assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        proxy.fault = None
        look_twice(wire)
        assert index(wire)["m", "1"] == ("READY", "")


def test_an_unreachable_store_ends_the_start(store, tmp_path):
    """By an error of one line."""
    _, url, proxy = store
    proxy.fault = lambda exchange: exchange.hang_up()
    with (
        pytest.raises(RepositoryUnreachable, match="cannot be read"),
        serve_grpc(url, repository_cache=tmp_path),
    ):
        pass
