"""Stores that are slow, refuse, lie, change and go away: nothing is half loaded, nothing is lost."""

import functools
import http.server
import os
import re
import threading

import grpc
import numpy as np
import pytest

from tests.server.grpc_callers import serve_grpc
from tests.server.http_callers import rest_server
from tests.server.repository.remote.callers import index, load, look_twice
from tests.server.server_processes import ServerProcess
from tests.waiting import until
from zoo_server.errors import ConfigurationError

ROW = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture
def one_try(monkeypatch):
    """The driver's own tries, whose pauses add up, are one."""
    monkeypatch.setattr("s3fs.S3FileSystem.retries", 1)


def of_graphs(fault):
    """Have a fault befall what reads a graph, and nothing else."""
    return lambda exchange: (
        exchange.reads_object and exchange.path.endswith(".onnx") and fault(exchange)
    )


FAULTS = {
    "out of service": lambda exchange: exchange.refuse(500, "InternalError"),
    "busy": lambda exchange: exchange.refuse(503, "ServiceUnavailable"),
    "cut off": lambda exchange: exchange.forward(most=20),
    "cut short": lambda exchange: exchange.forward(most=20, says=True),
    "hung up": lambda exchange: exchange.hang_up(),
    "gone": lambda exchange: exchange.refuse(404, "NoSuchKey"),
}


def test_what_cannot_be_read_is_tried_again(stored, serve, graphs, tmp_path, one_try):
    """The reason is in the index, what was there is served, nothing is kept, a later look succeeds."""
    with serve("poll") as wire:
        for version, (name, fault) in enumerate(FAULTS.items(), 3):
            stored.put(f"m/{version}/model.onnx", graphs.identity())
            stored.fail(of_graphs(fault))
            look_twice(wire)
            state, reason = index(wire)["m", str(version)]
            assert state == "UNAVAILABLE", name
            assert re.search("cannot be read|cut short|changed", reason), name
            assert wire.infer("m", str(version - 1), x=ROW)["y"].tolist() == ROW.tolist()
            assert len(list((tmp_path / "cache").rglob("*.onnx"))) == version - 2
            look_twice(wire)
            assert index(wire)["m", str(version)][0] == "UNAVAILABLE", name
            stored.fail(None)
            look_twice(wire)
            look_twice(wire)
            assert index(wire)["m", str(version)] == ("READY", ""), name


def test_a_store_that_is_busy_for_a_moment_is_asked_again(stored, serve):
    """Drivers repeat what a store refuses for now."""
    left = [2]

    def refuse_twice(exchange):
        left[0] -= 1
        return left[0] >= 0 and exchange.refuse(503, "SlowDown")

    stored.fail(of_graphs(refuse_twice))
    with serve() as wire:
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


def test_a_slow_store_does_not_hold_up_the_server(stored, serve, graphs):
    """What is still being read is LOADING, the others are served."""
    go = threading.Event()
    stored.put("quick/1/model.onnx", graphs.identity())
    stored.fail(lambda exchange: "/m/2/" in exchange.path and not go.wait(20))
    with serve(startup_wait=0.5) as wire:
        until(lambda: index(wire)["quick", "1"][0] == "READY")
        assert index(wire)["m", "2"][0] == "LOADING"
        go.set()
        until(lambda: index(wire)["m", "2"][0] == "READY")


def test_a_version_that_changes_while_it_is_read(stored, serve, graphs):
    """Files of two contents are never served together; the new content is, once it is at rest."""
    changes = [graphs.with_default()]

    def change():
        if changes:
            stored.put("m/2/model.onnx", changes.pop())

    stored.fail(of_graphs(lambda exchange: exchange.forward(meanwhile=change)))
    with serve("poll") as wire:
        assert index(wire)["m", "2"] == ("UNAVAILABLE", "m/2 changed while it was read")
        look_twice(wire)
        look_twice(wire)
        assert wire.infer("m", x=ROW)["y"].tolist() == (ROW + 10).tolist()  # its default bias


def test_a_store_that_goes_away(stored, repository, tmp_path, caplog, one_try):
    """What is loaded is served on; index, metrics and log tell of it until the store is back."""
    gauge = "nv_model_repository_reachable"
    options = {"repository_cache": tmp_path / "cache", "model_control_mode": "poll"}
    with rest_server(stored.url, repository_poll_secs=3600, **options) as rest:
        assert f"\n{gauge} 1\n" in rest.metrics()
        stored.fail(lambda exchange: exchange.hang_up())
        rest.server.control.poll()
        (entry,) = rest.server.control.index(ready=True)
        assert (entry.name, entry.state) == ("m", "READY")
        assert "cannot be read" in entry.reason
        assert f"\n{gauge} 0\n" in rest.metrics()
        assert "is served on" in caplog.text
        stored.fail(None)
        rest.server.control.poll()
        (entry,) = rest.server.control.index(ready=True)
        assert (entry.state, entry.reason) == ("READY", "")
        assert f"\n{gauge} 1\n" in rest.metrics()


def test_a_load_while_the_store_is_away(stored, serve, one_try):
    """The caller hears why, and a later load succeeds."""
    with serve("explicit") as wire:
        stored.fail(lambda exchange: exchange.hang_up())
        with pytest.raises(grpc.RpcError) as raised:
            load(wire, "m")
        assert "failed to load 'm', failed to poll" in raised.value.details()
        assert "cannot be read" in raised.value.details()
        stored.fail(None)
        load(wire, "m")
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


def test_a_model_that_left_memory_comes_back_from_the_cache(stored, serve, one_try):
    """Also while the store is away; one that was never read does not."""
    stored.put("n/1/model.onnx", b"never read")
    with serve(keep_alive=0.05) as wire:
        wire.infer("m", x=ROW)
        until(lambda: not wire.server.catalog.loaded())
        stored.fail(lambda exchange: exchange.hang_up())
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()
        with pytest.raises(grpc.RpcError) as raised:
            wire.infer("n", x=ROW)
        assert raised.value.code() == grpc.StatusCode.UNAVAILABLE


def test_credentials_that_expire_and_are_renewed(stored, serve, monkeypatch):
    """The reason says so, and the provider's own chain is asked again."""

    def wants_the_new_key(exchange):
        is_new = "Credential=renewed/" in (exchange.headers["Authorization"] or "")
        return not is_new and exchange.refuse(400, "ExpiredToken")

    with serve("poll") as wire:
        stored.fail(wants_the_new_key)
        look_twice(wire)
        assert "refuses the credentials: " in index(wire)["m", "2"][1]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "renewed")
        look_twice(wire)
        assert index(wire)["m", "2"] == ("READY", "")
        assert wire.infer("m", x=ROW)["y"].tolist() == ROW.tolist()


def test_a_wrong_address_is_an_error_at_the_start(s3, tmp_path):
    """A server of nothing does not start, whichever way it looks for models first."""
    for bucket, mode in ((s3.bucket, "none"), (s3.bucket, "poll"), ("none-such", "explicit")):
        url = s3.url.replace(f"{s3.bucket}/models", f"{bucket}/other")
        with (
            pytest.raises(ConfigurationError, match="does not exist, or is empty"),
            serve_grpc(url, repository_cache=tmp_path, model_control_mode=mode),
        ):
            pass


def test_an_unreachable_store_ends_the_start(s3_server, tmp_path):
    """One line, exit status 2."""
    options = ["--grpc-port", "0", "--repository-cache", str(tmp_path)]
    process = ServerProcess(["s3://127.0.0.1:9/bucket/models", *options])
    status, log = process.finish()
    process.close()
    assert status == 2
    assert "the model repository 's3://127.0.0.1:9/bucket/models' cannot be read" in log
    assert "Traceback" not in log


@pytest.fixture
def web(repository):
    """A web server of the repository, with pages of links."""
    handler = functools.partial(_Quiet, directory=os.fspath(repository.path.parent))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server
    server.shutdown()
    server.server_close()
    serving.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        if getattr(self.server, "is_broken", False):
            self.send_error(500)
        else:
            super().do_GET()


def test_a_web_server_is_a_repository(repository, graphs, web, tmp_path):
    """Pages of links are listings; one that fails takes no model with it, a removed file does."""
    folder = repository.add("m ä%41", graphs.identity())
    repository.add("n", graphs.identity(), "max_batch_size: 4")
    url = f"http://127.0.0.1:{web.server_port}/models"
    options = {"repository_cache": tmp_path / "cache", "model_control_mode": "poll"}
    with serve_grpc(url, repository_poll_secs=3600, **options) as wire:
        for name in ("m ä%41", "n"):
            assert wire.infer(name, x=ROW)["y"].tolist() == ROW.tolist()
        web.is_broken = True
        look_twice(wire)
        assert "cannot be read" in index(wire)["n", "1"][1]
        web.is_broken = False
        (folder / "1" / "model.onnx").unlink()
        (folder / "1").rmdir()
        folder.rmdir()
        look_twice(wire)
        moved = repository.path.rename(repository.path.with_name("elsewhere"))
        look_twice(wire)
        assert "does not exist" in index(wire)["n", "1"][1]
        moved.rename(repository.path)
        look_twice(wire)
        assert index(wire)["m ä%41", "1"] == ("UNAVAILABLE", "unloaded")
        assert wire.infer("n", x=ROW)["y"].tolist() == ROW.tolist()
