"""REST's control paths: what each asks of the data plane, and how answers look."""

import base64
from types import SimpleNamespace

import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest, UnreadableJson
from zoo_server.protocols.rest.json_values import message_to_json
from zoo_server.protocols.rest.open_inference import OpenInferenceRoutes
from zoo_server.telemetry.logs import LogSettings

NO_PLANE = SimpleNamespace(register_system_region=None)


def ask(function, path=None, body=None, **answers):
    """Return what a route's function answers, and how it called the data plane."""
    calls = []

    def method(name, answer):
        return lambda *positional, **named: calls.append((name, positional, named)) or answer

    plane = SimpleNamespace(**{name: method(name, answer) for name, answer in answers.items()})
    shown = getattr(OpenInferenceRoutes(plane), function)(path or {}, body or {})
    (call,) = calls
    return shown, call[1]


def test_load_takes_a_configuration_and_files():
    """`config` is text, `file:` entries are base64."""
    body = {
        "parameters": {"config": "{}", "file:1/model.onnx": base64.b64encode(b"\x00x").decode()}
    }
    shown, called = ask("load", {"model": "m"}, body, load_model=None)

    assert shown is None
    assert called == ("", "m", {"config": "{}", "file:1/model.onnx": b"\x00x"})


@pytest.mark.parametrize("parameters", [{}, {"unload_dependents": True}])
def test_unload_may_name_its_dependents(parameters):
    """A boolean, or nothing: then they stay."""
    shown, called = ask("unload", {"model": "m"}, {"parameters": parameters}, unload_model=None)

    assert (shown, called) == (None, ("", "m", bool(parameters)))


def test_shared_memory_is_registered_and_shown():
    """Regions are a list over HTTP, where gRPC has a map."""
    _, registered = ask(
        "system_register",
        {"region": "r"},
        {"key": "/k", "offset": 4, "byte_size": 8},
        register_system_region=None,
    )
    region = SimpleNamespace(name="r", key="/k", offset=4, byte_size=8)
    shown, status = ask("system_status", {"region": "r"}, system_regions=[region])
    _, unregistered = ask("system_unregister", unregister_system_region=None)

    assert registered == ("r", "/k", 4, 8)
    assert status == ("r",)
    assert unregistered == ("",)
    assert shown == [{"name": "r", "key": "/k", "offset": 4, "byte_size": 8}]


def test_cuda_shared_memory_has_a_handle():
    """It comes as base64 in an object."""
    handle = base64.b64encode(b"h" * 64).decode()
    _, registered = ask(
        "cuda_register",
        {"region": "r"},
        {"raw_handle": {"b64": handle}, "device_id": 1, "byte_size": 8},
        register_cuda_region=None,
    )
    shown, status = ask("cuda_status", check_cuda_region=None)

    assert registered == ("r",)
    assert (shown, status) == ([], ("",))


def test_trace_settings():
    """One value is a string, levels are a list, null takes a setting back."""
    body = {"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "5", "trace_count": None}
    settings = {"trace_level": ("OFF",), "trace_rate": ("1000",)}
    shown, called = ask("trace", {"model": "m"}, body, trace_settings=settings)

    assert called == (
        "m",
        {"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": ["5"], "trace_count": []},
    )
    assert shown == {"trace_level": ["OFF"], "trace_rate": "1000"}


def test_log_settings():
    """Booleans, numbers and strings keep their types; null leaves a setting as it is."""
    body = {"log_info": True, "log_verbose_level": 1, "log_format": "ISO8601", "log_error": None}
    shown, called = ask("log", {}, body, log_settings=LogSettings(log_info=False))

    assert called == ({"log_info": True, "log_verbose_level": 1, "log_format": "ISO8601"},)
    assert shown == {
        "log_file": "",
        "log_info": False,
        "log_warning": True,
        "log_error": True,
        "log_verbose_level": 0,
        "log_format": "default",
    }


#: What cannot be read as JSON of the right kind, and where it can, what is wrong with it.
UNREADABLE = (
    (
        "load",
        {"parameters": {"config": 1}},
        "attempt to access JSON non-string as string: 'config'",
    ),
    ("load", {"parameters": []}, "attempt to get members for non-object: 'parameters'"),
    ("unload", {"parameters": {"unload_dependents": 1}}, "'unload_dependents': attempt to access"),
    ("system_register", {"key": 1, "byte_size": 1}, "JSON non-string as string: 'key'"),
    ("system_register", {"key": "k", "byte_size": -1}, "non-unsigned-integer .*: 'byte_size'"),
    ("system_register", {"key": "k", "byte_size": 2**64}, "non-unsigned-integer .*: 'byte_size'"),
    ("cuda_register", {"raw_handle": 1}, "non-existing object member 'b64'"),
    ("trace", {"trace_rate": {}}, "JSON non-string as string: 'trace_rate'"),
    ("trace", {"trace_level": [True]}, "JSON non-string as string: 'trace_level'"),
    ("log", {"log_verbose_level": -1}, "non-unsigned-integer .*: 'log_verbose_level'"),
    ("log", {"log_verbose_level": 2**32}, "non-unsigned-integer .*: 'log_verbose_level'"),
    ("log", {"log_info": 1}, "JSON non-boolean as boolean: 'log_info'"),
    ("log", {"log_format": 1}, "JSON non-string as string: 'log_format'"),
)
WRONG = (
    ("index", {"ready": "yes"}, "Invalid value for 'ready': expected a boolean"),
    ("load", {"parameters": {"file:x": "?"}}, "'file:x': it is not base64"),
    ("system_register", {"byte_size": 1}, "Shared memory register request has no 'key' field"),
    ("system_register", {"key": "k"}, "Shared memory register request has no 'byte_size' field"),
    ("cuda_register", {}, "Shared memory register request has no 'raw_handle' field"),
)


@pytest.mark.parametrize(
    ("function", "body", "text", "error"),
    [(*row, UnreadableJson) for row in UNREADABLE] + [(*row, InvalidRequest) for row in WRONG],
)
def test_a_body_that_cannot_be_read(function, body, text, error):
    """It is refused before the data plane is asked."""
    with pytest.raises(error, match=text):
        getattr(OpenInferenceRoutes(NO_PLANE), function)({"model": "m", "region": "r"}, body)


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_a_registration_names_its_region(kind):
    """The path must, whatever the body says."""
    with pytest.raises(InvalidRequest, match=f"necessary to register {kind} shared memory region"):
        getattr(OpenInferenceRoutes(NO_PLANE), f"{kind}_register")(
            {}, {"key": "k", "byte_size": 1, "raw_handle": {"b64": ""}, "device_id": 0}
        )


def test_messages_as_json_keep_zeros_and_drop_what_is_not_there():
    """Fields without presence are always written, and messages only if they are set."""
    empty = message_to_json(pb.ModelStatistics())
    assert empty["inference_count"] == 0
    assert empty["batch_stats"] == []
    assert "inference_stats" not in empty
    parameter = pb.InferParameter(bool_param=False)
    assert message_to_json(parameter) == {"bool_param": False}
