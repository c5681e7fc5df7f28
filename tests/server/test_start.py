"""The start of a server: what it says, what keeps it from starting, and leaving meanwhile."""

import signal
import socket
from contextlib import ExitStack

import pytest

from tests.server.transports import OVER_ONE_TRANSPORT
from zoo_server.config import ServerConfig
from zoo_server.errors import AddressError, ConfigurationError
from zoo_server.server import Server


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--host", "no.such.host.invalid"], "the host name cannot be resolved"),
        (["--host", "192.0.2.1"], "this machine has no such address"),
        (["--provider", "cuda"], "'cuda' is not available"),
    ],
)
def test_operator_mistake_is_one_line(arguments, text, slow, server_process):
    """A server that cannot run says why in one line, without a traceback, and exits 2."""
    status, log = server_process(slow, "--grpc-port", "0", *arguments).finish()

    assert status == 2
    assert text in log
    assert "Traceback" not in log


def test_port_in_use(slow, server_process):
    """A port that is taken is an error that names it and the cure, and is not shared."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, log = server_process(slow, "--grpc-port", port).finish()

    assert status == 2
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in log
    assert "--grpc-port" in log
    assert len(log.strip().splitlines()) == 1


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize("flag", ["--http-port", "--metrics-port"])
def test_http_port_in_use(flag, slow, server_process):
    """The same for the ports of HTTP: each is named with its own option, before models load."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, log = server_process(slow, "--grpc-port", "0", flag, port).finish()

    assert status == 2
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in log
    assert flag in log
    assert len(log.strip().splitlines()) == 1


def free_ports(count):
    """Return ports that nobody listens on."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in taken]


@pytest.mark.parametrize("taken", ["grpc_port", "http_port", "metrics_port"])
def test_a_port_in_use_leaves_no_other_taken(taken, repository, transport):
    """Whichever port cannot be had: those that were had before are free again at once."""
    names = ("grpc_port", "http_port", "metrics_port")
    ports = dict(zip(names, free_ports(3), strict=True))
    config = ServerConfig(repository=repository.path, transport=transport, **ports)
    with socket.create_server(("127.0.0.1", ports.pop(taken))):
        with pytest.raises(AddressError, match="the port is in use"):
            Server(config)
        for port in ports.values():
            socket.create_server(("127.0.0.1", port)).close()


def test_a_server_that_cannot_start_leaves_no_port_taken(repository, transport):
    """What fails after the ports were taken gives them back, while somebody still holds the server."""
    grpc_port, http_port = free_ports(2)
    config = ServerConfig(
        repository=repository.path / "none",
        transport=transport,
        grpc_port=grpc_port,
        http_port=http_port,
        metrics_port=None,
    )
    server = Server(config)
    with pytest.raises(ConfigurationError, match="does not exist"):
        server.start()
    for port in (grpc_port, http_port):
        socket.create_server(("127.0.0.1", port)).close()
    assert server.stop(1) == 0


@OVER_ONE_TRANSPORT
def test_sigterm_ends_the_load_of_many_models(repository, graphs, server_process):
    """While models load SIGTERM ends that after the present one, and the exit is 0."""
    for number in range(400):
        repository.add(f"m{number}", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0")
    process.wait_for("derived")
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log, "ready:" in log) == (0, False, False)
    assert "leaving: no more models are loaded" in log
    assert log.count("derived") < 400


#: Loads each model for a minute, as a large one may, and says when it begins.
SLOW_LOADING = """
import logging, time
from zoo_server.backends.onnxruntime import runtime

def open_slowly(*_):
    logging.getLogger("zoo_server").info("opening")
    time.sleep(60)

runtime.Runtime.open = open_slowly
"""


@OVER_ONE_TRANSPORT
def test_sigterm_does_not_wait_for_a_model_that_loads_long(repository, graphs, server_process):
    """A load cannot be interrupted, and nobody waits for it: the process ends without it."""
    repository.add("m", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0", first=SLOW_LOADING)
    process.wait_for("opening")
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log, "ready:" in log) == (0, False, False)


@OVER_ONE_TRANSPORT
@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ((), r"ready: gRPC on 127\.0\.0\.1:\d+, 1 models"),
        (("--http-port", "0"), r"gRPC on \S+:\d+, HTTP on 127\.0\.0\.1:\d+, 1 models"),
        (("--metrics-port", "0"), r"gRPC on \S+:\d+, metrics on 127\.0\.0\.1:\d+, 1 models"),
        (
            ("--http-port", "0", "--metrics-port", "0"),
            r"ready: gRPC on \S+:\d+, HTTP on \S+:\d+, metrics on 127\.0\.0\.1:\d+, 1 models",
        ),
    ],
)
def test_the_ready_line_names_what_listens(options, pattern, slow, server_process):
    """Ports that are off are not named; SIGTERM ends them all, long before the drain is over."""
    process = server_process(slow, "--grpc-port", "0", "--drain-seconds", "60", *options)
    process.wait_for(pattern)
    process.send(signal.SIGTERM)
    status, log = process.finish()

    assert (status, "Traceback" in log) == (0, False)


def test_two_servers_do_not_share_a_port(slow, serve, server_process):
    """Our own second server is refused too: SO_REUSEPORT is off."""
    with serve(slow) as wire:
        status, log = server_process(slow, "--grpc-port", wire.server.grpc_port).finish()

    assert status == 2
    assert "the port is in use" in log
