"""REST's control paths: the message that each makes of a path and JSON, and how answers look."""

import base64
from types import SimpleNamespace

import pytest

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.errors import InvalidRequest, UnreadableJson, Unsupported
from zoo_server.protocols.rest.control import Control
from zoo_server.protocols.rest.json_values import message_to_json

REGION = pb.SystemSharedMemoryStatusResponse.RegionStatus
CUDA_REGION = pb.CudaSharedMemoryStatusResponse.RegionStatus


class Servicer:
    """Remembers what it was asked, and answers what it was told to."""

    def __init__(self, **answers):
        self.asked = []
        for method, answer in answers.items():
            setattr(
                self, method, lambda request, answer=answer: self.asked.append(request) or answer
            )


def ask(function, path=None, body=None, **answers):
    """Return what a route's function answers, and the message that it made."""
    servicer = Servicer(**answers)
    shown = getattr(Control(servicer), function)(path or {}, body or {})
    (asked,) = servicer.asked
    return shown, asked


def test_load_takes_a_configuration_and_files():
    """`config` is text, `file:` entries are base64."""
    body = {
        "parameters": {"config": "{}", "file:1/model.onnx": base64.b64encode(b"\x00x").decode()}
    }
    shown, asked = ask(
        "load", {"model": "m"}, body, RepositoryModelLoad=pb.RepositoryModelLoadResponse()
    )

    assert shown is None
    assert asked.model_name == "m"
    assert asked.parameters["config"].string_param == "{}"
    assert asked.parameters["file:1/model.onnx"].bytes_param == b"\x00x"


def test_unload_may_name_its_dependents():
    """A boolean, or nothing."""
    answer = pb.RepositoryModelUnloadResponse()
    body = {"parameters": {"unload_dependents": True}}
    _, asked = ask("unload", {"model": "m"}, body, RepositoryModelUnload=answer)
    _, plain = ask("unload", {"model": "m"}, RepositoryModelUnload=answer)

    assert asked.parameters["unload_dependents"].bool_param is True
    assert not plain.parameters


def test_shared_memory_is_registered_and_shown():
    """Regions are a list over HTTP, where gRPC has a map."""
    _, asked = ask(
        "system_register", {"region": "r"}, {"key": "/k", "offset": 4, "byte_size": 8},
        SystemSharedMemoryRegister=pb.SystemSharedMemoryRegisterResponse(),
    )  # fmt: skip
    regions = {name: REGION(name=name, key="/k", offset=4, byte_size=8) for name in ("s", "r")}
    shown, status = ask(
        "system_status", {"region": "r"},
        SystemSharedMemoryStatus=pb.SystemSharedMemoryStatusResponse(regions=regions),
    )  # fmt: skip
    _, gone = ask(
        "system_unregister", SystemSharedMemoryUnregister=pb.SystemSharedMemoryUnregisterResponse()
    )

    assert (asked.name, asked.key, asked.offset, asked.byte_size) == ("r", "/k", 4, 8)
    assert status.name == "r"
    assert gone.name == ""
    assert shown == [
        {"name": name, "key": "/k", "offset": 4, "byte_size": 8} for name in ("r", "s")
    ]


def test_cuda_shared_memory_has_a_handle():
    """It comes as base64 in an object."""
    handle = base64.b64encode(b"h" * 64).decode()
    _, asked = ask(
        "cuda_register", {"region": "r"},
        {"raw_handle": {"b64": handle}, "device_id": 1, "byte_size": 8},
        CudaSharedMemoryRegister=pb.CudaSharedMemoryRegisterResponse(),
    )  # fmt: skip
    shown, _ = ask(
        "cuda_status",
        CudaSharedMemoryStatus=pb.CudaSharedMemoryStatusResponse(
            regions={"r": CUDA_REGION(name="r", device_id=1, byte_size=8)}
        ),
    )
    assert (asked.raw_handle, asked.device_id, asked.byte_size) == (b"h" * 64, 1, 8)
    assert shown == [{"name": "r", "device_id": 1, "byte_size": 8}]


def test_trace_settings():
    """One value is a string, levels are a list, null takes a setting back."""
    answer = pb.TraceSettingResponse()
    answer.settings["trace_level"].value.append("OFF")
    answer.settings["trace_rate"].value.append("1000")
    body = {"trace_level": ["TIMESTAMPS", "TENSORS"], "trace_rate": "5", "trace_count": None}
    shown, asked = ask("trace", {"model": "m"}, body, TraceSetting=answer)

    assert asked.model_name == "m"
    assert {key: list(setting.value) for key, setting in asked.settings.items()} == {
        "trace_level": ["TIMESTAMPS", "TENSORS"],
        "trace_rate": ["5"],
        "trace_count": [],
    }
    assert shown == {"trace_level": ["OFF"], "trace_rate": "1000"}


def test_log_settings():
    """Booleans, numbers and strings keep their types."""
    answer = pb.LogSettingsResponse()
    answer.settings["log_info"].bool_param = False
    answer.settings["log_verbose_level"].uint32_param = 0
    answer.settings["log_format"].string_param = "default"
    body = {"log_info": True, "log_verbose_level": 1, "log_format": "ISO8601"}
    shown, asked = ask("log", {}, body, LogSettings=answer)

    assert asked.settings["log_info"].bool_param is True
    assert asked.settings["log_verbose_level"].uint32_param == 1
    assert asked.settings["log_format"].string_param == "ISO8601"
    assert shown == {"log_info": False, "log_verbose_level": 0, "log_format": "default"}


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
def test_a_body_that_makes_no_message(function, body, text, error):
    """It is refused before the servicer is asked."""
    with pytest.raises(error, match=text):
        getattr(Control(SimpleNamespace()), function)({"model": "m", "region": "r"}, body)


@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_a_registration_names_its_region(kind):
    """The path must, whatever the body says."""
    with pytest.raises(InvalidRequest, match=f"necessary to register {kind} shared memory region"):
        getattr(Control(SimpleNamespace()), f"{kind}_register")(
            {}, {"key": "k", "byte_size": 1, "raw_handle": {"b64": ""}, "device_id": 0}
        )


def test_null_leaves_a_log_setting_as_it_is():
    """It is not passed on."""
    _, asked = ask("log", {}, {"log_info": None}, LogSettings=pb.LogSettingsResponse())

    assert not asked.settings


@pytest.mark.parametrize(
    ("function", "body"),
    [
        ("load", {}), ("unload", {}), ("trace", {}), ("log", {}), ("system_status", {}),
        ("system_register", {"key": "k", "byte_size": 1}), ("cuda_status", {}),
        ("cuda_register", {"raw_handle": {"b64": ""}, "device_id": 0, "byte_size": 1}),
    ],
)  # fmt: skip
def test_what_the_servicer_lacks_is_unsupported(function, body):
    """As over gRPC: in words, and 501 by the status table."""
    with pytest.raises(Unsupported, match="is not served by this release"):
        getattr(Control(SimpleNamespace()), function)({"model": "m", "region": "r"}, body)


def test_messages_as_json_keep_zeros_and_drop_what_is_not_there():
    """Fields without presence are always written, and messages only if they are set."""
    empty = message_to_json(pb.ModelStatistics())
    assert empty["inference_count"] == 0
    assert empty["batch_stats"] == []
    assert "inference_stats" not in empty
    parameter = pb.InferParameter(bool_param=False)
    assert message_to_json(parameter) == {"bool_param": False}
