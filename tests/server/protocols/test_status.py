"""The status table: a row per error, each sent over the wire by a handler that raises it."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import grpc
import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server import errors
from zoo_server.errors import Cancelled, DeadlineExpired, QueueTimeout, ServerError
from zoo_server.protocols.interceptor import guarded_unary
from zoo_server.protocols.status import STATUS, status_of


def leaves(base):
    children = base.__subclasses__()
    return {base} if not children else {leaf for child in children for leaf in leaves(child)}


EXPECTED = {
    "InvalidRequest": "INVALID_ARGUMENT",
    "UnreadableJson": "INTERNAL",
    "NotFound": "NOT_FOUND",
    "PreconditionFailed": "FAILED_PRECONDITION",
    "AlreadyExists": "ALREADY_EXISTS",
    "Unsupported": "UNIMPLEMENTED",
    "Unauthenticated": "UNAUTHENTICATED",
    "PermissionDenied": "PERMISSION_DENIED",
    "Cancelled": "CANCELLED",
    "DeadlineExpired": "DEADLINE_EXCEEDED",
    "ModelNotReady": "UNAVAILABLE",
    "QueueFull": "UNAVAILABLE",
    "QueueTimeout": "UNAVAILABLE",
    "Overloaded": "UNAVAILABLE",
    "QuotaExceeded": "RESOURCE_EXHAUSTED",
    "ControlDisabled": "UNAVAILABLE",
    "WorkerLost": "UNAVAILABLE",
    "ServerExiting": "UNAVAILABLE",
    "ConfigurationError": "INTERNAL",
    "AddressError": "INTERNAL",
    "RuntimeMissing": "INTERNAL",
    "RepositoryUnreachable": "INTERNAL",
    "ModelLoadError": "INTERNAL",
    "NoVersion": "INTERNAL",
    "DecoupledModel": "INTERNAL",
    "ProviderError": "INTERNAL",
    "LoadFailed": "INTERNAL",
    "SharedMemoryFailed": "INTERNAL",
    "ExecutionError": "INTERNAL",
    "MemoryExhausted": "RESOURCE_EXHAUSTED",
}

#: INTERNAL whose text is for the caller: it asked for the operation, or sent the JSON.
TOLD = {"LoadFailed", "SharedMemoryFailed", "UnreadableJson"}


def test_table_is_complete():
    """Every error that can be raised has a row here and in the table."""
    names = {error.__name__ for error in STATUS}

    assert leaves(ServerError) <= set(STATUS)
    assert names == set(EXPECTED)


@pytest.fixture(scope="module")
def raising():
    """Return a function that calls a real server whose handler raises the named error."""

    def handler(request):
        name = request.name
        raise getattr(errors, name)("the text") if hasattr(errors, name) else KeyError("a secret")

    behaviour = guarded_unary("ModelReady", handler, nullcontext(), pb.ModelReadyRequest)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "s", {"Raise": grpc.unary_unary_rpc_method_handler(behaviour)}
            ),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/s/Raise", pb.ModelReadyRequest.SerializeToString)
        yield lambda name: call(pb.ModelReadyRequest(name=name))
    server.stop(0).wait()


@pytest.mark.parametrize(("name", "code"), EXPECTED.items())
def test_row(name, code, raising):
    """The error arrives as its code; the caller's own with their text, ours with an id only."""
    with pytest.raises(grpc.RpcError) as caught:
        raising(name)

    assert caught.value.code().name == code
    assert ("the text" in caught.value.details()) is (code != "INTERNAL" or name in TOLD)


def test_unforeseen_error_is_internal(raising, caplog):
    """A bug goes out as a fixed text and an id; the log has the traceback under that id."""
    with pytest.raises(grpc.RpcError) as caught:
        raising("KeyError")

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    details = caught.value.details()
    assert "a secret" not in details
    incident = details.split("incident ")[1].split(":")[0]
    assert any(incident in record.getMessage() and record.exc_info for record in caplog.records)


class DeadContext:
    """A call that is over: expired or cancelled."""

    def __init__(self, remaining, active):
        self.remaining, self.active = remaining, active

    def time_remaining(self):
        return self.remaining

    def is_active(self):
        return self.active

    def abort(self, code, details):
        raise RuntimeError(code.name)


@pytest.mark.parametrize(
    ("remaining", "active", "error"), [(0.0, True, DeadlineExpired), (None, False, Cancelled)]
)
def test_dead_call_is_not_run(remaining, active, error):
    """A request whose caller is gone is dropped before any work."""
    ran = []
    behaviour = guarded_unary("X", ran.append, nullcontext(), pb.ModelReadyRequest)
    with pytest.raises(RuntimeError, match=STATUS[error].name):
        behaviour(b"", DeadContext(remaining, active))

    assert ran == []


def test_refusals_write_a_line_a_second_at_most(caplog, monkeypatch):
    """By the thousand they would cost more than what they keep away; the next line says how many."""
    now = [time.monotonic() + 10]
    monkeypatch.setattr("zoo_server.protocols.status.time.monotonic", lambda: now[0])
    caplog.set_level(logging.INFO, "zoo_server")
    for _ in range(1000):
        status_of(QueueTimeout("too long"), "X")
    now[0] += 1
    status_of(QueueTimeout("too long"), "X")

    assert [record.getMessage() for record in caplog.records] == [
        "X: UNAVAILABLE: too long",
        "X: UNAVAILABLE: too long (and about 999 like it since the last such line)",
    ]
