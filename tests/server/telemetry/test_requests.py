"""The access log and the log's JSON: a line a request, with what it was and how long it took."""

import json
import logging
import signal

import grpc
import numpy as np
import pytest

from tests.server.http_callers import HttpCaller
from tests.server.models.ensembles import chain
from tests.waiting import until
from zoo_proto import grpc_service_pb2_grpc

FOUR = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_each_request_is_a_json_line(repository, graphs, server_process, make_request):
    """Over every wire, whatever becomes of it; the caller's words break no line."""
    repository.add("m", graphs.identity())
    repository.add("fails", graphs.fails_when_run())
    process = server_process(
        repository.path, "--grpc-port", "0", "--http-port", "0", "--log-format", "json",
        "--access-log",
    )  # fmt: skip
    ready = process.wait_for(r"ready: gRPC on (\S+), HTTP on ([^\s,]+)")
    with grpc.insecure_channel(ready.group(1)) as channel:
        stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = make_request("m", x=np.ones((3, 4), np.float32))
        request.id = "first\nline"
        stub.ModelInfer(request, timeout=20, metadata=(("traceparent", TRACE),))
        (streamed,) = stub.ModelStreamInfer(iter([request]), timeout=20)
        assert not streamed.error_message
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(make_request("fails", x=np.full((1, 1), 9, np.int64)), timeout=20)
    caller = HttpCaller(ready.group(2))
    body = json.dumps({**FOUR, "id": "second"}).encode()
    assert caller.ask("POST", "/v2/models/m/infer", body).status == 200
    rows = json.dumps({"instances": [[1, 2, 3, 4]]}).encode()
    assert caller.ask("POST", "/v1/models/m:predict", rows, X_Request_Id="third").status == 200
    caller.close()
    process.send(signal.SIGTERM)
    _, log = process.finish()

    lines = [json.loads(line) for line in log.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    told = [line for line in lines if line["logger"] == "zoo_server.access"]
    assert [(line["id"], line["model"], line["status"], line["rows"]) for line in told] == [
        ("first\nline", "m", "OK", 3),
        ("first\nline", "m", "OK", 3),
        ("", "fails", "ExecutionError", 1),
        ("second", "m", "OK", 1),
        ("third", "m", "OK", 1),
    ]
    assert told[0]["traceparent"] == TRACE
    assert (told[0]["version"], told[0]["batch"]) == (1, 3)
    for line in told:
        assert line["total_us"] >= line["queue_us"] + line["compute_us"] - 1 >= 0
        assert "\n" not in line["message"]


def test_text_lines_and_none_without_the_option(repository, graphs, serve_rest, caplog):
    """The same as words; an operator who did not ask has no line."""
    repository.add("m", graphs.identity())
    caplog.set_level(logging.INFO, "zoo_server")
    for access_log in (False, True):
        with serve_rest(repository.path, access_log=access_log) as rest:
            assert rest.infer("m", {**FOUR, "id": 'a "b"\n'}).status == 200
            if access_log:
                until(lambda: "request id=" in caplog.text)
        assert ("request id=" in caplog.text) is access_log
    assert r'request id="a \"b\"\n" model=m version=1 status=OK rows=1 batch=1' in caplog.text


def test_an_ensemble_and_its_steps_have_one_id(repository, graphs, serve_rest, caplog):
    """The steps are told as requests of their models, before the whole."""
    chain(repository, graphs)
    caplog.set_level(logging.INFO, "zoo_server")
    body = {"id": "whole", "inputs": [{**FOUR["inputs"][0], "name": "X"}]}
    with serve_rest(repository.path, access_log=True) as rest:
        assert rest.infer("chain", body).status == 200
        until(lambda: "model=chain" in caplog.text)
    told = [record.fields for record in caplog.records if record.name == "zoo_server.access"]

    assert [(line["id"], line["model"]) for line in told] == [
        ("whole", "plus"), ("whole", "plus"), ("whole", "chain"),
    ]  # fmt: skip


def test_an_answer_from_the_cache_has_a_line_without_a_batch(
    repository, graphs, serve_rest, caplog
):
    """It was answered, and nothing was run for it."""
    repository.add("m", graphs.identity(), "max_batch_size: 8 response_cache { enable: true }")
    caplog.set_level(logging.INFO, "zoo_server")
    with serve_rest(repository.path, access_log=True, cache_config=("local,size=100000",)) as rest:
        for _ in range(2):
            assert rest.infer("m", FOUR).status == 200
        until(lambda: caplog.text.count("request id=") == 2)

    told = [record.getMessage() for record in caplog.records if record.name == "zoo_server.access"]
    assert ["batch=1" in line for line in told] == [True, False]
    assert "status=OK rows=1 batch=0 " in told[1]
