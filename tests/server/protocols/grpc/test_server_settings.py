"""LogSettings and TraceSetting."""

import logging
import re
import warnings

import grpc
import pytest
import tritonclient.grpc as triton

from zoo_proto import grpc_service_pb2 as pb
from zoo_server.telemetry import logs
from zoo_server.telemetry.logs import LogControl, LogSettings

DEFAULT_LOG = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}

DEFAULT_TRACE = {
    "trace_level": ["OFF"],
    "trace_rate": ["1000"],
    "trace_count": ["-1"],
    "log_frequency": ["0"],
    "trace_file": [""],
    "trace_mode": ["triton"],
}


@pytest.fixture(autouse=True)
def server_logger():
    """Leave the logging of this process as it was."""
    root = logging.getLogger(logs.ROOT)
    level, *before = root.level, root.handlers, root.propagate
    yield root
    root.handlers, root.propagate = before
    root.setLevel(level)


@pytest.fixture
def settable(repository, graphs, serve):
    """A server of a model m, and a function for its answers as plain values."""
    repository.add("m", graphs.identity())
    with serve(repository.path) as wire:
        yield wire


def log_settings(wire, **settings):
    request = pb.LogSettingsRequest()
    for key, value in settings.items():
        field = {bool: "bool_param", int: "uint32_param", str: "string_param"}[type(value)]
        setattr(request.settings[key], field, value)
    answer = wire.stub.LogSettings(request).settings
    return {key: getattr(one, one.WhichOneof("parameter_choice")) for key, one in answer.items()}


def trace_settings(wire, model="", **settings):
    request = pb.TraceSettingRequest(model_name=model)
    for key, values in settings.items():
        request.settings[key].value.extend(values)
    answer = wire.stub.TraceSetting(request).settings
    return {key: list(setting.value) for key, setting in answer.items()}


def error_of(ask, *arguments, **settings):
    with pytest.raises(grpc.RpcError) as caught:
        ask(*arguments, **settings)
    return caught.value.code().name, caught.value.details()


def test_log_settings_are_kept_and_answered(settable):
    """Without settings the present ones are answered; a change answers all of them."""
    assert log_settings(settable) == DEFAULT_LOG
    changed = {"log_warning": False, "log_verbose_level": 3, "log_format": "ISO8601"}
    assert log_settings(settable, **changed) == {**DEFAULT_LOG, **changed}
    assert log_settings(settable) == {**DEFAULT_LOG, **changed}


BAD_LOG = [
    ({"log_file": "/tmp/x"}, "UNIMPLEMENTED", "log file location can not be updated"),
    ({"log_info": "yes"}, "INVALID_ARGUMENT", "expect boolean for 'log_info'"),
    ({"log_warning": 1}, "INVALID_ARGUMENT", "expect boolean for 'log_warning'"),
    ({"log_error": 0}, "INVALID_ARGUMENT", "expect boolean for 'log_error'"),
    ({"log_verbose_level": True}, "INVALID_ARGUMENT", "expect int32 for 'log_verbose_level'"),
    ({"log_verbose_level": "1"}, "INVALID_ARGUMENT", "expect int32 for 'log_verbose_level'"),
    ({"log_format": 1}, "INVALID_ARGUMENT", "expect string for 'log_format'"),
    ({"log_format": "xml"}, "INVALID_ARGUMENT", "invalid argument for log_format, got: xml"),
    ({"log_colour": True}, "INVALID_ARGUMENT", "unknown log setting 'log_colour'"),
]


@pytest.mark.parametrize(("settings", "code", "text"), BAD_LOG, ids=range(len(BAD_LOG)))
def test_bad_log_setting(settings, code, text, settable):
    """A setting that cannot be is refused, and none of the request's is changed."""
    error = error_of(log_settings, settable, **{"log_verbose_level": 5, **settings})
    assert error[0] == code
    assert text in error[1]
    assert log_settings(settable) == DEFAULT_LOG


def test_a_setting_without_a_value(settable):
    """A key with nothing in it is of a wrong type."""
    request = pb.LogSettingsRequest()
    request.settings["log_info"].SetInParent()
    code, text = error_of(settable.stub.LogSettings, request)
    assert (code, text) == ("INVALID_ARGUMENT", "expect boolean for 'log_info'")


def test_log_settings_change_the_log(repository, graphs, server_process):
    """Lines of each kind come and go in a real server's log, and the time is written as asked."""
    repository.add("m", graphs.identity())
    process = server_process(repository.path, "--grpc-port", "0")
    with triton.InferenceServerClient(process.address()) as client:

        def refused(name):
            """A caller's mistake is a line at info."""
            with pytest.raises(triton.InferenceServerException):
                client.get_model_metadata(name)

        refused("shown1")
        client.update_log_settings({"log_info": False})
        refused("hidden")
        client.update_log_settings({"log_info": True, "log_format": "ISO8601"})
        refused("shown2")
        line = process.wait_for(r"^(\S+) INFO .*shown2").group(1)
    log = "".join(process.lines)

    assert "shown1" in log
    assert "hidden" not in log
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line)


KINDS = {"log_verbose_level": "debug", "log_info": "info", "log_warning": "warning"}


@pytest.mark.parametrize("off", ["log_info", "log_warning", "log_error", "log_verbose_level"])
def test_each_kind_by_itself(off, capsys):
    """Each switch hides its own kind of line and no other."""
    logs.configure("debug")
    control = LogControl("debug")
    assert control.settings == LogSettings(log_verbose_level=1)
    control.change({off: 0 if off == "log_verbose_level" else False})
    log = logging.getLogger("zoo_server.some.part")
    for say in (log.debug, log.info, log.warning, log.error):
        say("a line of %s", say.__name__)
    written = re.findall(r"a line of (\w+)", capsys.readouterr().err)

    hidden = {**KINDS, "log_error": "error"}[off]
    assert written == [kind for kind in ("debug", "info", "warning", "error") if kind != hidden]


def test_what_a_library_warns_of_in_pictures_is_not_in_the_log(recwarn):
    """A caller could fill it, a line for each number of pixels; other libraries' warnings are shown."""
    logs.configure("info")
    for module in ("PIL.Image", "numpy"):
        warnings.warn_explicit("too large", UserWarning, "a.py", 1, module=module)
    assert len(recwarn) == 1


@pytest.mark.parametrize(
    ("level", "settings"),
    [
        ("debug", LogSettings(log_verbose_level=1)),
        ("info", LogSettings()),
        ("warning", LogSettings(log_info=False)),
        ("error", LogSettings(log_info=False, log_warning=False)),
    ],
)
def test_settings_of_the_option(level, settings):
    """--log-level is where the settings start."""
    assert LogControl(level).settings == settings


def test_trace_settings_are_kept_and_answered(settable):
    """The server's, and a model's own above them; an empty value takes one back."""
    assert trace_settings(settable) == DEFAULT_TRACE
    server = {"log_frequency": ["3"], "trace_rate": ["1"]}
    assert trace_settings(settable, **server, trace_mode=["triton"]) == {**DEFAULT_TRACE, **server}
    model = {"trace_rate": ["7"], "trace_count": ["100"], "log_frequency": ["50"]}
    assert trace_settings(settable, "m", **model) == {**DEFAULT_TRACE, **server, **model}
    assert trace_settings(settable) == {**DEFAULT_TRACE, **server}
    assert trace_settings(settable, "m", trace_rate=[])["trace_rate"] == ["1"]
    assert trace_settings(settable, trace_rate=[])["trace_rate"] == ["1000"]
    assert trace_settings(settable, trace_level=["OFF"])["trace_level"] == ["OFF"]


BAD_TRACE = [
    ({"trace_file": ["/tmp/x"]}, "UNIMPLEMENTED", "trace file location can not be updated"),
    ({"trace_mode": ["opentelemetry"]}, "UNIMPLEMENTED", "trace mode can not be updated"),
    ({"trace_level": ["OFF", "TENSORS"]}, "INVALID_ARGUMENT", "only one trace level 'OFF'"),
    ({"trace_level": ["TIMESTAMPS"]}, "INVALID_ARGUMENT", "trace file name is not given"),
    ({"trace_level": ["ALL"]}, "INVALID_ARGUMENT", "Unable to parse 'trace_level', got: ALL"),
    ({"trace_rate": ["1", "2"]}, "INVALID_ARGUMENT", "expect only 1 value for 'trace_rate'"),
    ({"trace_rate": ["often"]}, "INVALID_ARGUMENT", "Unable to parse 'trace_rate', got: often"),
    ({"trace_rate": ["-1"]}, "INVALID_ARGUMENT", "value is out of range [ 0, 4294967295 ]"),
    ({"trace_rate": ["9" * 5000]}, "INVALID_ARGUMENT", "Unable to parse 'trace_rate'"),
    ({"trace_rate": ["٣"]}, "INVALID_ARGUMENT", "Unable to parse 'trace_rate'"),
    ({"trace_count": ["-2"]}, "INVALID_ARGUMENT", "'trace_count'. Expecting value >= -1, got:-2"),
    ({"trace_count": ["2147483648"]}, "INVALID_ARGUMENT", "out of range [ -1, 2147483647 ]"),
    ({"log_frequency": [""]}, "INVALID_ARGUMENT", "Unable to parse 'log_frequency', got: "),
    ({"no_setting": ["1"]}, "INVALID_ARGUMENT", "unknown trace setting 'no_setting'"),
]


@pytest.mark.parametrize(("settings", "code", "text"), BAD_TRACE, ids=range(len(BAD_TRACE)))
def test_bad_trace_setting(settings, code, text, settable):
    """A setting that cannot be is refused, and none of the request's is changed."""
    error = error_of(trace_settings, settable, **{"trace_count": ["5"], **settings})
    assert error[0] == code
    assert text in error[1]
    assert trace_settings(settable) == DEFAULT_TRACE


def test_trace_settings_of_an_unknown_model(settable):
    """They are INVALID_ARGUMENT, to ask for as to change."""
    for settings in ({}, {"trace_rate": ["1"]}):
        assert error_of(trace_settings, settable, "nope", **settings) == (
            "INVALID_ARGUMENT",
            "Request for unknown model : nope",
        )


def test_tritonclient_asks(settable):
    """The unmodified client reads and changes both."""
    with triton.InferenceServerClient(settable.address) as client:
        assert client.get_trace_settings(as_json=True)["settings"]["trace_rate"] == {
            "value": ["1000"]
        }
        client.update_trace_settings("m", {"trace_rate": "2", "trace_level": "OFF"})
        answer = client.get_trace_settings("m", as_json=True)["settings"]
        assert answer["trace_rate"] == {"value": ["2"]}
        client.update_trace_settings(settings={"trace_rate": None})
        assert client.get_log_settings(as_json=True)["settings"]["log_info"] == {"bool_param": True}
