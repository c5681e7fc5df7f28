"""OpenTelemetry: the spans of a request as a collector gets them."""

import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import numpy as np
import pytest

from zoo_proto import grpc_service_pb2_grpc
from zoo_server.config import ServerConfig
from zoo_server.errors import ConfigurationError
from zoo_server.server import Server

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FOUR = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}


@contextmanager
def collector():
    """Give the address of a collector, and the spans that it has got."""
    messages = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    spans = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            for resource in messages.ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    spans.extend(scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_request_is_a_span_with_its_queue_and_its_run(
    repository, graphs, serve_rest, make_request
):
    """Below the caller's span over either wire, alone without one, and not if that is not sampled."""
    pytest.importorskip("opentelemetry.sdk")
    repository.add("m", graphs.identity())
    repository.add("fails", graphs.fails_when_run())
    with (
        collector() as (endpoint, spans),
        serve_rest(repository.path, otel_endpoint=endpoint) as rest,
    ):
        sampled = f"00-{TRACE}-{SPAN}-01"
        assert rest.infer("m", {**FOUR, "id": "http"}, traceparent=sampled).status == 200
        assert rest.infer("m", FOUR, traceparent=f"00-{TRACE}-{SPAN}-00").status == 200
        assert rest.infer("m", {**FOUR, "id": "alone"}).status == 200
        with grpc.insecure_channel(rest.server.grpc_address) as channel:
            stub = grpc_service_pb2_grpc.GRPCInferenceServiceStub(channel)
            bad = make_request("fails", x=np.full((1, 1), 9, np.int64))
            with pytest.raises(grpc.RpcError):
                stub.ModelInfer(bad, timeout=20, metadata=(("traceparent", sampled),))

    requests = [span for span in spans if span.name == "infer"]
    over_http, alone, failed = requests
    for span in (over_http, failed):
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert alone.trace_id.hex() != TRACE
    assert not alone.parent_span_id
    told = {item.key: item.value for item in over_http.attributes}
    assert told["request.id"].string_value == "http"
    assert (told["model.name"].string_value, told["model.version"].int_value) == ("m", 1)
    assert (over_http.status.code, failed.status.message) == (0, "ExecutionError")
    queue, compute = (span for span in spans if span.parent_span_id == over_http.span_id)
    assert (queue.name, compute.name) == ("queue", "compute")
    moments = [over_http.start_time_unix_nano, queue.end_time_unix_nano]
    moments += [compute.start_time_unix_nano, compute.end_time_unix_nano]
    assert moments == sorted(moments)
    assert compute.end_time_unix_nano == over_http.end_time_unix_nano


def test_without_the_packages(repository, monkeypatch):
    """It is said at the start, with what to install; a URL that is none likewise."""
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    endpoint = "http://127.0.0.1:4318/v1/traces"
    with pytest.raises(ConfigurationError, match=r"pip install 'layer-zoo\[otel\]'"):
        Server(ServerConfig(repository=repository.path, grpc_port=0, otel_endpoint=endpoint))
    with pytest.raises(ConfigurationError, match="--otel-endpoint 'localhost' is no URL"):
        ServerConfig(repository=repository.path, otel_endpoint="localhost")
